"""The rows of a dataset, as `fetch` writes and `prepare` reads them (CSV with the columns line, text, intent), and records of any CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

LONGEST_FIELD = 1 << 24  # characters; the csv module refuses longer fields with an error


class Row(NamedTuple):
    """A query as it came: line in its file (the header is line 1), text and intent."""

    line: int
    text: str
    intent: str


def read_records(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV file, each with the line it begins on; a blank line is one without fields.

    Raises:
        csv.Error: it is no CSV (a quote that is opened by mistake would swallow the rows up to the next one); tells the line.
    """
    csv.field_size_limit(LONGEST_FIELD)
    reader, line = csv.reader(lines, strict=True), 1
    try:
        for fields in reader:
            yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise csv.Error(f"{line}: not valid CSV: {error}: fix the quoting of the row that begins here") from None


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
