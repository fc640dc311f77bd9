from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from small_runs import labels, predict

from pipeline.metrics import macro_f1
from pipeline.paired import Difference, compare, mcnemar, pair, resampled_differences


def right(rows: int, wrong: range) -> np.ndarray:
    return np.array([i not in wrong for i in range(rows)])


@pytest.mark.parametrize(
    ("newly_wrong", "newly_right", "p"), [(0, 0, 1.0), (0, 5, 2 / 32), (1, 5, 14 / 64), (3, 3, 1.0), (10, 0, 2 / 1024)]
)
def test_mcnemar_is_the_exact_one_counted_by_hand(newly_wrong: int, newly_right: int, p: float) -> None:
    before = right(50, range(newly_right))
    after = right(50, range(20, 20 + newly_wrong))
    assert mcnemar(before, after) == pytest.approx(p)


def test_mcnemar_is_twice_the_tail_of_the_binomial() -> None:
    assert mcnemar(right(200, range(30)), right(200, range(100, 112))) == pytest.approx(2 * binom.cdf(12, 42, 0.5))


def test_the_bootstrap_of_accuracy_has_the_standard_error_of_the_formula() -> None:
    truth = labels(400)
    pairs = pair([], truth, predict(truth, range(60)), predict(truth, range(40, 80)))
    drawn = resampled_differences(pairs)["accuracy"]
    each = pairs.right()[1].astype(int) - pairs.right()[0].astype(int)
    assert drawn.mean() == pytest.approx(each.mean(), abs=0.001)
    assert drawn.std() == pytest.approx(each.std() / np.sqrt(400), rel=0.03)


def test_the_bootstrap_of_macro_f1_is_that_of_a_plain_loop() -> None:
    truth = labels(60)
    pairs = pair([], truth, predict(truth, range(12)), predict(truth, [*range(8, 16), 59]))
    samples, classes = 300, len(pairs.intents)
    drawn = resampled_differences(pairs, samples, seed=7)["macro_f1"]
    cells = np.random.default_rng(7).integers(60, size=(samples, 60))
    looped = [
        macro_f1(pairs.labels_N[row], pairs.after_N[row], classes) - macro_f1(pairs.labels_N[row], pairs.before_N[row], classes)
        for row in cells
    ]
    np.testing.assert_allclose(drawn, looped, atol=1e-12)


def test_a_class_that_was_not_drawn_counts_for_neither_side() -> None:
    truth = ["a"] * 9 + ["b"]
    pairs = pair([], truth, truth, truth)
    assert set(resampled_differences(pairs, 200)["macro_f1"]) == {0.0}


def test_the_same_predictions_differ_by_nothing_and_the_same_seed_gives_the_same_interval() -> None:
    truth = labels(100)
    pairs = pair([], truth, predict(truth, range(9)), predict(truth, range(5, 20)))
    assert compare(pairs, 0.05) == compare(pairs, 0.05)
    same = compare(pair([], truth, truth, truth), 0.05)
    assert same["accuracy"] == Difference(1.0, 1.0, 0.0, 0.0, 1.0)
    assert not any(row.is_significant(0.05) for row in same.values())


def test_two_models_of_equal_worth_are_told_apart_no_more_often_than_the_level_says() -> None:
    rng = np.random.default_rng(3)
    truth = labels(150)
    found = {"accuracy": 0, "macro_f1": 0}
    for _ in range(60):
        runs = [predict(truth, list(np.flatnonzero(rng.random(150) < 0.2))) for _ in range(2)]
        for metric, difference in compare(pair([], truth, *runs), 0.05).items():
            found[metric] += difference.is_significant(0.05)
    assert max(found.values()) <= 8  # 3 expected; more than 8 has a probability of 0.003 at a level of 0.05
