"""Temperature scaling and its error (Guo et al. 2017, arXiv 1706.04599)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax


def fit_temperature(logits_NC: np.ndarray, labels_N: np.ndarray) -> float:
    """The temperature in [0.05, 20] that minimises the cross-entropy with smoothed labels, to four decimals.

    Of N rows each has its label with a probability of (N + 1) / (N + 2), and shares the rest among the other labels (Platt 1999, section
    2.2, of two classes). With bare labels, rows that are all answered right would ask for the lowest temperature there is.
    """
    rows, classes = logits_NC.shape
    target_NC = np.full((rows, classes), 1 / (rows + 2) / (classes - 1))
    target_NC[np.arange(rows), labels_N] = (rows + 1) / (rows + 2)

    def cross_entropy(log_temperature: float) -> float:
        log_p_NC = log_softmax(logits_NC.astype(np.float64) / np.exp(log_temperature), axis=1)
        return -float((target_NC * log_p_NC).sum(axis=1).mean())

    best = minimize_scalar(cross_entropy, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-6})
    return round(float(np.exp(best.x)), 4)


def reliability(confidence_N: np.ndarray, correct_N: np.ndarray, bins: int) -> list[tuple[int, float, float]]:
    """Rows, mean confidence and accuracy of every occupied bin of equal width, from low to high confidence."""
    bin_N = np.minimum((confidence_N * bins).astype(int), bins - 1)
    return [
        (int((bin_N == b).sum()), float(confidence_N[bin_N == b].mean()), float(correct_N[bin_N == b].mean())) for b in np.unique(bin_N)
    ]


def expected_calibration_error(confidence_N: np.ndarray, correct_N: np.ndarray, bins: int) -> float:
    """Mean gap between confidence and accuracy over the bins, weighted by rows (equation 3 of Guo et al.)."""
    return sum(rows * abs(confidence - accuracy) for rows, confidence, accuracy in reliability(confidence_N, correct_N, bins)) / len(
        correct_N
    )
