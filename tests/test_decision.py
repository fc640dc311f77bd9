from __future__ import annotations

import numpy as np
import pytest

from pipeline.decision import accepts, label_sets, probabilities

P = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.3, 0.1], [0.1, 0.45, 0.45]])


def test_probabilities_undo_the_temperature_and_bear_any_size_of_logits() -> None:
    logits_NC = 3 * np.log(P[2:3]) + 2000
    assert probabilities(logits_NC, 3.0).tolist() == [pytest.approx(P[2].tolist())]


def test_the_float_type_is_that_of_the_logits() -> None:
    assert probabilities(np.log(P[2:]).astype(np.float32), 1.3).dtype == np.float32


def test_a_confidence_at_the_threshold_is_enough() -> None:
    assert accepts(P, 0.6).tolist() == [True, True, True, False]


def test_a_threshold_of_one_accepts_none_however_sure_the_model_is() -> None:
    sure = probabilities(np.array([[40.0, 0.0, 0.0]], dtype=np.float32), 1.0)
    assert sure.max() == 1.0
    assert accepts(sure, 0.999999).tolist() == [True]
    assert accepts(sure, 1.0).tolist() == [False]


def test_a_set_is_never_empty() -> None:
    assert label_sets(P, 0.85).tolist() == [[True, False, False], [False, True, False], [True, False, False], [False, True, False]]
    assert label_sets(P, 0.3).sum(axis=1).tolist() == [1, 1, 2, 2]
