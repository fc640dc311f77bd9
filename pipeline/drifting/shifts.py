"""Whether new queries differ from those a model was made for: four checks on one scale, the share of queries that moved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import ks_2samp

from pipeline.drifting.profiles import Profile

# Both are justified by simulation (`python -m benchmarks.drift_power`, docs/drift.md).
SIGNIFICANCE = 0.01  # chance of an alarm without a cause, over all checks
LEAST_EFFECT = 0.1  # share of the queries that moved, below which nobody need act
LEAST_SIGNIFICANCE = 1e-4  # that can be asked for: the intents are resampled 40,000 times then
RESAMPLES = 999  # of the test of the intents, at least


class Check(NamedTuple):
    """One comparison.

    Attributes:
        name: a field of `Profile`.
        effect: share of the new queries that moved, by estimate: about so many would have to be others for the two to be alike. Of few
            queries luck is in it, and makes it larger.
        p: probability of such a difference or a larger one, were both drawn from the same queries.
        adjusted_p: corrected for the number of checks.
    """

    name: str
    effect: float
    p: float
    adjusted_p: float

    def drifted(self, significance: float = SIGNIFICANCE, least_effect: float = LEAST_EFFECT) -> bool:
        """A difference that is neither luck nor too small to matter: among many queries any trifle is significant."""
        return self.adjusted_p <= significance and self.effect >= least_effect


def compare(reference: Profile, new: Profile, classes: int, seed: int = 0, significance: float = SIGNIFICANCE) -> list[Check]:
    """Compares feature by feature: the intents by `compare_intents`, the others by the two-sample Kolmogorov-Smirnov test.

    The Kolmogorov-Smirnov statistic is the widest gap between two cumulative distributions, which is no wider than their total variation
    distance: the effect of all checks is a share of queries. The p are corrected together by Holm (1979). The intents are resampled often
    enough for their smallest p to be no larger than ``significance`` when it is corrected.
    """
    found = {}
    for name in ("words", "unknown", "confidence"):
        test = ks_2samp(getattr(new, name), getattr(reference, name), method="asymp")
        found[name] = (float(test.statistic), float(test.pvalue))
    resamples = max(RESAMPLES, math.ceil(len(Profile._fields) / significance))
    found["intents"] = compare_intents(reference.intents, new.intents, classes, seed, resamples)
    adjusted = holm([p for _, p in found.values()])
    return [Check(name, effect, p, corrected) for (name, (effect, p)), corrected in zip(found.items(), adjusted, strict=True)]


def compare_intents(reference_M: np.ndarray, new_N: np.ndarray, classes: int, seed: int, resamples: int = RESAMPLES) -> tuple[float, float]:
    """The total variation distance between two mixes of intents, and its p by permutation.

    With dozens of intents and a few hundred queries the distance is far from zero without any drift, and too many cells are nearly empty
    for the chi-square distribution; so the new queries are redrawn from all queries (which fixes both margins), and what luck gives is
    taken off as noise is, in squares.

    Returns:
        Effect (the distance without luck's part, at least 0) and p.
    """
    counts_C = np.bincount(reference_M, minlength=classes)
    new_C = np.bincount(new_N, minlength=classes)
    pooled_C = counts_C + new_C
    drawn_RC = np.random.default_rng(seed).multivariate_hypergeometric(pooled_C, len(new_N), size=resamples, method="marginals")

    def distance(new_XC: np.ndarray) -> np.ndarray:
        distance_X: np.ndarray = np.abs(new_XC / len(new_N) - (pooled_C - new_XC) / len(reference_M)).sum(axis=-1) / 2
        return distance_X

    observed, luck_R = float(distance(new_C)), distance(drawn_RC)
    p = (1 + int((luck_R >= observed - 1e-12).sum())) / (1 + resamples)
    return float(np.sqrt(max(0.0, observed**2 - float(luck_R.mean()) ** 2))), p


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979): the smallest times their number, the next times one less, never falling."""
    adjusted = np.empty(len(p))
    order = np.argsort(p, kind="stable")
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1)))
    return [float(value) for value in adjusted]
