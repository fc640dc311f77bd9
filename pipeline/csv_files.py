"""Tables as CSV or TSV files with a header, of our own making: what strangers write, `sources` and `bulk.records` read."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows by column name; tabs separate the fields of a ``.tsv`` file."""
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t" if path.suffix == ".tsv" else ","))


def write_table(path: Path, header: list[str], rows: Sequence[tuple[object, ...]]) -> None:
    """Writes a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
