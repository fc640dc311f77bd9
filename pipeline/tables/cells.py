"""Figures as the cells of tables."""

from __future__ import annotations

from typing import Any


def interval(row: dict[str, float], metric: str) -> str:
    """A fraction with its 95 % interval, in percent."""
    return f"{100 * row[metric]:.1f} [{100 * row[f'{metric}_low']:.1f}, {100 * row[f'{metric}_high']:.1f}]"


def mean(over_seeds: dict[str, Any]) -> str:
    """Mean of fractions, in percent, with the standard deviation where there is more than one."""
    spread = f" ± {100 * over_seeds['std']:.2f}" if len(over_seeds["per_seed"]) > 1 else ""
    return f"{100 * over_seeds['mean']:.2f}{spread}"
