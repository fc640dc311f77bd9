from __future__ import annotations

import numpy as np
import pytest

from pipeline.abstention import (
    Thresholds,
    among_accepted,
    choose_conformal_threshold,
    choose_threshold,
    choose_thresholds,
    measure,
    measure_out_of_scope,
    measure_with_intervals,
    risk_coverage,
)
from pipeline.errors import UserError

P = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.3, 0.1], [0.1, 0.45, 0.45]])
LABELS = np.array([0, 1, 1, 2])


def draw(rows: int, seed: int, classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are true, and labels drawn from them."""
    rng = np.random.default_rng(seed)
    p_NC = rng.dirichlet(np.full(classes, 0.4), size=rows)
    return p_NC, np.minimum((p_NC.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1), classes - 1)


def test_the_threshold_accepts_as_many_as_the_target_allows() -> None:
    confidence, correct = np.array([0.5, 0.9, 0.8, 0.7, 0.6]), np.array([True, True, True, False, True])
    assert choose_threshold(confidence, correct, 1.0) == pytest.approx(0.75)
    assert choose_threshold(confidence, correct, 0.75) == pytest.approx(0.0)  # 4 of 5
    assert choose_threshold(confidence[:4], correct[:4], 0.7) == pytest.approx(0.0)  # 3 of 4
    assert choose_threshold(confidence, ~correct, 0.9) == 1.0


def test_queries_of_equal_confidence_are_accepted_together() -> None:
    assert choose_threshold(np.array([0.9, 0.9, 0.5]), np.array([True, False, False]), 1.0) == 1.0


def test_the_conformal_threshold_is_the_rank_of_the_finite_sample_by_hand() -> None:
    p = np.linspace(0.01, 0.99, 99)[::-1]
    p_NC = np.stack([p, 1 - p], axis=1)
    assert choose_conformal_threshold(p_NC, np.zeros(99, dtype=int), 0.95) == pytest.approx(0.05)  # the fifth lowest of 99
    assert choose_conformal_threshold(p_NC[:10], np.zeros(10, dtype=int), 0.95) == 0.0  # too few: every label is in every set


def test_label_sets_keep_their_promise_on_queries_of_the_same_kind() -> None:
    covered = []
    for seed in range(40):
        threshold = choose_conformal_threshold(*draw(200, seed), 0.9)
        p_NC, labels = draw(2000, 1000 + seed)
        covered.append((p_NC >= threshold)[np.arange(2000), labels].mean())
    assert np.mean(covered) == pytest.approx(0.9, abs=0.012)  # about three standard errors of the mean


def test_what_the_thresholds_do_by_hand() -> None:
    assert among_accepted(P, LABELS, 0.6) == {"accepted": 0.75, "accepted_accuracy": pytest.approx(2 / 3)}
    assert among_accepted(P, LABELS, 0.95) == {"accepted": 0.0, "accepted_accuracy": 1.0}
    assert measure(P, LABELS, Thresholds(0.6, 0.3)) == {
        "accepted": 0.75,
        "accepted_accuracy": pytest.approx(2 / 3),
        "coverage": 1.0,
        "mean_labels": 1.5,
    }


def test_the_accuracy_among_the_accepted_is_as_sure_as_they_are_many() -> None:
    figures = measure_with_intervals(P, LABELS, Thresholds(0.8, 0.3), samples=100, seed=0)
    assert (figures["accepted_accuracy"], figures["accepted_accuracy_high"]) == (1.0, 1.0)
    assert figures["accepted_accuracy_low"] == pytest.approx(2 / (2 + 1.96**2), abs=1e-4)  # both of two, of four queries
    figures = measure_with_intervals(P, LABELS, Thresholds(0.95, 0.3), samples=100, seed=0)
    assert (figures["accepted_accuracy_low"], figures["accepted_accuracy_high"]) == (0.0, 1.0)  # nothing is known of none


def test_texts_of_no_intent_are_told_by_kind() -> None:
    p_OC = np.array([[0.5, 0.5, 0.0], [0.95, 0.05, 0.0], [0.4, 0.3, 0.3]])
    assert measure_out_of_scope(P, p_OC, ["chat", "spam", "chat"], 0.6) == {
        "texts": 3,
        "auroc": round(7 / 12, 6),  # of 12 pairs: 3 queries above 0.5, none above 0.95, 4 above 0.4
        "let_through": round(1 / 3, 6),
        "by_kind": {"chat": {"texts": 2, "let_through": 0.0}, "spam": {"texts": 1, "let_through": 1.0}},
    }


def test_the_curve_goes_from_one_query_to_all_and_is_thinned() -> None:
    rows = risk_coverage(P, LABELS, P[:2])
    assert rows[0] == (0.9, 0.25, 1.0, 0.5)
    assert rows[-1] == (0.45, 1.0, 0.5, 1.0)
    p_NC, labels = draw(3000, 0)
    assert len(risk_coverage(p_NC, labels, p_NC, points=50)) == 50


def test_thresholds_of_the_params_are_taken_as_they_are() -> None:
    assert choose_thresholds(P, LABELS, 0.9, 0.5, (0.7, 0.2), in_train=True) == Thresholds(0.7, 0.2)
    assert choose_thresholds(P, LABELS, 0.9, 0.5, (0.7, None), in_train=False) == Thresholds(0.7, 0.45)


@pytest.mark.parametrize(("given", "key"), [((None, 0.2), "threshold"), ((0.7, None), "label_threshold")])
def test_after_a_refit_thresholds_must_be_given(given: tuple[float | None, float | None], key: str) -> None:
    with pytest.raises(UserError, match=rf"evaluate\.{key}: null: after prepare\.refit"):
        choose_thresholds(P, LABELS, 0.9, 0.5, given, in_train=True)
