from __future__ import annotations

import numpy as np

from pipeline.drifting.profiles import describe, shares
from pipeline.serving.classifier import Answer


def test_queries_are_described_by_their_words_and_by_what_the_model_says() -> None:
    answers = [Answer("b", 0.9, (), True, (), False), Answer("a", 0.4, (), False, (), False)]
    profile = describe(["my card", "où?"], answers, frozenset({"my"}), ("a", "b"))
    assert [values.tolist() for values in profile] == [[2, 1], [0.5, 1.0], [0.9, 0.4], [1, 0]]
    assert shares(profile, profile._replace(intents=np.array([1, 1])), ("a", "b"))[0] == {"intent": "a", "reference": 0.5, "new": 0.0}
