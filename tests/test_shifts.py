from __future__ import annotations

import numpy as np
import pytest

from pipeline.drifting.profiles import Profile
from pipeline.drifting.shifts import LEAST_EFFECT, SIGNIFICANCE, Check, compare, compare_intents, holm

CLASSES = 40


def profile(rng: np.random.Generator, queries: int, *, moved: float = 0.0, intents: int = CLASSES) -> Profile:
    """Made-up queries; a share of them moved to other words, confidences and intents."""
    far = rng.random(queries) < moved
    return Profile(
        words=np.where(far, 40, rng.poisson(12, queries) + 1),
        unknown=np.where(far, 0.6, rng.beta(1, 8, queries)),
        confidence=np.where(far, 0.3, rng.beta(8, 1, queries)),
        intents=np.where(far, 0, rng.integers(intents, size=queries)),
    )


def test_holm_corrects_the_smallest_most_and_keeps_the_order() -> None:
    assert holm([0.04, 0.01, 0.03, 0.5]) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_false_alarms_are_no_more_than_the_level_promises() -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for seed in range(80):
        checks = compare(profile(rng, 600), profile(rng, 200), CLASSES, seed)
        alarms += any(check.adjusted_p <= 0.05 for check in checks)  # the tests alone, without the least effect
    assert alarms <= 9  # 0.05 of 80, and three standard deviations


def test_a_fifth_of_the_queries_that_moved_is_seen_by_every_check_and_its_size_is_told() -> None:
    rng = np.random.default_rng(1)
    for check in compare(profile(rng, 2000), profile(rng, 1000, moved=0.2), CLASSES):
        assert check.drifted()
        assert check.effect == pytest.approx(0.2, abs=0.06), check.name


@pytest.mark.parametrize("significance", [0.01, 0.001, 0.0001])
def test_no_significance_that_can_be_asked_for_disables_a_check(significance: float) -> None:
    rng = np.random.default_rng(4)
    for check in compare(profile(rng, 600), profile(rng, 600, moved=0.6), CLASSES, significance=significance):
        assert check.drifted(significance), check


def test_among_many_queries_a_trifle_is_significant_and_yet_no_drift() -> None:
    rng = np.random.default_rng(2)
    checks = compare(profile(rng, 100_000), profile(rng, 100_000, moved=0.03), CLASSES)
    assert all(check.adjusted_p <= SIGNIFICANCE for check in checks)
    assert not any(check.drifted() for check in checks)


def test_a_large_difference_between_few_queries_may_be_luck() -> None:
    assert not Check("words", effect=0.4, p=0.2, adjusted_p=0.8).drifted()
    assert Check("words", effect=LEAST_EFFECT, p=0.001, adjusted_p=SIGNIFICANCE).drifted()


def test_a_distance_between_mixes_of_many_intents_that_is_luck_has_a_large_p_and_an_effect_below_it() -> None:
    rng = np.random.default_rng(3)
    reference, new = rng.integers(CLASSES, size=600), rng.integers(CLASSES, size=100)
    distance = np.abs(np.bincount(reference, minlength=CLASSES) / 600 - np.bincount(new, minlength=CLASSES) / 100).sum() / 2
    effect, p = compare_intents(reference, new, CLASSES, seed=0)
    assert distance > 0.2
    assert effect < 0.75 * distance
    assert p > 0.05


def test_an_intent_that_is_gone_and_one_that_is_new_are_a_difference() -> None:
    effect, p = compare_intents(np.repeat([0, 1], 100), np.repeat([0, 2], 100), 3, seed=0)
    assert p == 1 / 1000
    assert effect == pytest.approx(0.5, abs=0.1)
