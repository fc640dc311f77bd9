"""Figures as the cells of tables, and of which model they are."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.lock import LOCK, ONNX, outputs, read_lock


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


def another_model(result: dict[str, Any]) -> str:
    """A sentence, where what a benchmark recorded is not of the exported model that the lock names."""
    if "model" not in result:
        return " The model was not recorded."
    present = outputs(read_lock(Path(LOCK))).get(ONNX.as_posix())
    return "" if present and present.md5 == result["model"] else " Measured with another model than the current one."
