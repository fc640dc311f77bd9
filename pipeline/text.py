"""How every text is written before it is tokenized, in training and in service alike."""

from __future__ import annotations

import re
import unicodedata

MOST_MARKS = 30  # in a row, as in the Stream-Safe Text Format of Unicode (UAX 15): no language needs more
_PILE = re.compile(rf"[^\w\s\0-\x7f]{{{MOST_MARKS + 1},}}")  # of marks, or of signs, pictures and the like


def clean_text(text: str) -> str:
    """Composes Unicode (NFC), turns control characters into spaces and runs of spaces into one.

    Of a pile of marks on one letter the first `MOST_MARKS` stay: to compose them takes time that grows with the square of their number.
    """
    composed = unicodedata.normalize("NFC", _PILE.sub(_without_most_marks, text))
    return " ".join("".join(" " if unicodedata.category(character) == "Cc" else character for character in composed).split())


def _without_most_marks(pile: re.Match[str]) -> str:
    kept: list[str] = []
    marks = 0
    for character in pile[0]:
        marks = marks + 1 if unicodedata.category(character).startswith("M") else 0
        if marks <= MOST_MARKS:
            kept.append(character)
    return "".join(kept)
