"""Writes a stream of tables as one CSV, JSONL or Parquet file, one table in memory at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.bulk.records import RECORD, is_lines, raw_strings
from pipeline.errors import UserError


def write_tables(tables: Iterable[pa.Table], path: Path, suffix: str) -> None:
    """Writes tables of one schema, at least one, in the format that a suffix (a key of `WRITERS`) names.

    Raises:
        UserError: a column holds what only Parquet has a form for.
    """
    iterator = iter(tables)
    first = next(iterator)
    WRITERS[suffix](path, first.schema, chain([first], iterator))


def _write_parquet(path: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    with pq.ParquetWriter(path, schema) as writer:
        for table in tables:
            writer.write_table(table)


class _Lines:
    """Takes rows that end in CRLF, so that `csv.writer` quotes a field that holds either, and ends them in LF."""

    def __init__(self, handle: TextIO) -> None:
        self._handle = handle

    def write(self, row: str) -> None:
        self._handle.write(row.removesuffix("\r\n") + "\n")


def _write_csv(path: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    """A list or a struct is written as JSON, true and false in small letters, null as nothing."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(_Lines(handle), lineterminator="\r\n")
        writer.writerow(schema.names)
        for table in tables:
            columns = [_values(name, table[name]) for name in schema.names]
            writer.writerows(zip(*([_cell(value) for value in column] for column in columns), strict=True))


def _cell(value: Any) -> Any:
    return _json(value) if isinstance(value, list | dict | bool) else _plain(value) if isinstance(value, bytes) else value


def _write_jsonl(path: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    """One object a row; what came as a line of JSONL keeps its keys and values."""
    # a lone surrogate, which a JSON escape can name, has no UTF-8: it goes out as the escape it came in as
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as handle:
        for table in tables:
            columns = [_values(name, table[name]) for name in schema.names]
            for values in zip(*columns, strict=True):
                row = dict(zip(schema.names, values, strict=True))
                handle.write(_json(json.loads(row.pop(RECORD)) | row if is_lines(schema) else row) + "\n")


def _json(value: Any) -> str:
    """JSON has no number that is none or without end: they become null."""
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain, allow_nan=False)
    except ValueError:
        told = json.dumps(value, ensure_ascii=False, default=_plain)  # NaN, Infinity: constants that a reader may replace
        return json.dumps(json.loads(told, parse_constant=lambda _: None), ensure_ascii=False)


def _plain(value: Any) -> str:
    """What JSON has no form for: bytes as hexadecimal digits, dates and decimals as they are written."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _values(name: str, column: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return [None if cell is None else cell.decode("utf-8", "replace") for cell in raw_strings(column)]
    try:
        values: list[Any] = column.to_pylist()
    except (OverflowError, UnicodeDecodeError):
        values = [_value(cell) for cell in column]
    except ValueError as error:  # a struct with two fields of one name
        raise UserError(f"column '{name}': {error}: leave it out, or write Parquet") from None
    return values


def _value(cell: pa.Scalar) -> Any:
    """What Python has no value for: a string that is not UTF-8, with U+FFFD; a time outside of the years 1 to 9999, as it is written."""
    try:
        return cell.as_py()
    except (OverflowError, UnicodeDecodeError):
        if isinstance(cell, pa.StructScalar):
            return {name: _value(inner) for name, inner in cell.items()}
        if isinstance(cell, pa.MapScalar):  # to Python a list of pairs
            return [[*_value(pair).values()] for pair in cell.values]
        if isinstance(cell, pa.ListScalar):
            return [_value(inner) for inner in cell.values]
        return cell.cast(pa.string()).cast(pa.large_binary()).as_py().decode("utf-8", "replace")


WRITERS: dict[str, Callable[[Path, pa.Schema, Iterator[pa.Table]], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
