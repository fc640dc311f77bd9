"""What can be wrong with rows, each with the row it is in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
from tokenizers import Encoding

from pipeline import personal_data
from pipeline.cleaning import comparable, is_empty, reasons_to_drop
from pipeline.near_twins import pairs_of_twins
from pipeline.rows import Row
from pipeline.words import vocabulary, words

FEWEST_ROWS, FEWEST_SHARE = 10, 0.25  # an intent with fewer rows, or fewer than this share of the median intent's, is rare
MOSTLY = 0.5  # share of a query's words
NAMED = 3  # rows that a detail names at most
UNKNOWN = "[UNK]"


class Query(NamedTuple):
    """A row with its place (``<file>:<line>``) and the split it is in."""

    place: str
    split: str
    text: str
    intent: str


class Defect(NamedTuple):
    """A row that has something, and what. Personal data is masked in text and detail: a report goes round.

    Attributes:
        times: how often the row has it: of near twins the pairs that are told at this row, else 1.
    """

    place: str
    intent: str
    text: str
    detail: str
    times: int = 1


Defects = dict[str, list[Defect]]


def defect(query: Query, detail: str, times: int = 1) -> Defect:
    """A defect of a query. Mask a text before it goes into the detail: there other words may stand before a number, or none."""
    return Defect(query.place, query.intent, personal_data.mask(query.text), detail, times)


def count_of(rows: Iterable[Defect]) -> int:
    """How many rows, or pairs of rows, have a defect."""
    return sum(row.times for row in rows)


def in_raw_rows(train: Sequence[Query], test: Sequence[Query]) -> Defects:
    """What `prepare` drops or must leave in an official test split, and personal data.

    Args:
        train: cleaned rows of the training file, in order.
        test: those of the official test file, if there is one.
    """
    found: Defects = {"empty": [], "duplicate": [], "conflicting": [], "also_in_test": [], "repeated_in_test": [], "personal_data": []}
    kept_train, kept_test = ([query for query in queries if not is_empty(_row(query))] for queries in (train, test))
    found["empty"] = [defect(query, "no visible character") for query in (*train, *test) if is_empty(_row(query))]
    in_train, in_test = (_by(queries, lambda query: comparable(query.text)) for queries in (kept_train, kept_test))
    of_intents = {text: _by(queries, lambda query: query.intent) for text, queries in in_train.items()}
    reasons = reasons_to_drop([_row(query) for query in kept_train], [_row(query) for query in kept_test])
    for query, reason in zip(kept_train, reasons, strict=True):
        key = comparable(query.text)
        if reason == "duplicate":
            found[reason].append(defect(query, f"the same as {in_train[key][0].place}"))
        elif reason == "conflicting":
            by_intent = of_intents[key]
            others = chain.from_iterable(queries for intent, queries in by_intent.items() if intent != query.intent)
            named = [f"{other.intent} at {other.place}" for other in islice(others, NAMED)]
            found[reason].append(defect(query, f"also {_some(named, ', ', len(in_train[key]) - len(by_intent[query.intent]))}"))
        elif reason == "also_in_test":
            found[reason].append(defect(query, f"the same as {in_test[key][0].place}"))
    for query in kept_test:
        first = in_test[comparable(query.text)][0]
        if first != query:
            found["repeated_in_test"].append(defect(query, f"the same as {first.place}, {first.intent}"))
    for query in (*kept_train, *kept_test):
        kinds = Counter(piece.kind for piece in personal_data.find(query.text))
        if kinds:
            found["personal_data"].append(defect(query, ", ".join(f"{kind.replace('_', ' ')}: {kinds[kind]}" for kind in sorted(kinds))))
    return found


def in_splits(queries: Sequence[Query]) -> Defects:
    """Near twins, rare intents, queries of one word, and held-out queries of words that training does not have."""
    found: Defects = _near_twins(queries) | {"rare_intent": [], "one_word": [], "unknown_words": []}
    texts = [personal_data.mask(query.text) for query in queries]
    rows = Counter(query.intent for query in queries)
    least = max(FEWEST_ROWS, FEWEST_SHARE * float(np.median(list(rows.values()))))
    known = vocabulary([text for query, text in zip(queries, texts, strict=True) if query.split == "train"])
    for query, text in zip(queries, texts, strict=True):
        if rows[query.intent] < least:
            found["rare_intent"].append(defect(query, f"one of {rows[query.intent]} rows of {query.intent}"))
        own = words(text)
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
        unknown = [place for token, place in zip(encoding.tokens, encoding.offsets, strict=True) if token == UNKNOWN]
        if unknown:
            found["unknown_characters"].append(defect(query, f"not in the vocabulary: {' '.join(_masked_parts(query.text, unknown))}"))
    return found


def _row(query: Query) -> Row:
    return Row(0, query.text, query.intent)


def _by(queries: Iterable[Query], key: Callable[[Query], str]) -> dict[str, list[Query]]:
    found: defaultdict[str, list[Query]] = defaultdict(list)
    for query in queries:
        found[key(query)].append(query)
    return found


def _some(named: Sequence[str], between: str, count: int) -> str:
    """What is named of ``count``, and how many more there are."""
    return between.join(named) + (f" and {count - len(named):,} more" if count > len(named) else "")


def _masked_parts(text: str, places: Sequence[tuple[int, int]]) -> list[str]:
    """The text at places, or what is written for the personal data that reaches into it."""
    pieces = personal_data.find(text)
    return [
        next((personal_data.PLACEHOLDERS[piece.kind] for piece in pieces if piece.start < end and start < piece.end), text[start:end])
        for start, end in places
    ]


def _near_twins(queries: Sequence[Query]) -> Defects:
    """The pairs of near twins, told at the row of the earlier query; the row with the most similar pair first."""
    found: dict[str, list[tuple[float, Defect]]] = {"twin_other_intent": [], "twin_across": [], "twin_inside": []}
    texts_N, intents_N, splits_N = (
        np.unique(values, return_inverse=True)[1]
        for values in zip(*((comparable(query.text), query.intent, query.split) for query in queries), strict=True)
    )
    for first, later, similarity in pairs_of_twins([query.text for query in queries]):
        different = texts_N[later] != texts_N[first]  # the same is in an official test split; a kind of its own
        other_intent, other_split = intents_N[later] != intents_N[first], splits_N[later] != splits_N[first]
        kinds = {"twin_other_intent": other_intent, "twin_across": ~other_intent & other_split, "twin_inside": ~other_intent & ~other_split}
        for kind, is_of_kind in kinds.items():
            twins = np.flatnonzero(different & is_of_kind)
            if len(twins):
                nearest = twins[np.argsort(-similarity[twins], kind="stable")[:NAMED]]
                named = [_told(queries[later[twin]], similarity[twin]) for twin in nearest]
                twin = defect(queries[first], _some(named, "; ", len(twins)), len(twins))
                found[kind].append((float(similarity[nearest[0]]), twin))
    return {kind: [twin for _, twin in sorted(rows, key=lambda row: -row[0])] for kind, rows in found.items()}


def _told(twin: Query, similarity: float) -> str:
    return f"{similarity:.2f} like {twin.place} ({twin.split}, {twin.intent}): {personal_data.mask(twin.text)}"
