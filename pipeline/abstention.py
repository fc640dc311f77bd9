"""When to say "I do not know": a confidence below which a query goes to a person, and sets of labels instead of one.

Both thresholds are chosen on queries that the model was not trained on, and not on those that tell how well they do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

from pipeline.decision import accepts, label_sets
from pipeline.errors import UserError
from pipeline.metrics import DECIMALS, with_intervals


class Thresholds(NamedTuple):
    """The confidence below which a query goes to a person, and the least probability for a label to be in a query's set."""

    confidence: float
    label_threshold: float


def choose_threshold(confidence_N: np.ndarray, correct_N: np.ndarray, target: float) -> float:
    """The lowest confidence from which on the share answered right reaches ``target``.

    This is selective classification (Geifman & El-Yaniv 2017, arXiv 1705.08500) without their bound: what it gives is measured on test
    instead. The threshold lies half-way between the last query accepted and the next, so that rounding moves neither; it is 1 where no
    number of queries reaches the target.
    """
    order = np.argsort(-confidence_N, kind="stable")
    confidence_N, correct_N = confidence_N[order], correct_N[order]
    reaches_N = np.cumsum(correct_N) / np.arange(1, len(correct_N) + 1) >= target
    reaches_N[:-1] &= confidence_N[1:] < confidence_N[:-1]  # equal confidences are accepted together
    if not reaches_N.any():
        return 1.0
    last = int(np.flatnonzero(reaches_N)[-1])
    return float(confidence_N[last] + confidence_N[last + 1]) / 2 if last + 1 < len(confidence_N) else 0.0


def choose_conformal_threshold(p_NC: np.ndarray, labels_N: np.ndarray, coverage: float) -> float:
    """The probability that puts a label into a query's set, so that at least ``coverage`` of the sets have the true label.

    Split conformal prediction with least ambiguous sets (Sadinle, Lei & Wasserman 2019, arXiv 1609.00451): the smallest sets of all that
    keep the promise. The rank is that of the finite sample: the ``floor((n + 1) (1 - coverage))``-th lowest probability of a true label.
    It is a promise where these rows serve nothing else. Ours also chose the temperature, and the knobs were tuned on them, so it is an aim.
    """
    rank = math.floor((len(labels_N) + 1) * (1 - coverage) + 1e-9)
    return float(np.sort(p_NC[np.arange(len(labels_N)), labels_N])[rank - 1]) if rank else 0.0


def among_accepted(p_NC: np.ndarray, labels_N: np.ndarray, threshold: float) -> dict[str, float]:
    """``accepted``: the share of queries with a confidence from the threshold on; ``accepted_accuracy``: of their answers (1 of none)."""
    accepted_N = accepts(p_NC, threshold)
    correct_N = p_NC.argmax(axis=1) == labels_N
    return {"accepted": float(accepted_N.mean()), "accepted_accuracy": float(correct_N[accepted_N].mean()) if accepted_N.any() else 1.0}


def choose_thresholds(
    p_NC: np.ndarray, labels_N: np.ndarray, target: float, coverage: float, given: tuple[float | None, float | None], in_train: bool
) -> Thresholds:
    """The params' thresholds where they are given, else those that validation's probabilities of shape (N, C) ask for.

    Raises:
        UserError: one is not given, and the validation rows were trained on.
    """
    confidence, label_threshold = given
    for key, value in (("threshold", confidence), ("label_threshold", label_threshold)):
        if value is None and in_train:
            raise UserError(
                f"params.yaml: evaluate.{key}: null: after prepare.refit validation is part of train, so nothing can be chosen there: "
                "give the threshold that a run without refit wrote to metrics/abstention.json"
            )
    if confidence is None:
        confidence = choose_threshold(p_NC.max(axis=1), p_NC.argmax(axis=1) == labels_N, target)
    if label_threshold is None:
        label_threshold = choose_conformal_threshold(p_NC, labels_N, coverage)
    rounded_down = math.floor(label_threshold * 10**DECIMALS) / 10**DECIMALS  # up would cost the set its label
    return Thresholds(round(confidence, DECIMALS), rounded_down)


def measure(p_NC: np.ndarray, labels_N: np.ndarray, thresholds: Thresholds) -> dict[str, float]:
    """What the thresholds do: those of ``among_accepted``; ``coverage`` and ``mean_labels`` of the label sets."""
    in_set_NC = label_sets(p_NC, thresholds.label_threshold)
    return among_accepted(p_NC, labels_N, thresholds.confidence) | {
        "coverage": float(in_set_NC[np.arange(len(labels_N)), labels_N].mean()),
        "mean_labels": float(in_set_NC.sum(axis=1).mean()),
    }


def measure_with_intervals(p_NC: np.ndarray, labels_N: np.ndarray, thresholds: Thresholds, samples: int, seed: int) -> dict[str, float]:
    """``measure`` with intervals; that of the accuracy among the accepted takes for granted how many are accepted."""
    rows = len(labels_N)
    shares = {"accepted": rows, "accepted_accuracy": int(accepts(p_NC, thresholds.confidence).sum()), "coverage": rows}
    return with_intervals(lambda drawn: measure(p_NC[drawn], labels_N[drawn], thresholds), shares, rows, samples, seed)


def measure_out_of_scope(p_NC: np.ndarray, p_OC: np.ndarray, kinds: Sequence[str], threshold: float) -> dict[str, Any]:
    """How well the confidence tells N queries of the intents from O texts of none (Hendrycks & Gimpel 2017, arXiv 1610.02136).

    Returns:
        ``texts``: O; ``auroc``: how often a query is more confident than a text of none (ties count half); ``let_through``: the share of
        the latter that the threshold accepts; ``by_kind``: texts and share accepted of every kind.
    """
    inside_N, outside_O = p_NC.max(axis=1), p_OC.max(axis=1)
    is_query = np.repeat([True, False], [len(inside_N), len(outside_O)])
    let_through_O = accepts(p_OC, threshold)
    kind_O = np.array(kinds)
    return {
        "texts": len(outside_O),
        "auroc": round(float(roc_auc_score(is_query, np.concatenate([inside_N, outside_O]))), DECIMALS),
        "let_through": round(float(let_through_O.mean()), DECIMALS),
        "by_kind": {
            kind: {"texts": int((kind_O == kind).sum()), "let_through": round(float(let_through_O[kind_O == kind].mean()), DECIMALS)}
            for kind in sorted(set(kinds))
        },
    }


def risk_coverage(p_NC: np.ndarray, labels_N: np.ndarray, p_OC: np.ndarray, points: int = 200) -> list[tuple[float, float, float, float]]:
    """What every threshold would do: threshold, share of the queries accepted, accuracy among them, share of out-of-scope texts accepted.

    At most ``points`` rows, evenly spaced over the queries, from the strictest threshold that accepts one to the one that accepts all.
    """
    confidence_N = np.unique(p_NC.max(axis=1))[::-1]
    chosen = confidence_N[np.unique(np.linspace(0, len(confidence_N) - 1, points).round().astype(int))]
    rows = []
    for threshold in chosen:
        share = among_accepted(p_NC, labels_N, threshold)
        rows.append((float(threshold), share["accepted"], share["accepted_accuracy"], float(accepts(p_OC, threshold).mean())))
    return rows
