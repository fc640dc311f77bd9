"""Quality of log-probabilities against labels, with intervals: Wilson's of shares, the basic bootstrap's of all else."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from pipeline.calibration import expected_calibration_error

DECIMALS = 6
UNBOUNDED = ("nll", "mean_labels")  # every other figure lies between 0 and 1


def over(values: Sequence[float]) -> dict[str, Any]:
    """Mean of several runs' figures, standard deviation (of a sample; 0 for one run) and each."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": round(statistics.mean(values), DECIMALS), "std": round(spread, DECIMALS), "each": [round(v, DECIMALS) for v in values]}


def accuracy(labels_N: np.ndarray, predicted_N: np.ndarray) -> float:
    """Share of rows predicted right."""
    return float((labels_N == predicted_N).mean())


def f1_per_class(labels_N: np.ndarray, predicted_N: np.ndarray, classes: int) -> np.ndarray:
    """F1 of every class, shape (classes,); NaN for a class that neither occurs nor is predicted."""
    confusion_CC = np.bincount(labels_N * classes + predicted_N, minlength=classes * classes).reshape(classes, classes)
    occurrences = confusion_CC.sum(axis=0) + confusion_CC.sum(axis=1)
    with np.errstate(invalid="ignore"):
        f1_C: np.ndarray = 2 * confusion_CC.diagonal() / occurrences
    return f1_C


def macro_f1(labels_N: np.ndarray, predicted_N: np.ndarray, classes: int) -> float:
    """Mean F1 over the classes that occur or are predicted."""
    return float(np.nanmean(f1_per_class(labels_N, predicted_N, classes)))


def score(log_p_NC: np.ndarray, labels_N: np.ndarray, bins: int) -> dict[str, float]:
    """Accuracy, macro-F1, top-3 accuracy, negative log-likelihood (nats) and expected calibration error."""
    classes = log_p_NC.shape[1]
    predicted_N = log_p_NC.argmax(axis=1)
    label_log_p_N = log_p_NC[np.arange(len(labels_N)), labels_N]
    rank_N = (log_p_NC > label_log_p_N[:, None]).sum(axis=1)
    return {
        "accuracy": accuracy(labels_N, predicted_N),
        "macro_f1": macro_f1(labels_N, predicted_N, classes),
        "top3_accuracy": float((rank_N < 3).mean()),
        "nll": -float(label_log_p_N.mean()),
        "ece": expected_calibration_error(np.exp(log_p_NC.max(axis=1)), labels_N == predicted_N, bins),
    }


def score_with_intervals(log_p_NC: np.ndarray, labels_N: np.ndarray, bins: int, samples: int, seed: int) -> dict[str, float]:
    """``score`` with intervals."""
    rows = len(labels_N)
    shares = {"accuracy": rows, "top3_accuracy": rows}
    return with_intervals(lambda drawn: score(log_p_NC[drawn], labels_N[drawn], bins), shares, rows, samples, seed)


def wilson(share: float, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share of rows (Wilson 1927), which keeps a width where it is all of them; of no rows, 0 to 1."""
    if not rows:
        return 0.0, 1.0
    low, high = binomtest(round(share * rows), rows).proportion_ci(method="wilson")
    return float(low), float(high)


def with_intervals(
    figures: Callable[[np.ndarray], dict[str, float]], shares: dict[str, int], rows: int, samples: int, seed: int
) -> dict[str, float]:
    """Figures of all rows, and for each ``<name>_low`` and ``<name>_high``, its 95 % interval.

    A share of rows has Wilson's. Any other has the basic bootstrap's (Davison & Hinkley 1997, section 5.2): resampled figures lie about the
    figure as it lies about its true value, so the interval reaches as far below it as they reach above it. Resampling shifts macro-F1 and
    calibration error the same way as drawing few rows does, and percentiles would count that shift twice.

    Args:
        figures: computes them of the rows with some indices.
        shares: which of them are shares of rows, and of how many.
        rows: how many there are.
        samples: how often they are resampled.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    resampled = [figures(rng.integers(rows, size=rows)) for _ in range(samples)]
    result: dict[str, float] = {}
    for name, value in figures(np.arange(rows)).items():
        if name in shares:
            low, high = wilson(value, shares[name])
        else:
            low, high = 2 * value - np.percentile([sample[name] for sample in resampled], [97.5, 2.5])
            low, high = max(min(low, value), 0.0), max(high, value)
            high = high if name in UNBOUNDED else min(high, 1.0)
        result |= {name: round(value, DECIMALS), f"{name}_low": round(float(low), DECIMALS), f"{name}_high": round(float(high), DECIMALS)}
    return result
