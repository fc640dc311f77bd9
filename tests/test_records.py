from __future__ import annotations

import errno
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.bulk.records import FORMATS, Part, read_parts
from pipeline.bulk.table_files import write_tables
from pipeline.csv_files import read_table
from pipeline.errors import UserError

LATIN1 = pa.Array.from_buffers(pa.string(), 2, pa.array([b"fine", b"caf\xe9"], pa.binary()).buffers())  # of which the second is no UTF-8
TEXTS = ["where is my card", 'two\nlines, and a "quote"', "überfällig \U0001f4b3", "=1+1"]


def read_all(path: Path, size: int = 3) -> list[Part]:
    return list(read_parts(path, "text", size))


def problems(path: Path) -> list[str | None]:
    return [problem for part in read_all(path) for problem in part.problems]


def write_parquet(path: Path, **columns: pa.Array) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("target", sorted(FORMATS))
@pytest.mark.parametrize("source", sorted(FORMATS))
def test_every_format_is_written_and_read_again(source: str, target: str, tmp_path: Path) -> None:
    table = pa.table({"id": list(range(4)), "text": TEXTS})
    first, second = tmp_path / f"a{source}", tmp_path / f"b{target}"
    write_tables([table.slice(0, 1), table.slice(1)], first, source)
    write_tables([part.rows for part in read_all(first)], second, target)
    if source == ".jsonl" and target != ".jsonl":  # its lines are kept as they are
        column = "record"
        told = [json.loads(text)["text"] for part in read_parts(second, column, 9) for text in part.texts]
    else:
        told = [text for part in read_all(second) for text in part.texts]
    assert told == TEXTS


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_parts_have_the_size_asked_for_and_say_how_much_is_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_tables([pa.table({"text": ["a b"] * 20_000})], path, suffix)
    parts = read_all(path, 6000)
    assert [len(part.texts) for part in parts] == [6000, 6000, 6000, 2000]
    shares = [part.share for part in parts]
    assert shares == sorted(shares)
    assert 0.2 < shares[0] < 0.5
    assert shares[-1] == 1


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_a_file_without_rows_is_one_empty_part(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_tables([pa.table({"text": pa.array([], pa.string())})], path, suffix)
    assert [(len(part.rows), part.texts) for part in read_all(path)] == [(0, [])]


def test_csv_rows_that_cannot_be_used_stay_and_say_why(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfid,text\r\n1,fine\r\n\r\n2,\r\n3,caf\xe9\r\n4,too,many\r\n5\r\nM\xfcller,fine\r\n")
    parts = read_all(path, 9)
    assert parts[0].problems == [
        None,
        "no text",
        "text is not UTF-8",
        'fields: 3, in the header: 2; beyond the header: ["many"]',
        "fields: 1, in the header: 2",
        None,
    ]
    assert parts[0].rows["id"].to_pylist() == ["1", "2", "3", "4", "5", "M\ufffdller"]
    assert parts[0].rows["text"].to_pylist() == ["fine", "", "caf\ufffd", "too", None, "fine"]


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n\r\n"])
def test_a_blank_line_between_the_rows_of_one_column_is_an_empty_cell(end: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'text\n\nfine\n\r\n\n""\nfine' + end)
    assert problems(path) == ["no text", None, "no text", "no text", "no text", None]
    assert [row for part in read_all(path) for row in part.rows["text"].to_pylist()] == ["", "fine", "", "", "", "fine"]


def test_a_csv_column_whose_name_is_not_utf8_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,Gr\xf6\xdfe\nfine,1\n")
    assert read_all(path)[0].rows.to_pydict() == {"text": ["fine"], "Gr\ufffd\ufffde": ["1"]}


def test_jsonl_lines_that_cannot_be_used_stay_and_say_why(tmp_path: Path) -> None:
    lines = [b'{"text": "fine", "id": 7}', b"", b"{", b"[1]", b'{"id": 1}', b'{"text": null}', b'{"text": 5}', b'{"text": "\xe9"}']
    lines += [b'{"text": "\\ud800"}', b"[" * 100_000, b'{"text": " "}']
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    assert problems(path) == [
        *(None, "not a JSON object", "not a JSON object", "no key 'text'", "no text", "text is of type int", "text is not UTF-8"),
        *("text is not UTF-8", "not a JSON object", "no text"),
    ]
    write_tables((part.rows for part in read_all(path)), tmp_path / "b.jsonl", ".jsonl")
    told = [json.loads(line) for line in (tmp_path / "b.jsonl").read_bytes().splitlines()]
    assert told[0] == {"text": "fine", "id": 7}
    assert told[1] == {"unparsed": "{"}
    assert told[7] == {"text": "\ud800"}


def test_a_byte_order_mark_is_no_part_of_the_first_object(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "fine"}\n{"text": "too"}\n')
    parts = read_all(tmp_path / "a.jsonl")
    assert parts[0].texts == ["fine", "too"]
    write_tables((part.rows for part in parts), tmp_path / "b.jsonl", ".jsonl")
    assert (tmp_path / "b.jsonl").read_bytes() == b'{"text": "fine"}\n{"text": "too"}\n'


def test_a_part_names_its_columns_and_the_keys_of_all_its_objects(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x", "id": 1}\n{"text": "y", "label": 2}\n[]\n')
    (tmp_path / "a.csv").write_text("id,text\n1,x\n")
    assert [read_all(tmp_path / name)[0].names for name in ("a.jsonl", "a.csv")] == [{"text", "id", "label"}, {"id", "text"}]


def test_parquet_rows_that_cannot_be_used_stay_and_say_why(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(pa.string(), 3, pa.array([b"fine", b"caf\xe9", None], pa.binary()).buffers())
    path = write_parquet(tmp_path / "a.parquet", text=broken)
    assert problems(path) == [None, "text is not UTF-8", "no text"]
    write_tables((part.rows for part in read_all(path)), tmp_path / "b.csv", ".csv")
    assert (tmp_path / "b.csv").read_text() == 'text\nfine\ncaf\ufffd\n""\n'


def test_parquet_strings_of_every_kind_are_texts(tmp_path: Path) -> None:
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        path = write_parquet(tmp_path / "a.parquet", text=pa.array(["one", None, "two"]).cast(kind))
        assert [text for part in read_all(path) for text in part.texts] == ["one", "", "two"]
    path = write_parquet(tmp_path / "a.parquet", text=pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 1], pa.int32()), LATIN1))
    assert problems(path) == ["text is not UTF-8", None, "no text", "text is not UTF-8"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"id,message\n1,x\n", "column 'text' is missing: the header has ['id', 'message']: name yours with --text-column"),
        (
            "a.csv",
            b"id;message\n1;x\n",
            "column 'text' is missing: the header has ['id;message']: separate the columns by commas, not semicolons",
        ),
        ("a.csv", b"", "the file is empty: it needs a header row and rows below it"),
        ("a.csv", b"\ntext\n", "column 'text' is missing: the header has []"),
        ("a.csv", b"text,text\n", "column 'text' occurs more than once"),
        ("a.csv", b'id,text\n1,"' + b"x" * (1 << 25), "2: not valid CSV: field larger than field limit"),
        ("a.jsonl", b'{"message": "x"}\n', "none of the first 1 lines is a JSON object with a key 'text'"),
        ("a.parquet", b"text\nx\n", "not a readable Parquet file"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_error(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_all(path)
    assert str(error.value).startswith(f"{path}:{told}" if told[0].isdigit() else f"{path}: {told}")


def test_an_error_of_the_disk_stays_one_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "a.parquet")

    monkeypatch.setattr(pq, "ParquetFile", fail)
    with pytest.raises(PermissionError):
        read_all(tmp_path / "a.parquet")


def test_a_parquet_file_with_a_damaged_page_is_one_error(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", text=pa.array([f"where is card {i}" for i in range(2000)]))
    content = bytearray(path.read_bytes())
    content[1000:3000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.parquet: not a readable Parquet file: "):
        read_all(path, 100)


def test_a_parquet_column_of_numbers_is_no_column_of_texts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="column 'text' holds int64, not text"):
        read_all(write_parquet(tmp_path / "a.parquet", text=pa.array([1, 2])))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('id,text\n1,fine\n2,"hello there\n3,my card is lost\n', "3: not valid CSV: unexpected end of data: fix the quoting"),
        ('text,id\n"hello there,1\nmy card,2\n', "2: not valid CSV: unexpected end of data: fix the quoting"),
        ('"text', "1: not valid CSV: unexpected end of data: fix the quoting"),
        ('id,text\n\n1,"hello\nthere"\n2,"hello\n3,my "card" is lost\n4,fine\n', "5: not valid CSV: ',' expected after '\"': fix"),
    ],
)
def test_a_quote_that_is_opened_by_mistake_swallows_no_rows(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(content)
    with pytest.raises(UserError, match=re.escape(f"{file}:{told}")):
        list(read_parts(file, "text", 10))


def test_a_last_line_without_an_end_and_quotes_within_a_field_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('text,id\n"a ""b""",1\n5" phone,2')
    assert [text for part in read_parts(file, "text", 10) for text in part.texts] == ['a "b"', '5" phone']


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_carriage_return_alone_ends_no_row(tmp_path: Path, suffix: str) -> None:
    texts = ["one\rtwo", "three\r\nfour", "five"]
    file = tmp_path / f"a{suffix}"
    write_tables([pa.table({"id": [1, 2, 3], "text": texts})], file, suffix)
    assert [text for part in read_parts(file, "text", 10) for text in part.texts] == texts
    assert b"\r\n" not in file.read_bytes().replace(b"three\r\nfour", b"")


def test_what_json_has_no_form_for_is_null_or_written_out(tmp_path: Path) -> None:
    table = pa.table({"x": [1.5, float("nan"), float("inf")], "y": [b"\x00\xff", b"", None], "z": [[1.0], [float("-inf")], None]})
    write_tables([table], tmp_path / "a.jsonl", ".jsonl")
    rows = [json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert rows == [{"x": 1.5, "y": "00ff", "z": [1.0]}, {"x": None, "y": "", "z": [None]}, {"x": None, "y": None, "z": None}]


def test_a_json_value_may_be_as_deep_as_it_was_read(tmp_path: Path) -> None:
    lines = [
        b'{"text": "fine", "x": ' + b"[" * depth + value + b"]" * depth + b"}" for depth in range(900, 1000, 5) for value in (b"NaN", b"1")
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    parts = read_all(tmp_path / "a.jsonl", 99)
    assert parts[0].problems[0] is None
    write_tables([part.rows for part in parts], tmp_path / "b.jsonl", ".jsonl")
    told = (tmp_path / "b.jsonl").read_text().splitlines()
    assert len(told) == len(lines)
    assert told[0] == lines[0].decode().replace("NaN", "null")


FAR = pa.array([253_402_300_800, 0], pa.timestamp("s"))  # the first second of the year 10000, which Python does not know


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (FAR, ["10000-01-01 00:00:00", "1970-01-01 00:00:00"]),
        (pa.DictionaryArray.from_arrays(pa.array([1, 0]), LATIN1), ["caf\ufffd", "fine"]),
        (
            pa.StructArray.from_arrays([LATIN1, FAR], ["a", "b"]),
            [{"a": "fine", "b": "10000-01-01 00:00:00"}, {"a": "caf\ufffd", "b": "1970-01-01 00:00:00"}],
        ),
        (pa.ListArray.from_arrays([0, 0, 2], LATIN1), [[], ["fine", "caf\ufffd"]]),
        (pa.MapArray.from_arrays([0, 1, 2], pa.array(["k", "l"]), LATIN1), [[["k", "fine"]], [["l", "caf\ufffd"]]]),
        (pa.ExtensionArray.from_storage(pa.json_(), LATIN1), ["fine", "caf\ufffd"]),
    ],
)
def test_what_python_has_no_value_for_is_written_out(column: pa.Array, told: list[object], tmp_path: Path) -> None:
    table = pa.table({"x": column})
    write_tables([table], tmp_path / "a.jsonl", ".jsonl")
    assert [json.loads(line)["x"] for line in (tmp_path / "a.jsonl").read_text().splitlines()] == told
    write_tables([table], tmp_path / "a.csv", ".csv")
    cells = [row["x"] for row in read_table(tmp_path / "a.csv")]
    assert [cell if isinstance(value, str) else json.loads(cell) for cell, value in zip(cells, told, strict=True)] == told


def test_a_struct_with_two_fields_of_one_name_is_one_error_but_in_parquet(tmp_path: Path) -> None:
    twice = pa.table({"id": [1], "x": pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])})
    for suffix in (".csv", ".jsonl"):
        with pytest.raises(UserError, match=r"column 'x': .*: leave it out, or write Parquet"):
            write_tables([twice], tmp_path / f"a{suffix}", suffix)
    write_tables([twice], tmp_path / "a.parquet", ".parquet")
