"""Figures as the cells of tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any


def interval(row: dict[str, float], metric: str) -> str:
    """A fraction with its 95 % interval, in percent."""
    return f"{100 * row[metric]:.1f} [{100 * row[f'{metric}_low']:.1f}, {100 * row[f'{metric}_high']:.1f}]"


def mean(over_seeds: dict[str, Any]) -> str:
    """Mean of fractions, in percent, with the standard deviation where there is more than one."""
    spread = f" ± {100 * over_seeds['std']:.2f}" if len(over_seeds["per_seed"]) > 1 else ""
    return f"{100 * over_seeds['mean']:.2f}{spread}"


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median, lowest and highest over the repetitions."""
    return f"{statistics.median(values):,.{digits}f} [{min(values):,.{digits}f}, {max(values):,.{digits}f}]"
