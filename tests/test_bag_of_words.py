from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from pipeline.bag_of_words import BYTES_A_WEIGHT, BagOfWords, fit_linear
from pipeline.errors import UserError

TEXTS = ["my card is lost", "the card got lost", "top up failed", "failed top up again", "close account", "please close my account"]
LABELS = np.array([0, 0, 1, 1, 2, 2])


def fit(texts: list[str] = TEXTS, labels: np.ndarray = LABELS) -> BagOfWords:
    return BagOfWords.fit(texts, labels, inverse_regularization=30.0, max_iterations=200, seed=0)


def test_it_learns_and_gives_normalised_probabilities() -> None:
    log_p = fit().log_probabilities([*TEXTS, "completely unseen words", ""])
    assert log_p[:6].argmax(axis=1).tolist() == LABELS.tolist()
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1, rtol=1e-5)


def test_a_saved_model_gives_the_very_same_answers(tmp_path: Path) -> None:
    model = fit()
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(BagOfWords.load(tmp_path / "model").log_probabilities(TEXTS), model.log_probabilities(TEXTS))


@pytest.mark.parametrize("texts", [["???", "!!!"], ["a", "b"]])
def test_texts_without_words_and_two_classes_are_fine(texts: list[str]) -> None:
    model = fit(texts, np.array([0, 1]))
    assert model.log_probabilities(texts).argmax(axis=1).tolist() == [0, 1]


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_those_of_scikit_learn_however_many_classes(classes: int) -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 3)), rng.integers(classes, size=60)
    weight, bias = fit_linear(features, labels, 30.0, 500, seed=0)
    expected = LogisticRegression(C=30.0, max_iter=500, random_state=0).fit(features, labels).predict_proba(features)
    np.testing.assert_allclose(softmax(features @ weight.T + bias, axis=1), expected, rtol=1e-5)
    weaker = LogisticRegression(C=1 / 30.0, max_iter=500, random_state=0).fit(features, labels).predict_proba(features)
    assert np.abs(weaker - expected).max() > 0.05


def test_a_fit_that_memory_cannot_hold_is_one_line_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = tmp_path / "meminfo"
    monkeypatch.setattr("pipeline.bag_of_words.MEMORY", memory)
    features, labels = np.eye(9), np.arange(9) // 3  # 320 bytes for each of 3 x 10 weights
    memory.write_text("MemTotal:      99 kB\nMemAvailable:   9 kB\nSwapFree:       1 kB\n")
    assert fit_linear(features, labels, 1.0, 50, seed=0)
    memory.write_text("MemTotal:      99 kB\nMemAvailable:   9 kB\nSwapFree:       0 kB\n")
    with pytest.raises(
        UserError, match=r"a weight for each of 3 intents and 9 features: fitting takes 0\.0 GB of memory, 0\.0 GB are free"
    ):
        fit_linear(features, labels, 1.0, 50, seed=0)


def test_the_memory_of_a_fit_is_as_reckoned() -> None:
    rng = np.random.default_rng(0)
    features = sparse.random(40, 50_000, density=0.001, format="csr", rng=rng).astype(np.float32)
    tracemalloc.start()
    fit_linear(features, np.arange(40) % 4, 30.0, 12, seed=0)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.8 < taken / (BYTES_A_WEIGHT * 4 * 50_001) <= 1
