from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from pipeline.cleaning import drop_empty
from pipeline.near_twins import nearest_by_jaccard
from pipeline.sources import read_csv
from pipeline.text import clean_text

FILE = Path("data/sample/out_of_scope.csv")
ROWS = read_csv(FILE, "text", "kind")
TEXTS = [row.text for row in ROWS]
QUERIES = read_csv(Path("data/sample/queries.csv"), "text", "intent")
TWIN = 0.7
COUNTS = {
    "small_talk": 40,
    "other_product": 70,
    "other_company": 40,
    "other_language": 45,
    "gibberish": 30,
    "shouting": 30,
    "spam": 25,
    "near_miss": 20,
}


def test_the_columns_are_text_and_kind_and_no_other() -> None:
    with FILE.open(encoding="utf-8", newline="") as handle:
        assert next(csv.reader(handle)) == ["text", "kind"]


def test_there_are_three_hundred_messages_of_the_eight_kinds() -> None:
    assert Counter(row.intent for row in ROWS) == COUNTS


def test_messages_have_one_to_sixty_words() -> None:
    assert [row.line for row in ROWS if not 1 <= len(row.text.split()) <= 60] == []


def test_the_readers_keep_every_message_as_it_is_written() -> None:
    kept, dropped = drop_empty(ROWS, str(FILE))
    assert dropped == 0
    assert [row.line for row in ROWS if row.text != clean_text(row.text)] == []
    assert kept == ROWS


def test_no_message_would_be_a_formula_in_a_spreadsheet() -> None:
    assert [row.line for row in ROWS if row.text.startswith(("=", "+", "-", "@"))] == []


def test_no_message_is_there_twice_or_is_one_of_the_queries() -> None:
    folded = [text.casefold() for text in TEXTS]
    assert [text for text, count in Counter(folded).items() if count > 1] == []
    assert set(folded) & {row.text.casefold() for row in QUERIES} == set()


def test_no_two_messages_are_near_twins() -> None:
    nearest, similarity = nearest_by_jaccard(TEXTS)
    assert [(ROWS[i].line, ROWS[nearest[i]].line) for i in range(len(ROWS)) if similarity[i] >= TWIN] == []


def test_no_message_is_a_near_twin_of_a_query() -> None:
    nearest, similarity = nearest_by_jaccard(TEXTS, [row.text for row in QUERIES])
    assert [(ROWS[i].line, QUERIES[nearest[i]].line) for i in range(len(ROWS)) if similarity[i] >= TWIN] == []
