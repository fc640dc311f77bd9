"""Suspected label errors: rows whose label a model that has not learnt from them contradicts.

Confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70), but for a
house decision: what must be above its threshold is the most probable class, not any class, since it is the one that is suggested. A suspect
is a row to look at, not an error: with intents that overlap, a good part of them are right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from cleanlab.count import get_confident_thresholds
from scipy.special import softmax

from pipeline.bag_of_words import fit_linear

FOLDS = 5
# The average is what about half of a class's right rows do not reach; so at 1 a good part of labels exchanged on purpose was not found even
# where classes lie far apart (tests/test_audit.py). Less than this finds more, and more innocent rows.
SURENESS = 0.7
INVERSE_REGULARIZATION, MAX_ITERATIONS = 30.0, 1000  # the defaults of teach.base_encoder


class Suspects(NamedTuple):
    """Suspected rows, the least believable label first.

    Attributes:
        rows: indices of shape (S,).
        suggested: for each the class that the model would give it, of shape (S,); never the given one.
    """

    rows: np.ndarray
    suggested: np.ndarray


def suspects(probabilities_NC: np.ndarray, labels_N: np.ndarray, sureness: float = SURENESS) -> Suspects:
    """Finds the rows whose label is probably wrong.

    A row is suspect if its most probable class is another one, and that with a probability of at least ``sureness`` times what the rows
    given that class have for it on average. The rows with the widest margin between the two probabilities come first.

    Args:
        probabilities_NC: of N rows and C classes, by models that have not learnt from the row (see `out_of_fold`).
        labels_N: the given class indices; each of the C classes has a row.
        sureness: 1 is the threshold as published. House decision, see ``SURENESS``.
    """
    thresholds_C = sureness * get_confident_thresholds(labels_N, probabilities_NC)
    best_N = probabilities_NC.argmax(axis=1)
    found = np.flatnonzero((best_N != labels_N) & (probabilities_NC.max(axis=1) >= thresholds_C[best_N]))
    margin = probabilities_NC[found, best_N[found]] - probabilities_NC[found, labels_N[found]]
    found = found[np.argsort(-margin, kind="stable")]
    return Suspects(found, best_N[found])


def out_of_fold(embeddings_NH: np.ndarray, labels_N: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Class probabilities of every row, by logistic regressions fitted to the other folds.

    Rows of a class are dealt out to the folds in random order, so that a class with two rows or more is in all that a model learns from.

    Returns:
        Probabilities of shape (N, classes), float64; 0 for a class that the other folds do not have.
    """
    rng = np.random.default_rng(seed)
    dealt = np.concatenate([rng.permutation(np.flatnonzero(labels_N == index)) for index in range(classes)])
    fold_N = np.empty(len(labels_N), dtype=np.int64)
    fold_N[dealt] = np.arange(len(dealt)) % FOLDS
    probabilities_NC = np.zeros((len(labels_N), classes))
    for fold in np.unique(fold_N):
        rest, held = fold_N != fold, fold_N == fold
        weight, bias = fit_linear(embeddings_NH[rest], labels_N[rest], INVERSE_REGULARIZATION, MAX_ITERATIONS, seed)
        logits = embeddings_NH[held] @ weight.T + bias
        probabilities_NC[np.ix_(held, np.unique(labels_N[rest]))] = softmax(logits.astype(np.float64), axis=1)
    return probabilities_NC
