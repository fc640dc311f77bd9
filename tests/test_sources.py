from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.rows import Row
from pipeline.run_files import parse_texts
from pipeline.sources import read_card, read_csv


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "mine.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "message,intent\nhi,greet\n",
            ":1: column 'text' is missing: the header has ['message', 'intent']: name yours with fetch.text_column",
        ),
        ("text,text,intent\na,b,c\n", ":1: column 'text' occurs more than once"),
        ("", ": the file is empty: it needs a header row and rows below it"),
        ("\ntext,intent\nhi,greet\n", ":1: column 'text' is missing: the header has []: name yours"),
        ("text,intent\n", ": 0 rows below the header"),
        (b"text,intent\nfine,a\ncaf\xe9,b\n", ":3: byte 0xe9 is not UTF-8: save the file as UTF-8"),
        (b"\xef\xbb\xbftext,intent\ncaf\xe9,b\n", ":2: byte 0xe9 is not UTF-8"),
        ("text,intent\nfine,a\nno label\n", ":3: fields: 1, in the header: 2"),
        ("text,intent\nfine,a\nyes, no, maybe\n", ":3: fields: 3, in the header: 2: quote texts that contain commas"),
        ('text,intent\n"never closed,a\nmore,b\n', ":2: not valid CSV"),
        ('text,intent\nok,a\n"two" words,b\n', ":3: not valid CSV"),
        ("text;intent\nhi;greet\n", "the header has ['text;intent']: separate the columns by commas, not semicolons"),
    ],
)
def test_a_defect_is_one_line_with_file_and_row(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UserError) as error:
        read_csv(path, "text", "intent")
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_a_report_knows_a_text_by_the_line_its_row_is_read_from(tmp_path: Path) -> None:
    path = write(tmp_path, 'intent,text\na,one\n\nb,"two\nlines"\r\n\n\nc,three\n')
    assert parse_texts(path.read_bytes()) == {f"train.csv:{row.line}": row.text for row in read_csv(path, "text", "intent")}


def test_a_missing_file_or_a_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file: check the path"):
        read_csv(tmp_path / "absent.csv", "text", "intent")
    with pytest.raises(UserError, match="is a folder"):
        read_csv(tmp_path, "text", "intent")


@pytest.mark.parametrize(
    "content",
    [
        "text,intent\nwhere is it,card\nstop,leave\n",
        "\ufefftext,intent\nwhere is it,card\nstop,leave\n",
        "text,intent\r\nwhere is it,card\r\nstop,leave\r\n",
        "id,intent,text\n1,card,where is it\n2,leave,stop",
    ],
)
def test_bom_crlf_and_other_columns_are_fine(tmp_path: Path, content: str) -> None:
    assert read_csv(write(tmp_path, content), "text", "intent") == [Row(2, "where is it", "card"), Row(3, "stop", "leave")]


def test_a_row_is_named_by_its_first_line_even_after_texts_of_several_lines(tmp_path: Path) -> None:
    rows = read_csv(write(tmp_path, 'text,intent\n"one\ntwo",a\n\n"three, four",b\n'), "text", "intent")
    assert rows == [Row(2, "one\ntwo", "a"), Row(5, "three, four", "b")]


def test_a_very_long_text_is_read(tmp_path: Path) -> None:
    assert len(read_csv(write(tmp_path, "text,intent\n" + "word " * 40_000 + ",a\n"), "text", "intent")[0].text) == 200_000


def test_the_card_of_banking77_is_whole_and_a_broken_one_is_one_line(tmp_path: Path) -> None:
    card = read_card(Path("data/banking77.yaml"))
    assert (card.train.rows, card.test.rows) == (10003, 3080)
    broken = tmp_path / "card.yaml"
    broken.write_text("name: x\n")
    with pytest.raises(UserError, match=r"card\.yaml: licence: missing$"):
        read_card(broken)
