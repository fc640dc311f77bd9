from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from pipeline.near_twins import nearest_by_jaccard
from pipeline.sources import read_csv

ROWS = read_csv(Path("data/sample/queries.csv"), "text", "intent")
with Path("data/sample/intents.csv").open(encoding="utf-8", newline="") as handle:
    INTENTS = list(csv.DictReader(handle))


def test_there_are_forty_queries_for_each_of_the_defined_intents() -> None:
    assert len(INTENTS) == 77
    assert Counter(row.intent for row in ROWS) == {intent["intent"]: 40 for intent in INTENTS}


def test_queries_have_three_to_sixty_words() -> None:
    assert [row.line for row in ROWS if not 3 <= len(row.text.split()) <= 60] == []


def test_neighbours_are_intents_and_every_definition_is_filled() -> None:
    names = {intent["intent"] for intent in INTENTS}
    for intent in INTENTS:
        assert set(intent["neighbours"].split("; ")) <= names - {intent["intent"]}
        assert intent["definition"].endswith(".")
        assert intent["difference"].endswith(".")


def test_no_two_queries_are_near_twins() -> None:
    nearest, similarity = nearest_by_jaccard([row.text for row in ROWS])
    assert [(ROWS[i].line, ROWS[nearest[i]].line) for i in range(len(ROWS)) if similarity[i] >= 0.7] == []
