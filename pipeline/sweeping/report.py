"""What came of a sweep: a table, and pictures of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from pipeline.charts import BLUE, GREY, ORANGE, save
from pipeline.csv_files import write_table
from pipeline.sweeping.space import Knob, Sweep, override
from pipeline.sweeping.study import NOW

TABLE, HISTORY, PARALLEL, IMPORTANCE = "trials.csv", "history.png", "parallel.png", "importance.png"
COLORS = colormaps["viridis_r"]
ENOUGH = 4  # trials that ran to their end, before it is worth asking which knob matters
SEED = 42  # of the forest that judges importance


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that ran to their end, in order."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def tell(study: optuna.Study, folder: Path) -> str:
    """The best trial, and how to take it over; and whether trials are under way."""
    running = sum(trial.state == TrialState.RUNNING for trial in study.trials)
    note = f"\n{running} are running; if their worker was killed, the same command takes them up in a few minutes" if running else ""
    if not finished(study):
        return f"no trial ran to its end so far{note}"
    best = study.best_trial
    options = " ".join(f"-S {override(knob, value)}" for knob, value in best.params.items())
    others = (trial for trial in finished(study) if trial.number != best.number)
    before = next((f" (what there was: {trial.value:.4f})" for trial in others if NOW in trial.user_attrs), "")
    return (
        f"best of {len(study.trials)} trials: {best.value:.4f} on validation{before}: {options}\n"
        f"to take it over: dvc exp apply {best.user_attrs['experiment']}; table and pictures: {folder}{note}"
    )


def write_report(study: optuna.Study, space: Sweep, folder: Path) -> None:
    """Writes the table, and what pictures there are trials enough for."""
    folder.mkdir(parents=True, exist_ok=True)
    knobs = list(space.knobs)
    rows = [
        (
            trial.number,
            trial.state.name.lower(),
            "" if trial.value is None or trial.state != TrialState.COMPLETE else trial.value,
            len(trial.intermediate_values),
            round(trial.duration.total_seconds(), 1) if trial.duration else "",
            *(trial.params.get(knob, "") for knob in knobs),
            trial.user_attrs.get("experiment", ""),
            trial.user_attrs.get("problem", ""),
        )
        for trial in study.trials
    ]
    write_table(folder / TABLE, ["trial", "state", "validation_accuracy", "epochs", "seconds", *knobs, "experiment", "problem"], rows)
    done = finished(study)
    if done:
        draw_history(study.trials, folder / HISTORY)
        draw_parallel(done, space, folder / PARALLEL)
    if len(done) >= ENOUGH and len({trial.value for trial in done}) > 1:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=SEED)
        draw_importance(optuna.importance.get_param_importances(study, evaluator=evaluator), len(done), folder / IMPORTANCE)


def draw_history(trials: list[FrozenTrial], path: Path) -> None:
    """Validation accuracy of the trials in their order, the best so far, and where trials were given up."""
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    axis = figure.subplots()
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    values = [trial.value or 0.0 for trial in done]
    axis.plot([trial.number for trial in done], values, "o", color=BLUE, label="ran to its end")
    axis.step([trial.number for trial in done], np.maximum.accumulate(values), where="post", color=BLUE, linewidth=1, label="best so far")
    given_up = [trial for trial in trials if trial.state == TrialState.PRUNED and trial.intermediate_values]
    if given_up:
        last = [trial.intermediate_values[max(trial.intermediate_values)] for trial in given_up]
        axis.plot([trial.number for trial in given_up], last, "x", color=ORANGE, label="given up: accuracy at its last epoch")
    axis.set(xlabel="trial", ylabel="validation accuracy", title=f"{len(done)} trials ran to their end, {len(given_up)} were given up")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(frameon=False)
    save(figure, path)


def draw_importance(importances: dict[str, float], trials: int, path: Path) -> None:
    """Bars of the share of the variance that a knob explains (functional ANOVA, Hutter et al. 2014)."""
    names = list(importances)[::-1]
    figure = Figure(figsize=(7.5, 1.4 + 0.35 * len(names)), layout="constrained")
    axis = figure.subplots()
    bars = axis.barh(names, [importances[name] for name in names], color=BLUE, height=0.6)
    axis.bar_label(bars, fmt="%.2f", padding=3, fontsize=9)
    axis.set(xlim=(0, 1.08), xlabel="share of the variance of validation accuracy", title=f"what the knobs explain, from {trials} trials")
    save(figure, path)


def draw_parallel(trials: list[FrozenTrial], space: Sweep, path: Path) -> None:
    """A line a trial across one axis a knob, the best drawn last; the axes are as the sweep draws values, logarithmic or not."""
    figure = Figure(figsize=(2.6 + 1.7 * len(space.knobs), 4.6), layout="constrained")
    axis = figure.subplots()
    values = [trial.value or 0.0 for trial in trials]
    scale = Normalize(min(values), max(values) if max(values) > min(values) else min(values) + 1e-6)
    for trial in sorted(trials, key=lambda trial: trial.value or 0.0):
        heights = [_height(knob, trial.params[name]) for name, knob in space.knobs.items()]
        best = trial.value == max(values)
        axis.plot(heights, color=COLORS(scale(trial.value or 0.0)), linewidth=2.5 if best else 1.2, marker="o", markersize=4)
    for place, knob in enumerate(space.knobs.values()):
        _draw_scale(axis, place, knob)
    axis.set_xticks(range(len(space.knobs)), [name.replace(".", ".\n", 1) for name in space.knobs], fontsize=9)
    axis.set(ylim=(-0.06, 1.06), xlim=(-0.45, len(space.knobs) - 0.55), title="a line a trial; the thickest is the best")
    axis.set_yticks([])
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    figure.colorbar(ScalarMappable(scale, COLORS), ax=axis, label="validation accuracy", pad=0.02)
    save(figure, path)


def _height(knob: Knob, value: Any) -> float:
    """Where on its axis a value lies, in [0, 1]."""
    if knob.choices:
        return knob.choices.index(value) / max(len(knob.choices) - 1, 1)
    assert knob.low is not None and knob.high is not None
    low, high, at = (math.log(x) if knob.log else x for x in (knob.low, knob.high, value))
    return (at - low) / (high - low)


def _draw_scale(axis: Axes, place: int, knob: Knob) -> None:
    axis.axvline(place, color=GREY, linewidth=1, zorder=0)
    for value in knob.choices or _marks(knob):
        text = axis.annotate(_short(value), (place, _height(knob, value)), xytext=(-6, 0), textcoords="offset points", fontsize=8)
        text.set(ha="right", va="center", bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1})


def _marks(knob: Knob) -> list[float]:
    """Five values evenly along the axis; of few integers all."""
    assert knob.low is not None and knob.high is not None
    if isinstance(knob.low, int) and isinstance(knob.high, int) and knob.high - knob.low <= 8:
        return list(range(knob.low, knob.high + 1))
    return list((np.geomspace if knob.log else np.linspace)(knob.low, knob.high, 5))


def _short(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
