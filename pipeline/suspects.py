"""Suspected label errors: rows whose label a model that has not learnt from them contradicts.

Confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70), as cleanlab
does it. A suspect is a row to look at, not an error: with intents that overlap, a good part of them are right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from cleanlab.filter import find_label_issues
from scipy.special import softmax

from pipeline.bag_of_words import fit_linear

FOLDS = 5
INVERSE_REGULARIZATION, MAX_ITERATIONS = 30.0, 1000  # the defaults of teach.base_encoder


class Suspects(NamedTuple):
    """Suspected rows, the least believable label first.

    Attributes:
        rows: indices of shape (S,).
        suggested: for each the class that the model would give it, of shape (S,); never the given one.
    """

    rows: np.ndarray
    suggested: np.ndarray


def suspects(probabilities_NC: np.ndarray, labels_N: np.ndarray) -> Suspects:
    """Finds the rows whose label is probably wrong.

    How many are wrong is estimated from the rows that are confidently of another class: surer of it than its own rows are on average. That
    many are taken, those with the widest margin between the best other class and the given one (cleanlab's ``low_normalized_margin``). House
    decision: of cleanlab's rules this one named the fewest innocent rows at like recall when labels of the sample and of BANKING77 were
    exchanged for those of a neighbouring intent; for labels exchanged at random ``low_self_confidence`` is better.

    Args:
        probabilities_NC: of N rows and C classes, by models that have not learnt from the row (see `out_of_fold`).
        labels_N: the given class indices; each of the C classes has a row.
    """
    rows = find_label_issues(
        labels_N, probabilities_NC, filter_by="low_normalized_margin", return_indices_ranked_by="normalized_margin", n_jobs=1
    )
    found = np.asarray(rows, dtype=np.int64)
    suggested = probabilities_NC[found].argmax(axis=1)
    contradicted = suggested != labels_N[found]
    return Suspects(found[contradicted], suggested[contradicted])


def out_of_fold(embeddings_NH: np.ndarray, labels_N: np.ndarray, classes: int, seed: int, folds: int = FOLDS) -> np.ndarray:
    """Class probabilities of every row, by logistic regressions fitted to the other folds.

    Rows of a class are dealt out to the folds in random order, so that a class with two rows or more is in all that a model learns from.

    Returns:
        Probabilities of shape (N, classes), float64; 0 for a class that the other folds do not have.
    """
    rng = np.random.default_rng(seed)
    dealt = np.concatenate([rng.permutation(np.flatnonzero(labels_N == index)) for index in range(classes)])
    fold_N = np.empty(len(labels_N), dtype=np.int64)
    fold_N[dealt] = np.arange(len(dealt)) % folds
    probabilities_NC = np.zeros((len(labels_N), classes))
    for fold in np.unique(fold_N):
        rest, held = fold_N != fold, fold_N == fold
        weight, bias = fit_linear(embeddings_NH[rest], labels_N[rest], INVERSE_REGULARIZATION, MAX_ITERATIONS, seed)
        logits = embeddings_NH[held] @ weight.T + bias
        probabilities_NC[np.ix_(held, np.unique(labels_N[rest]))] = softmax(logits.astype(np.float64), axis=1)
    return probabilities_NC
