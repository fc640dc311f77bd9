"""The rows of a dataset, as `fetch` writes and `prepare` reads them: CSV with the columns line, text, intent."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

LONGEST_FIELD = 1 << 24  # characters; the csv module refuses longer fields with an error


class Row(NamedTuple):
    """A query as it came: line in its file (the header is line 1), text and intent."""

    line: int
    text: str
    intent: str


def write_rows(path: Path, rows: list[Row]) -> None:
    """Writes rows under canonical column names."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)  # ends rows with CR LF, and so quotes what has either
        writer.writerow(Row._fields)
        writer.writerows(rows)


def read_rows(path: Path) -> list[Row]:
    """Reads what ``write_rows`` wrote."""
    csv.field_size_limit(LONGEST_FIELD)
    with path.open(encoding="utf-8", newline="") as handle:
        return [Row(int(fields["line"]), fields["text"], fields["intent"]) for fields in csv.DictReader(handle)]
