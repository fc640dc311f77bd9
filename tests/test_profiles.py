from __future__ import annotations

import numpy as np

from pipeline.drifting.profiles import describe, shares, unknown_share, vocabulary
from pipeline.serving.classifier import Answer


def test_unknown_words_are_counted_without_regard_to_case_and_a_text_without_words_is_all_unknown() -> None:
    known = vocabulary(["Where is my card?", "It's gone"])
    assert unknown_share("WHERE is my Kärtchen", known) == 0.25
    assert unknown_share("it's", known) == 0.0
    assert unknown_share("!?", known) == 1.0


def test_queries_are_described_by_their_words_and_by_what_the_model_says() -> None:
    answers = [Answer("b", 0.9, (), True, (), False), Answer("a", 0.4, (), False, (), False)]
    profile = describe(["my card", "où?"], answers, frozenset({"my"}), ("a", "b"))
    assert [values.tolist() for values in profile] == [[2, 1], [0.5, 1.0], [0.9, 0.4], [1, 0]]
    assert shares(profile, profile._replace(intents=np.array([1, 1])), ("a", "b"))[0] == {"intent": "a", "reference": 0.5, "new": 0.0}
