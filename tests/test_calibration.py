from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from pipeline.calibration import expected_calibration_error, fit_temperature, reliability


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3, size=(20_000, 4))
    labels = np.array([rng.choice(4, p=p) for p in softmax(logits / temperature, axis=1)])
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


def test_where_every_answer_is_right_the_confidence_is_what_so_many_rows_support() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(8, size=20)
    logits = rng.normal(size=(20, 8)) + 8 * np.eye(8)[labels]
    temperature = fit_temperature(logits, labels)
    assert 0.9 < softmax(logits / temperature, axis=1).max(axis=1).mean() < 21 / 22 + 0.01
    noise = rng.normal(size=(100, 8))
    assert softmax(noise / temperature, axis=1).max(axis=1).max() < 0.8
    assert softmax(noise / 0.05, axis=1).max(axis=1).max() > 0.99  # of what bare labels ask for


def test_error_is_the_weighted_gap_by_hand() -> None:
    confidence, correct = np.array([0.95, 0.95, 0.55, 0.55]), np.array([1, 0, 1, 1])
    assert reliability(confidence, correct, 10) == [(2, pytest.approx(0.55), 1.0), (2, pytest.approx(0.95), 0.5)]
    assert expected_calibration_error(confidence, correct, 10) == pytest.approx(0.5 * 0.45 + 0.5 * 0.45)


def test_a_confidence_of_one_belongs_to_the_last_bin() -> None:
    assert reliability(np.array([1.0]), np.array([True]), 15) == [(1, 1.0, 1.0)]
