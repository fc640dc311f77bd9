from __future__ import annotations

import pytest

from pipeline.near_twins import nearest_by_jaccard


def test_the_nearest_reference_and_its_similarity_by_hand() -> None:
    nearest, similarity = nearest_by_jaccard(["My card's lost!", "???"], ["a pin", "my card's LOST today"])
    assert nearest[0] == 1
    assert similarity.tolist() == [pytest.approx(3 / 4), 0]


def test_without_references_a_text_is_not_its_own_twin() -> None:
    nearest, similarity = nearest_by_jaccard(["one two", "one two three", "four"])
    assert nearest[:2].tolist() == [1, 0]
    assert similarity[:2].tolist() == [pytest.approx(2 / 3)] * 2
    assert similarity[2] == 0
