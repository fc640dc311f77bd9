from __future__ import annotations

import tracemalloc
from itertools import combinations

import numpy as np
import pytest

from pipeline import near_twins
from pipeline.near_twins import nearest_by_jaccard, pairs_of_twins


def texts_of_few_words(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(list("abcdefgh"), rng.integers(0, 6))) for _ in range(count)]


def test_the_nearest_reference_and_its_similarity_by_hand() -> None:
    nearest, similarity = nearest_by_jaccard(["My card's lost!", "???"], ["a pin", "my card's LOST today"])
    assert nearest[0] == 1
    assert similarity.tolist() == [pytest.approx(3 / 4), 0]


def test_without_references_a_text_is_not_its_own_twin() -> None:
    nearest, similarity = nearest_by_jaccard(["one two", "one two three", "four"])
    assert nearest[:2].tolist() == [1, 0]
    assert similarity[:2].tolist() == [pytest.approx(2 / 3)] * 2
    assert similarity[2] == 0


def test_each_pair_of_twins_is_told_once_at_its_earlier_text() -> None:
    texts = texts_of_few_words(60)
    sets = [set(text.split()) for text in texts]
    likeness = {(i, j): len(sets[i] & sets[j]) / max(1, len(sets[i] | sets[j])) for i, j in combinations(range(60), 2)}
    told = {
        (first, int(other)): float(similarity)
        for first, later, similarities in pairs_of_twins(texts, 0.7)
        for other, similarity in zip(later, similarities, strict=True)
    }
    assert told == {pair: pytest.approx(similarity) for pair, similarity in likeness.items() if similarity >= 0.7}
    assert list(told) == sorted(told)
    assert 20 < len(told) < 1000


@pytest.mark.parametrize("pairs_at_once", [1, 150, 151])
def test_how_many_rows_are_compared_at_once_changes_nothing(pairs_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = texts_of_few_words(50)

    def compare() -> list[object]:
        pairs = [(first, later.tolist(), similarities.tolist()) for first, later, similarities in pairs_of_twins(texts)]
        return [*(array.tolist() for array in (*nearest_by_jaccard(texts), *nearest_by_jaccard(texts, texts[:7]))), pairs]

    whole = compare()
    monkeypatch.setattr(near_twins, "PAIRS_AT_ONCE", pairs_at_once)
    assert compare() == whole


def test_memory_is_bounded_by_the_pairs_at_once_however_many_are_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a million pairs: as tuples they would take fifty megabytes, as one matrix of similarities twenty with what computes it."""
    monkeypatch.setattr(near_twins, "PAIRS_AT_ONCE", 10_000)
    texts = ["where is my new card"] * 1000
    tracemalloc.start()
    try:
        assert sum(len(later) for _, later, _ in pairs_of_twins(texts)) == 1000 * 999 / 2
        assert nearest_by_jaccard(texts[:10], texts)[1].tolist() == [1] * 10
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5e6
