"""Two runs' predictions for the same queries, and whether their difference is more than the choice of these queries.

Accuracy: the exact test of McNemar (1947) on the queries that only one of the two got right. Macro-F1: percentile bootstrap of the
difference (Efron 1979), both runs resampled together, since most queries are easy or hard for both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from pipeline.metrics import accuracy, macro_f1

SAMPLES, SEED = 10_000, 0
BLOCK = 500  # resamples at a time: bounds the memory, 500 x 3,080 counts


class Pairs(NamedTuple):
    """N queries, and what each run predicted for them, as indices into ``intents``."""

    ids: list[str]
    intents: list[str]
    labels_N: np.ndarray  # noqa: N815 (a shape suffix)
    before_N: np.ndarray  # noqa: N815
    after_N: np.ndarray  # noqa: N815

    def right(self) -> tuple[np.ndarray, np.ndarray]:
        """Whether each run got each query right, shapes (N,)."""
        return self.before_N == self.labels_N, self.after_N == self.labels_N


class Difference(NamedTuple):
    """A metric of both runs, fractions; the interval is that of ``after - before``."""

    before: float
    after: float
    low: float
    high: float
    p: float | None  # McNemar's; None for macro-F1, which the interval decides

    @property
    def change(self) -> float:
        """After minus before."""
        return self.after - self.before

    def record(self) -> dict[str, float]:
        """The change, its interval and, of accuracy, McNemar's p, as files of results have them."""
        return {"change": self.change, "low": self.low, "high": self.high} | ({} if self.p is None else {"mcnemar_p": self.p})

    def is_significant(self, significance: float) -> bool:
        """Whether these queries tell the two runs apart."""
        return self.p < significance if self.p is not None else not self.low <= 0 <= self.high


def pair(ids: list[str], labels: list[str], before: list[str], after: list[str]) -> Pairs:
    """Names as indices into the sorted list of all that occur."""
    intents = sorted({*labels, *before, *after})
    index = {intent: i for i, intent in enumerate(intents)}
    return Pairs(ids, intents, *(np.array([index[name] for name in names], dtype=np.int64) for names in (labels, before, after)))


def mcnemar(before_right_N: np.ndarray, after_right_N: np.ndarray) -> float:
    """Two-sided exact p-value that a query which only one run got right is as likely to be the one's as the other's."""
    newly_right = int((after_right_N & ~before_right_N).sum())
    newly_wrong = int((before_right_N & ~after_right_N).sum())
    return float(binomtest(newly_right, newly_right + newly_wrong).pvalue) if newly_right + newly_wrong else 1.0


def compare(pairs: Pairs, significance: float) -> dict[str, Difference]:
    """Accuracy and macro-F1 of both runs, with intervals of the difference that cover ``1 - significance``."""
    labels_N, classes = pairs.labels_N, len(pairs.intents)
    drawn = resampled_differences(pairs)
    result = {}
    for metric, before, after in (
        ("accuracy", accuracy(labels_N, pairs.before_N), accuracy(labels_N, pairs.after_N)),
        ("macro_f1", macro_f1(labels_N, pairs.before_N, classes), macro_f1(labels_N, pairs.after_N, classes)),
    ):
        low, high = np.percentile(drawn[metric], [50 * significance, 100 - 50 * significance])
        p = mcnemar(*pairs.right()) if metric == "accuracy" else None
        result[metric] = Difference(before, after, float(low), float(high), p)
    return result


def resampled_differences(pairs: Pairs, samples: int = SAMPLES, seed: int = SEED) -> dict[str, np.ndarray]:
    """After minus before on resampled queries: accuracy and macro-F1, shapes (samples,).

    How often each query was drawn, times what each query adds to each count of the confusion matrices: one product of matrices.
    The counts are whole and small, so float32 holds them exactly, in whatever order they are summed.
    """
    queries, classes = len(pairs.labels_N), len(pairs.intents)
    identity = np.eye(classes, dtype=np.float32)
    columns = [identity[pairs.labels_N]]
    for predicted_N in (pairs.before_N, pairs.after_N):
        columns += [identity[predicted_N], identity[predicted_N] * (predicted_N == pairs.labels_N)[:, None]]
    adds_NK = np.concatenate(columns, axis=1)
    rng = np.random.default_rng(seed)
    blocks = []
    for start in range(0, samples, BLOCK):
        size = min(BLOCK, samples - start)
        cells = rng.integers(queries, size=(size, queries)) + queries * np.arange(size)[:, None]
        drawn_BN = np.bincount(cells.ravel(), minlength=size * queries).reshape(size, queries).astype(np.float32)
        blocks.append((drawn_BN @ adds_NK).astype(np.float64).reshape(size, 5, classes))
    labels_SC, before_SC, before_hits_SC, after_SC, after_hits_SC = np.moveaxis(np.concatenate(blocks), 1, 0)
    with np.errstate(invalid="ignore"):  # a class that was neither drawn nor predicted counts for neither
        f1_before, f1_after = (
            np.nanmean(2 * hits / (labels_SC + predicted), axis=1)
            for predicted, hits in ((before_SC, before_hits_SC), (after_SC, after_hits_SC))
        )
    return {"accuracy": (after_hits_SC.sum(axis=1) - before_hits_SC.sum(axis=1)) / queries, "macro_f1": f1_after - f1_before}
