"""Pictures of two runs side by side, as PNG. Same data, same bytes."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.charts import BLUE, GREY, ORANGE, plot_reliability, save
from pipeline.markdown import printable
from pipeline.reporting.findings import Findings, f1_changes

MOST_BARS = 30


def draw(findings: Findings, folder: Path) -> list[str]:
    """Draws what both or one of the runs left data for.

    Returns:
        The names of the files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    makers = {"f1_change.png": _f1_change, "reliability.png": _reliability, "curves.png": _curves}
    drawn = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name in a script that the font lacks is drawn as boxes
        for name, make in makers.items():
            (folder / name).unlink(missing_ok=True)  # of an earlier report
            if (figure := make(findings)) is not None:
                save(figure, folder / name)
                drawn.append(name)
    return drawn


def _f1_change(findings: Findings) -> Figure | None:
    """F1 before and after, and the change, of the intents that changed most."""
    if findings.match is None:
        return None
    pairs = findings.match.pairs
    old_C, new_C = f1_changes(pairs)
    change_C = new_C - old_C
    most = [i for i in np.argsort(-np.abs(change_C), kind="stable")[:MOST_BARS] if change_C[i]]
    if not most:
        return None
    chosen = sorted(most, key=lambda i: change_C[i])
    rows = np.arange(len(chosen))
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 1.4 + 0.24 * len(chosen)), sharey=True, width_ratios=(3, 2))
    left.hlines(rows, old_C[chosen], new_C[chosen], color=GREY, linewidth=2)
    left.scatter(old_C[chosen], rows, color=GREY, label="before", zorder=3)
    left.scatter(new_C[chosen], rows, color=BLUE, label="after", zorder=3)
    left.set(xlim=(-0.02, 1.02), title=f"F1 on test: the {len(chosen)} intents of {len(pairs.intents)} that changed most")
    left.set_yticks(rows, labels=[printable(pairs.intents[i], 40) for i in chosen], fontsize=8, parse_math=False)
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35 / figure.get_figheight() - 0.02), ncols=2, frameon=False)
    right.barh(rows, change_C[chosen], color=[BLUE if change_C[i] > 0 else ORANGE for i in chosen], height=0.7)
    right.axvline(0, color="black", linewidth=0.8)
    right.set(title="change")
    right.tick_params(axis="y", length=0)
    left.margins(y=0.5 / len(chosen))
    figure.tight_layout()
    return figure


def _reliability(findings: Findings) -> Figure | None:
    """Accuracy against confidence, before on the left and after on the right."""
    sides = {"before": findings.before.reliability, "after": findings.after.reliability}
    if not any(sides.values()):
        return None
    figure, axes = plt.subplots(1, 2, figsize=(9.2, 4.4), sharey=True)
    for axis, (title, bands) in zip(axes, sides.items(), strict=True):
        plot_reliability(axis, [(band.confidence, band.accuracy, band.queries) for band in bands], BLUE if title == "after" else GREY)
        axis.set(title=title if bands else f"{title}: no data")
    axes[0].set(ylabel="accuracy on test")
    figure.tight_layout()
    return figure


def _curves(findings: Findings) -> Figure | None:
    """Each training curve, before and after in one picture."""
    titles = list(findings.after.curves)
    if not any(results.curves.get(title) for results in (findings.before, findings.after) for title in titles):
        return None
    figure, axes = plt.subplots(1, len(titles), figsize=(4.6 * len(titles), 3.4), squeeze=False)
    for axis, title in zip(axes[0], titles, strict=True):
        for name, results, color, dashes in (("before", findings.before, GREY, "--"), ("after", findings.after, BLUE, "-")):
            points = results.curves.get(title, [])
            axis.plot([step for step, _ in points], [value for _, value in points], dashes, marker="o", color=color, label=name)
        axis.set(xlabel="epoch", title=title)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend(frameon=False)
    figure.tight_layout()
    return figure
