"""What a comparison of two runs found, and how its figures are written."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.metrics import f1_per_class
from pipeline.paired import Difference, Pairs
from pipeline.reporting.budgets import Budgets, Check, Spread, verdict
from pipeline.reporting.matching import Match
from pipeline.run_files import Results


class Findings(NamedTuple):
    """All that a report tells."""

    title: str  # what is compared with what, as Markdown
    before: Results
    after: Results
    match: Match | None
    why_not: str  # Markdown: why figures cannot be paired, where match is None
    differences: dict[str, Difference]
    measured: tuple[Spread | None, Spread | None]  # from seed to seed, by the base and by the working tree
    spread: Spread  # by which is judged
    budgets: Budgets
    checks: list[Check]
    mismatches: list[str]  # of dvc.lock

    def verdicts(self) -> dict[str, str]:
        """Verdict by metric; empty where figures cannot be paired."""
        level = self.budgets.significance
        return {metric: verdict(metric, row, self.spread, level) for metric, row in self.differences.items()}


def f1_changes(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """F1 by intent before and after, shape (intents,); 0 where an intent neither occurs nor is predicted."""
    old_C, new_C = (np.nan_to_num(f1_per_class(pairs.labels_N, run_N, len(pairs.intents))) for run_N in (pairs.before_N, pairs.after_N))
    return old_C, new_C


def points(change: float, decimals: int = 2) -> str:
    """A difference of fractions in points, signed; without a sign where it rounds to nothing."""
    text = f"{100 * change:+.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}") if text.strip("+-0.") else text[1:]


def number(value: float | None, form: str) -> str:
    """A figure, or that there is none."""
    return "absent" if value is None else f"{value:{form}}"


def before_and_after(old: float | None, new: float | None, factor: float = 1, form: str = ".2f") -> str:
    """Two figures, scaled; one where they are written alike."""
    before, after = (number(None if value is None else factor * value, form) for value in (old, new))
    return after if before == after else f"{before} → {after}"
