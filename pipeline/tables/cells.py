"""Figures as the cells of tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any


def interval(row: dict[str, float], metric: str) -> str:
    """A fraction with its 95 % interval, in percent."""
    return f"{100 * row[metric]:.1f} [{100 * row[f'{metric}_low']:.1f}, {100 * row[f'{metric}_high']:.1f}]"


def mean(figures: dict[str, Any]) -> str:
    """Mean of fractions, in percent, with the standard deviation where there is more than one."""
    deviation = f" ± {100 * figures['std']:.2f}" if len(figures["each"]) > 1 else ""
    return f"{100 * figures['mean']:.2f}{deviation}"


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median, lowest and highest over the repetitions."""
    return f"{statistics.median(values):,.{digits}f} [{min(values):,.{digits}f}, {max(values):,.{digits}f}]"
