"""The decision rule: from logits to calibrated probabilities, to whether a person is asked, and to sets of labels.

The service answers by all of it, `export` measures by the first, `evaluate` by the others; in the float type of what it is given.
"""

from __future__ import annotations

import numpy as np


def probabilities(logits_NC: np.ndarray, temperature: float) -> np.ndarray:
    """Calibrated probabilities, shape (N, C)."""
    scaled_NC = logits_NC / temperature
    exp_NC = np.exp(scaled_NC - scaled_NC.max(axis=1, keepdims=True))
    p_NC: np.ndarray = exp_NC / exp_NC.sum(axis=1, keepdims=True)
    return p_NC


def accepts(p_NC: np.ndarray, threshold: float) -> np.ndarray:
    """Whether the confidence in each query reaches the threshold, booleans of shape (N,); if not, a person should look.

    A threshold of 1 accepts none, though float32 rounds confidences to it.
    """
    accepted_N: np.ndarray = (p_NC.max(axis=1) >= threshold) & (threshold < 1)
    return accepted_N


def label_sets(p_NC: np.ndarray, label_threshold: float) -> np.ndarray:
    """Which labels are in each query's set, booleans of shape (N, C); the likeliest always is: an empty set helps nobody."""
    in_set_NC = p_NC >= label_threshold
    in_set_NC[np.arange(len(p_NC)), p_NC.argmax(axis=1)] = True
    return in_set_NC
