"""Charts for people, as PNG; each draws a data file that ``dvc plots`` reads too. Same data, same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline import artifacts
from pipeline.csv_files import read_table

BLUE, ORANGE, GREY = "#2b6cb0", "#dd6b20", "#a0aec0"
plt.rcParams.update(
    {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#edf2f7",
        "axes.axisbelow": True,
        "text.parse_math": False,  # an intent may be called $100
    }
)


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG, cut to what is drawn and without what would differ between two runs, and lets go of the figure."""
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def short(label: str, longest: int) -> str:
    """A label that has at most so many characters."""
    return label if len(label) <= longest else label[: longest - 1] + "…"


def draw_curves(folder: Path) -> None:
    """Training loss and validation accuracy by epoch, from ``loss.tsv`` and ``validation_accuracy.tsv``."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4))
    for axis, name, color in zip(axes, ("loss", "validation_accuracy"), (ORANGE, BLUE), strict=True):
        rows = read_table(folder / f"{name}.tsv")
        axis.plot([int(row["step"]) for row in rows], [float(row[name]) for row in rows], marker="o", color=color)
        axis.set(xlabel="epoch", title={"loss": "training loss", "validation_accuracy": "validation accuracy"}[name])
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    save(figure, folder / "curves.png")


def draw_f1(folder: Path) -> None:
    """Bars of F1 by intent, worst on top, from ``f1_by_intent.csv``."""
    rows = read_table(folder / "f1_by_intent.csv")[::-1]
    figure, axis = plt.subplots(figsize=(8, 1.2 + 0.2 * len(rows)))
    axis.barh([row["intent"] for row in rows], [float(row["f1"]) for row in rows], color=BLUE, height=0.7)
    axis.set(xlim=(0, 1), xlabel="F1 on test", title="F1 by intent, worst first")
    axis.tick_params(axis="y", labelsize=8)
    axis.margins(y=0.005)
    save(figure, folder / "f1_by_intent.png")


def draw_confusions(folder: Path) -> None:
    """Bars of the strongest confusions, from ``confusions.csv``."""
    rows = read_table(folder / "confusions.csv")[::-1]
    figure, axis = plt.subplots(figsize=(9, 1.2 + 0.24 * max(len(rows), 1)))
    axis.barh([f"{row['intent']}  >  {row['predicted']}" for row in rows], [int(row["queries"]) for row in rows], color=ORANGE, height=0.7)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="test queries", title="strongest confusions: intent > predicted")
    axis.tick_params(axis="y", labelsize=8)
    axis.margins(y=0.01)
    save(figure, folder / "confusions.png")


def plot_reliability(axis: Axes, bins: Sequence[tuple[float, float, int]], color: str) -> None:
    """Accuracy against confidence; a bin is (confidence, accuracy, queries), and the area of its dot is its share of queries."""
    axis.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfect calibration")
    if total := sum(queries for _, _, queries in bins):
        confidence, accuracy, queries = zip(*bins, strict=True)
        axis.plot(confidence, accuracy, color=color, linewidth=1)
        axis.scatter(confidence, accuracy, s=[20 + 600 * count / total for count in queries], color=color, alpha=0.6, label="student")
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence")


def draw_reliability(folder: Path) -> None:
    """The student's accuracy against its confidence, from ``reliability.csv``."""
    rows = read_table(folder / "reliability.csv")
    figure, axis = plt.subplots(figsize=(4.6, 4.4))
    plot_reliability(axis, [(float(row["confidence"]), float(row["accuracy"]), int(row["queries"])) for row in rows], BLUE)
    axis.set(ylabel="accuracy", title="reliability on test")
    axis.legend(loc="upper left", frameon=False, markerscale=0.4)
    save(figure, folder / "reliability.png")


def draw_size(folder: Path) -> None:
    """Accuracy with its 95 % interval against number of parameters, from ``accuracy_by_size.csv``."""
    rows = read_table(folder / "accuracy_by_size.csv")
    figure, axis = plt.subplots(figsize=(6.6, 4))
    for row in rows:
        millions = int(row["parameters"]) / 1e6
        value, low, high = (float(row[key]) for key in ("accuracy", "accuracy_low", "accuracy_high"))
        color = ORANGE if row["model"] == artifacts.STUDENT else BLUE
        axis.errorbar(millions, value, yerr=[[value - low], [high - value]], fmt="o", color=color, capsize=3)
        axis.annotate(row["model"], (millions, value), xytext=(7, 4), textcoords="offset points", fontsize=9)
    axis.set(xlabel="parameters, millions", ylabel="accuracy on test", title="accuracy against size (bars: 95 % interval)")
    axis.set_xlim(left=0, right=1.3 * max(int(row["parameters"]) for row in rows) / 1e6)
    save(figure, folder / "accuracy_by_size.png")


def draw_risk_coverage(folder: Path, chosen: float, target: float) -> None:
    """Accuracy among the accepted against the share accepted, from ``risk_coverage.csv``; and what of other texts comes through.

    Args:
        folder: where the data is.
        chosen: the threshold in use; a vertical line.
        target: the accuracy it was chosen for; a horizontal one.
    """
    rows = read_table(folder / "risk_coverage.csv")
    threshold, accepted, accuracy, let_through = (
        [float(row[key]) for row in rows] for key in ("threshold", "accepted", "accuracy", "out_of_scope")
    )
    figure, axis = plt.subplots(figsize=(6.6, 4.2))
    axis.plot(accepted, accuracy, color=BLUE, label="accuracy among the accepted")
    axis.plot(accepted, let_through, color=ORANGE, label="out-of-scope texts accepted")
    axis.axhline(target, color=GREY, linestyle="--", linewidth=1)
    axis.annotate(f"target {target:g}", (0, target), xytext=(4, -11), textcoords="offset points", fontsize=8, color=GREY)
    share = max((share for share, value in zip(accepted, threshold, strict=True) if value >= chosen), default=0.0)
    axis.axvline(share, color=GREY, linestyle="--", linewidth=1)
    side = "left" if share < 0.7 else "right"  # of the line; that high there is no curve but at the right edge
    offset = (4 if side == "left" else -4, 0)
    axis.annotate(f"confidence {chosen:.2f}", (share, 0.7), xytext=offset, textcoords="offset points", ha=side, fontsize=8, color=GREY)
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="share of test queries accepted", title="what a confidence threshold buys, on test")
    axis.legend(loc="center left", framealpha=1, edgecolor="none")
    save(figure, folder / "risk_coverage.png")
