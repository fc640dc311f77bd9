from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import f1_score

from pipeline.calibration import expected_calibration_error
from pipeline.metrics import accuracy, macro_f1, over, score, score_with_intervals, wilson, with_intervals

RNG = np.random.default_rng(0)
LABELS = RNG.integers(5, size=400)
LOG_P = np.log(RNG.dirichlet(np.ones(5) * 0.3, size=400) + 0.4 * np.eye(5)[LABELS] + 1e-9)
LOG_P -= np.log(np.exp(LOG_P).sum(axis=1, keepdims=True))
PREDICTED = LOG_P.argmax(axis=1)


def test_the_spread_of_several_runs_is_that_of_a_sample_and_of_one_run_there_is_none() -> None:
    assert over([0.5, 0.7]) == {"mean": 0.6, "std": 0.141421, "each": [0.5, 0.7]}
    assert over([2 / 3]) == {"mean": 0.666667, "std": 0.0, "each": [0.666667]}


def test_figures_agree_with_scikit_learn_and_definitions() -> None:
    figures = score(LOG_P, LABELS, bins=15)
    assert figures["accuracy"] == accuracy(LABELS, PREDICTED) == (PREDICTED == LABELS).mean()
    assert figures["macro_f1"] == pytest.approx(f1_score(LABELS, PREDICTED, average="macro"))
    assert figures["nll"] == pytest.approx(-LOG_P[np.arange(400), LABELS].mean())
    top3 = np.argsort(-LOG_P, axis=1)[:, :3]
    assert figures["top3_accuracy"] == (top3 == LABELS[:, None]).any(axis=1).mean()


def test_a_class_that_never_occurs_does_not_count_in_macro_f1() -> None:
    assert macro_f1(np.array([0, 1]), np.array([0, 1]), classes=3) == 1.0
    assert macro_f1(np.array([0, 0]), np.array([0, 2]), classes=3) == pytest.approx((2 / 3 + 0) / 2)


def test_intervals_hold_the_figure_cover_as_expected_and_repeat() -> None:
    figures = score_with_intervals(LOG_P, LABELS, bins=15, samples=300, seed=1)
    assert figures == score_with_intervals(LOG_P, LABELS, bins=15, samples=300, seed=1)
    assert figures["accuracy_low"] < figures["accuracy"] < figures["accuracy_high"]
    standard_error = np.sqrt(figures["accuracy"] * (1 - figures["accuracy"]) / 400)
    assert figures["accuracy_high"] - figures["accuracy_low"] == pytest.approx(2 * 1.96 * standard_error, rel=0.2)


def test_the_interval_holds_the_true_figure_where_few_rows_shift_it() -> None:
    rng = np.random.default_rng(7)
    confidence = rng.beta(4, 0.8, size=(60, 600))
    right = rng.random(confidence.shape) < confidence - 0.05
    true = expected_calibration_error(confidence.ravel(), right.ravel(), 15)
    held = 0
    for draw in range(60):
        figures = with_intervals(
            lambda rows, draw=draw: {"ece": expected_calibration_error(confidence[draw][rows], right[draw][rows], 15)}, {}, 600, 200, draw
        )
        held += figures["ece_low"] <= true <= figures["ece_high"]
    assert held >= 48, held  # an interval of percentiles: in 36


def test_an_interval_holds_its_own_figure_even_where_every_resample_lies_above_it() -> None:
    figures = with_intervals(lambda rows: {"ece": abs(rows.mean() - 19.5) / 40}, {}, 40, 200, 0)
    assert figures["ece"] == figures["ece_low"] == figures["ece_high"] == 0.0


def test_answers_that_are_all_right_do_not_prove_that_all_would_be() -> None:
    figures = score_with_intervals(LOG_P, PREDICTED, bins=15, samples=100, seed=1)
    assert figures["accuracy"] == figures["accuracy_high"] == 1
    assert figures["accuracy_low"] == figures["top3_accuracy_low"] == pytest.approx(400 / (400 + 1.96**2), abs=1e-5)


@pytest.mark.parametrize("p", [0.95, 0.98, 0.99])
def test_the_interval_of_a_share_holds_it_near_one_too(p: float) -> None:
    intervals = [wilson(k / 276, 276) for k in range(277)]
    held_K = np.array([low <= p <= high for low, high in intervals])
    assert held_K @ binom.pmf(np.arange(277), 276, p) >= 0.93  # of the basic bootstrap: 0.92, 0.91, 0.76


def test_what_lies_between_0_and_1_has_an_interval_there_and_the_likelihood_has_not() -> None:
    figures = with_intervals(lambda rows: {"macro_f1": 1 - (rows < 1).mean(), "nll": 2 + rows.mean()}, {}, 40, 200, 0)
    assert figures["macro_f1"] < figures["macro_f1_high"] == 1
    assert figures["nll_high"] > figures["nll"] > 1
