"""How the benchmarks tell a figure that was measured several times."""

from __future__ import annotations

import numpy as np


def spread(values_R: np.ndarray, digits: int = 0) -> str:
    """Median, lowest and highest over the repetitions."""
    return f"{np.median(values_R):,.{digits}f} [{values_R.min():,.{digits}f}, {values_R.max():,.{digits}f}]"
