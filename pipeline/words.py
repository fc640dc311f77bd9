"""The words of texts, and how many of them are new: in the report on the data and in the one on drift alike."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

WORD = re.compile(r"[\w']+")


def vocabulary(texts: Sequence[str]) -> frozenset[str]:
    """The words of texts, in small letters."""
    return frozenset(word for text in texts for word in words(text))


def words(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return WORD.findall(text.lower())


def unknown_share(text: str, known: Collection[str]) -> float:
    """Share of a text's words that are not known; 1 for a text without words."""
    found = words(text)
    return sum(word not in known for word in found) / len(found) if found else 1.0
