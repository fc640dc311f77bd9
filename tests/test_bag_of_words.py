from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.bag_of_words import BagOfWords, fit_linear

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


def test_two_classes_give_the_probabilities_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(40, 3)), rng.integers(2, size=40)
    weight, bias = fit_linear(features, labels, 1.0, 200, seed=0)
    logits = features @ weight.T + bias
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    expected = LogisticRegression(C=1.0, max_iter=200, random_state=0).fit(features, labels).predict_proba(features)[:, 1]
    np.testing.assert_allclose(1 / (1 + np.exp(logits[:, 0] - logits[:, 1])), expected, rtol=1e-5)
