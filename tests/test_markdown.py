from __future__ import annotations

import pytest

from pipeline.markdown import capped, code, join_within, table


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("card_swallowed", "`card_swallowed`"),
        ("a | b", "<code>a &#124; b</code>"),
        ("`", "<code>&#96;</code>"),
        ("@me", "<code>&#64;me</code>"),
        ("two\nlines\tand  more", "`two lines and more`"),
        ("\x07\u202e", "`\ufffd\ufffd`"),
        ("  ", "(empty)"),
        ("x" * 161, "`" + "x" * 159 + "…`"),
    ],
)
def test_a_text_is_code_and_nothing_else(text: str, written: str) -> None:
    assert code(text) == written


def test_numbers_stand_on_the_right() -> None:
    assert table(["a", "b"], [["x", "1"]], "lr") == "| a | b |\n| --- | --: |\n| x | 1 |\n"


def test_a_capped_list_tells_how_long_it_was() -> None:
    assert capped([["a"], ["b"]], 2) == ([["a"], ["b"]], "")
    assert capped([["a"], ["b"], ["c"]], 2) == ([["a"], ["b"]], "\nThe first 2 of 3.\n")


def test_sections_are_left_out_from_the_end_and_named() -> None:
    sections = [("one", "1" * 100), ("two", "2" * 100), ("three", "3" * 200)]
    assert join_within(sections, 402) == "\n".join(text for _, text in sections)
    cut = join_within(sections, 401)
    assert cut.startswith("1" * 100 + "\n" + "2" * 100 + "\n*Cut at 401 characters; left out: three.")
    assert "left out: two, three." in join_within(sections, 250)
