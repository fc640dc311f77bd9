"""Rows of CSV, JSONL and Parquet files, streamed in parts of a fixed number of rows, so that memory does not grow with the file.

No row is lost: one whose text cannot be used stays, and says why. What makes a whole file unusable is an error.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.rows import read_records

RECORD = "record"  # the one column of a JSONL file: its lines, each a JSON object
LINES = {b"origin": b"jsonl"}  # metadata of such a table: a CSV file may have a column of that name too
PART_ROWS = 8192  # by default: few enough for memory, enough for batches of like length
NO_TEXT, NOT_UTF8 = "no text", "text is not UTF-8"


class Part(NamedTuple):
    """Consecutive rows of a file."""

    rows: pa.Table  # the file's own columns: of CSV all strings, of Parquet as they are, of JSONL `RECORD` alone
    texts: list[str]  # one a row; empty where the row has a problem
    problems: list[str | None]  # why a row's text cannot be used
    names: frozenset[str]  # of the columns; of JSONL the keys of every object
    share: float  # how much of the file's bytes (CSV, JSONL) or rows (Parquet) is read now, 0 to 1


def read_parts(path: Path, column: str, size: int) -> Iterator[Part]:
    """Streams a file; a file without rows is one empty part.

    Args:
        path: the file.
        column: the column (of JSONL: the key) that holds the texts.
        size: rows a part.

    Raises:
        UserError: the file's name says no format of ours, it cannot be read as what its name says, or it has no such column.
    """
    check_format(path)
    try:
        yield from FORMATS[path.suffix.lower()](path, column, size)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except csv.Error as error:
        raise UserError(f"{path}:{error}") from None
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of what stands on it
            raise
        raise UserError(f"{path}: not a readable Parquet file: {error}") from None


def check_format(path: Path) -> None:
    """Makes sure that a file's name says a format of ours.

    Raises:
        UserError: it ends in none of `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: unsupported file type: give a {ENDINGS} file")


def _csv_parts(path: Path, column: str, size: int) -> Iterator[Part]:
    length = max(path.stat().st_size, 1)
    with path.open("rb") as raw, io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="") as handle:
        records = read_records(handle)
        header = [_clean(name) for name in next(records, (1, []))[1]]
        if not path.stat().st_size:
            raise UserError(f"{path}: the file is empty: it needs a header row and rows below it")
        if len(header) == 1 and ";" in header[0] and column not in header:
            raise UserError(
                f"{path}: column '{column}' is missing: the header has {header}: separate the columns by commas, not semicolons"
            )
        _check(path, header, column)
        at = header.index(column)
        for rows in _cut(_without_blank_lines((fields for _, fields in records), len(header)), size):
            texts, problems = _split([_csv_text(fields, at, len(header)) for fields in rows])
            columns = [[_clean(fields[i]) if i < len(fields) else None for fields in rows] for i in range(len(header))]
            yield Part(_strings(columns, header), texts, problems, frozenset(header), raw.tell() / length)


def _without_blank_lines(records: Iterable[list[str]], width: int) -> Iterator[list[str]]:
    """Blank lines are no rows, but for those between the rows of a file of one column: so spreadsheets write an empty cell."""
    blank = 0
    for fields in records:
        if fields:
            yield from repeat([""], blank)
            yield fields
            blank = 0
        elif width == 1:
            blank += 1


def _csv_text(fields: list[str], at: int, width: int) -> str | Exception:
    if len(fields) != width:
        beyond = f"; beyond the header: {json.dumps(fields[width:])}" if len(fields) > width else ""
        return ValueError(f"fields: {len(fields)}, in the header: {width}{beyond}")
    return _usable(fields[at])


def _jsonl_parts(path: Path, column: str, size: int) -> Iterator[Part]:
    length = max(path.stat().st_size, 1)
    with path.open("rb") as raw:
        for number, lines in enumerate(_cut((line for line in raw if line.strip()), size)):
            parsed = [_parse(line, column) for line in lines]
            names = frozenset(key for line in parsed for key in line.keys)
            if number == 0 and lines and column not in names:
                raise UserError(f"{path}: none of the first {len(lines)} lines is a JSON object with a key '{column}': see --text-column")
            texts, problems = _split([line.text for line in parsed])
            records = _strings([[line.record for line in parsed]], [RECORD]).replace_schema_metadata(LINES)
            yield Part(records, texts, problems, names, raw.tell() / length)


class _Line(NamedTuple):
    """A line of a JSONL file."""

    record: str  # a JSON object; what was none is its value `unparsed`
    text: str | Exception
    keys: tuple[str, ...]  # that the object came with


def _parse(line: bytes, column: str) -> _Line:
    told = line.decode("utf-8-sig", "replace").strip()
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return _Line(json.dumps({"unparsed": told}), ValueError(NOT_UTF8), ())
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return _Line(json.dumps({"unparsed": told}), ValueError("not a JSON object"), ())
    return _Line(told, _usable(value[column]) if column in value else ValueError(f"no key '{column}'"), tuple(value))


def _parquet_parts(path: Path, column: str, size: int) -> Iterator[Part]:
    with pq.ParquetFile(path) as file:
        _check(path, file.schema_arrow.names, column)
        kind = file.schema_arrow.field(column).type
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_null(value)):
            raise UserError(f"{path}: column '{column}' holds {kind}, not text: see --text-column")
        done = 0
        empty = file.schema_arrow.empty_table()
        batches = (pa.Table.from_batches([batch]) for batch in file.iter_batches(batch_size=size))
        for rows in batches if file.metadata.num_rows else [empty]:
            done += len(rows)
            texts, problems = _split([_usable(cell) for cell in raw_strings(rows[column])])
            yield Part(rows, texts, problems, frozenset(rows.column_names), done / max(file.metadata.num_rows, 1))


def count_problems(part: Part) -> Counter[str]:
    """Rows by problem, without its particulars; those without one under an empty text."""
    return Counter((problem or "").split(";")[0] for problem in part.problems)


def is_lines(schema: pa.Schema) -> bool:
    """Whether rows came from a JSONL file."""
    return (schema.metadata or {}).items() >= LINES.items()


def raw_strings(column: pa.ChunkedArray) -> list[bytes | None]:
    """The bytes behind a column of strings: Arrow does not promise that they are UTF-8."""
    values: list[bytes | None] = column.cast(pa.large_binary()).to_pylist()
    return values


def _usable(value: object) -> str | Exception:
    """The text, or what is wrong with it."""
    if not isinstance(value, str | bytes):
        return ValueError(NO_TEXT if value is None else f"text is of type {type(value).__name__}")
    try:
        text = value.decode() if isinstance(value, bytes) else value
        text.encode()  # a lone surrogate has no bytes
    except UnicodeError:
        return ValueError(NOT_UTF8)
    return text if text.strip() else ValueError(NO_TEXT)


def _split(found: list[str | Exception]) -> tuple[list[str], list[str | None]]:
    return [text if isinstance(text, str) else "" for text in found], [None if isinstance(text, str) else str(text) for text in found]


def _cut(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of ``size`` rows, the last shorter; one empty list where there are none."""
    iterator = iter(rows)
    yield from chain([list(islice(iterator, size))], iter(lambda: list(islice(iterator, size)), []))


def _strings(columns: list[list[str | None]], names: list[str]) -> pa.Table:
    return pa.table([pa.array(column, pa.string()) for column in columns], names=names)


def _clean(cell: str) -> str:
    """Bytes that are not UTF-8 become U+FFFD."""
    return cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _check(path: Path, names: list[str], column: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{path}: column '{twice[0]}' occurs more than once: rename one")
    if column not in names:
        raise UserError(f"{path}: column '{column}' is missing: the header has {names}: name yours with --text-column")


FORMATS: dict[str, Callable[[Path, str, int], Iterator[Part]]] = {
    ".csv": _csv_parts,
    ".jsonl": _jsonl_parts,
    ".parquet": _parquet_parts,
}
*_others, _last = FORMATS
ENDINGS = f"{', '.join(_others)} or {_last}"  # as a message names them
