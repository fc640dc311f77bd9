"""Markdown that strangers' names and texts cannot break out of: in GitHub's dialect nothing of them renders, links or pings."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence

LONGEST = 160  # characters of one name or text; what is longer is cut

_UNSAFE = re.compile(r"[`|\\<>&@#\[\]]|//|www\.")
_ENTITIES = {ord(mark): f"&#{ord(mark)};" for mark in string.punctuation}


def printable(text: str, longest: int = LONGEST) -> str:
    """One line without control or direction marks, cut to a length."""
    line = " ".join(text.split())
    line = "".join("\ufffd" if unicodedata.category(character).startswith("C") else character for character in line)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def code(value: object, longest: int = LONGEST) -> str:
    """A value as inline code, in which GitHub looks for no mention, link or reference.

    A backtick would end the code and a pipe the cell of a table; a text that has one goes into a ``<code>`` element, every punctuation mark
    as an entity, since Markdown is read inside HTML elements too. So does one with marks that start something elsewhere: where the
    report is read as text, no tag, mention or link of a stranger stands in it, nor a second copy of its own first line.
    """
    line = printable(str(value), longest)
    if not line:
        return "(empty)"
    if _UNSAFE.search(line):
        return f"<code>{line.translate(_ENTITIES)}</code>"
    return f"`{line}`"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> str:
    """A table; ``right`` has one character a column, ``r`` for numbers. Cells are Markdown already."""
    rule = ["--:" if mark == "r" else "---" for mark in right.ljust(len(header))]
    return "".join("| " + " | ".join(line) + " |\n" for line in [header, rule, *rows])


def details(summary: str, body: str) -> str:
    """A folded block; the summary is ours and has no Markdown."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n</details>\n"


def capped(rows: Sequence[Sequence[str]], most: int) -> tuple[list[Sequence[str]], str]:
    """The first rows, and a line that tells how many there are if not all are shown."""
    return list(rows[:most]), f"\nThe first {most} of {len(rows)}.\n" if len(rows) > most else ""


def join_within(sections: Sequence[tuple[str, str]], most: int) -> str:
    """Joins sections, each a title and its text, and leaves out the last ones where all would have more than ``most`` characters.

    The first section always stays; a line tells which are left out.
    """
    for kept in range(len(sections), 0, -1):
        left_out = ", ".join(title for title, _ in sections[kept:])
        note = f"\n*Cut at {most:,} characters; left out: {left_out}. The whole report: `python -m pipeline.report`.*\n"
        text = "\n".join(body for _, body in sections[:kept]) + (note if left_out else "")
        if len(text) <= most:
            break
    return text
