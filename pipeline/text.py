"""How every text is written before it is tokenized, in training and in service alike."""

from __future__ import annotations

import unicodedata


def clean_text(text: str) -> str:
    """Composes Unicode (NFC), turns control characters into spaces and runs of spaces into one."""
    composed = unicodedata.normalize("NFC", text)
    return " ".join("".join(" " if unicodedata.category(character) == "Cc" else character for character in composed).split())
