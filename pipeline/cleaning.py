"""Which rows can teach nothing, or teach twice, or teach what is tested: what `prepare` drops and the audit names."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict

from pipeline.errors import UserError
from pipeline.rows import Row
from pipeline.text import clean_text

MISSING = {"", "nan"}
INVISIBLE = {"Cf", "Co"}  # categories of Unicode
VARIATION_SELECTORS = {chr(code) for code in range(0xFE00, 0xFE10)}  # text or picture: the same sign
DELETE = "\x7f"  # the service's page saves it in front of a formula's sign, so that no spreadsheet runs it
UNSEEN = {*VARIATION_SELECTORS, DELETE}
REASONS = ("duplicate", "conflicting", "also_in_test")  # why a row with a text is dropped


def visible(text: str) -> str:
    """The text without characters that nobody sees and the tokenizer drops: format, such as a zero-width space or a BOM, or private use."""
    seen = (character for character in text if unicodedata.category(character) not in INVISIBLE and character not in UNSEEN)
    return clean_text("".join(seen))


def comparable(text: str) -> str:
    """What tells texts apart: neither case nor what nobody sees."""
    return visible(text).casefold()


def is_empty(row: Row) -> bool:
    """Whether a cleaned row has no text."""
    return comparable(row.text) in MISSING


def clean(row: Row) -> Row:
    """The row with text and intent as they are written before they are used: intents that look alike are one."""
    return Row(row.line, clean_text(row.text), visible(row.intent))


def drop_empty(rows: list[Row], source: str) -> tuple[list[Row], int]:
    """Cleans texts and intents; drops rows without a text.

    Raises:
        UserError: a row has a text and no intent.
    """
    kept = []
    for row in map(clean, rows):
        if is_empty(row):
            continue
        if comparable(row.intent) in MISSING:
            raise UserError(f"{source}:{row.line}: the intent is empty: label the row or delete it")
        kept.append(row)
    return kept, len(rows) - len(kept)


def reasons_to_drop(rows: list[Row], official_test: list[Row]) -> list[str | None]:
    """Judges each training row: one of ``REASONS``, or None to keep it.

    Texts are the same when ``comparable`` tells them not apart. Of rows with the same text and intent the first is kept; of rows with
    the same text under two intents none, since nobody knows which is right.
    """
    intents_of: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        intents_of[comparable(row.text)].add(row.intent)
    in_test = {comparable(row.text) for row in official_test}
    reasons: list[str | None] = []
    seen: set[str] = set()
    for row in rows:
        key = comparable(row.text)
        if key in in_test:
            reasons.append("also_in_test")
        elif len(intents_of[key]) > 1:
            reasons.append("conflicting")
        else:
            reasons.append("duplicate" if key in seen else None)
        seen.add(key)
    return reasons


def drop_ambiguous(rows: list[Row], official_test: list[Row]) -> tuple[list[Row], Counter[str]]:
    """Drops repeated, conflicting and test texts from training rows.

    Returns:
        The kept rows in order, and the number of rows dropped by reason.
    """
    reasons = reasons_to_drop(rows, official_test)
    kept = [row for row, reason in zip(rows, reasons, strict=True) if reason is None]
    return kept, Counter(reason for reason in reasons if reason is not None)
