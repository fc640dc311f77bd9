"""What can be wrong with rows, each with the row it is in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from tokenizers import Encoding

from pipeline import personal_data
from pipeline.cleaning import is_empty, reasons_to_drop
from pipeline.near_twins import pairs_of_twins
from pipeline.rows import Row
from pipeline.words import vocabulary, words

FEWEST_ROWS, FEWEST_SHARE = 10, 0.25  # an intent with fewer rows, or fewer than this share of the median intent's, is rare
MOSTLY = 0.5  # share of a query's words
UNKNOWN = "[UNK]"


class Query(NamedTuple):
    """A row with its place (``<file>:<line>``) and the split it is in."""

    place: str
    split: str
    text: str
    intent: str


class Defect(NamedTuple):
    """A row that has something, and what. Personal data in the text is masked: a report goes round."""

    place: str
    intent: str
    text: str
    detail: str


Defects = dict[str, list[Defect]]


def defect(query: Query, detail: str) -> Defect:
    """A defect of a query."""
    return Defect(query.place, query.intent, personal_data.mask(query.text), personal_data.mask(detail))


def in_raw_rows(train: Sequence[Query], test: Sequence[Query]) -> Defects:
    """What `prepare` drops or must leave in an official test split, and personal data.

    Args:
        train: cleaned rows of the training file, in order.
        test: those of the official test file, if there is one.
    """
    found: Defects = {"empty": [], "duplicate": [], "conflicting": [], "also_in_test": [], "repeated_in_test": [], "personal_data": []}
    kept_train, kept_test = ([query for query in queries if not is_empty(_row(query))] for queries in (train, test))
    found["empty"] = [defect(query, "no visible character") for query in (*train, *test) if is_empty(_row(query))]
    in_train, in_test = _by_text(kept_train), _by_text(kept_test)
    reasons = reasons_to_drop([_row(query) for query in kept_train], [_row(query) for query in kept_test])
    for query, reason in zip(kept_train, reasons, strict=True):
        key = query.text.casefold()
        if reason == "duplicate":
            found[reason].append(defect(query, f"the same as {in_train[key][0].place}"))
        elif reason == "conflicting":
            others = [f"{other.intent} at {other.place}" for other in in_train[key] if other.intent != query.intent]
            found[reason].append(defect(query, f"also {', '.join(others)}"))
        elif reason == "also_in_test":
            found[reason].append(defect(query, f"the same as {in_test[key][0].place}"))
    for query in kept_test:
        first = in_test[query.text.casefold()][0]
        if first != query:
            found["repeated_in_test"].append(defect(query, f"the same as {first.place}, {first.intent}"))
    for query in (*kept_train, *kept_test):
        kinds = Counter(piece.kind for piece in personal_data.find(query.text))
        if kinds:
            found["personal_data"].append(defect(query, ", ".join(f"{kind.replace('_', ' ')}: {kinds[kind]}" for kind in sorted(kinds))))
    return found


def in_splits(queries: Sequence[Query]) -> Defects:
    """Near twins, rare intents, queries of one word, and held-out queries of words that training does not have."""
    found: Defects = {"twin_other_intent": [], "twin_across": [], "twin_inside": [], "rare_intent": [], "one_word": [], "unknown_words": []}
    for first, second, similarity in pairs_of_twins([query.text for query in queries]):
        one, other = queries[first], queries[second]
        if one.text.casefold() == other.text.casefold():  # in an official test split; a kind of its own
            continue
        kind = "twin_other_intent" if one.intent != other.intent else "twin_across" if one.split != other.split else "twin_inside"
        found[kind].append(defect(one, f"{similarity:.2f} like {other.place} ({other.split}, {other.intent}): {other.text}"))
    rows = Counter(query.intent for query in queries)
    least = max(FEWEST_ROWS, FEWEST_SHARE * float(np.median(list(rows.values()))))
    known = vocabulary([query.text for query in queries if query.split == "train"])
    for query in queries:
        if rows[query.intent] < least:
            found["rare_intent"].append(defect(query, f"one of {rows[query.intent]} rows of {query.intent}"))
        own = words(query.text)
        if len(own) <= 1:
            found["one_word"].append(defect(query, f"words: {len(own)}"))
        unknown = [word for word in own if word not in known]
        if query.split != "train" and unknown and len(unknown) >= MOSTLY * len(own):
            found["unknown_words"].append(defect(query, f"{len(unknown)} of {len(own)} words: {' '.join(unknown)}"))
    return found


def in_word_pieces(queries: Sequence[Query], encodings: Sequence[Encoding], max_tokens: int) -> Defects:
    """Queries longer than what is kept of them, and characters that the encoder does not know.

    Args:
        queries: N queries.
        encodings: their word pieces, not cut.
        max_tokens: how many are kept.
    """
    found: Defects = {"cut": [], "unknown_characters": []}
    for query, encoding in zip(queries, encodings, strict=True):
        if len(encoding.ids) > max_tokens:
            found["cut"].append(defect(query, f"{len(encoding.ids)} word pieces, of which {max_tokens} are kept"))
        unknown = [query.text[start:end] for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True) if token == UNKNOWN]
        if unknown:
            found["unknown_characters"].append(defect(query, f"not in the vocabulary: {' '.join(unknown)}"))
    return found


def _row(query: Query) -> Row:
    return Row(0, query.text, query.intent)


def _by_text(queries: Sequence[Query]) -> dict[str, list[Query]]:
    found: defaultdict[str, list[Query]] = defaultdict(list)
    for query in queries:
        found[query.text.casefold()].append(query)
    return found
