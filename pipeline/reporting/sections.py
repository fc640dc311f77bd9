"""The sections of a report on a change, as Markdown. Every name and text of a revision passes through ``markdown.code``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.artifacts import STUDENT
from pipeline.github import MARKER
from pipeline.lock import differing, outputs
from pipeline.markdown import capped, code, details, table
from pipeline.reporting.budgets import CHECKPOINT, LEAST_SEEDS, TITLES, Spread
from pipeline.reporting.findings import Findings, before_and_after, number, points
from pipeline.reporting.lockfile import stage_changes
from pipeline.reporting.matching import Match
from pipeline.run_files import METRICS, PREDICTIONS, PYPROJECT, REFERENCES, contradictions

SIGNS = {"better": "▲ better", "worse": "▼ worse", "within noise": "≈ within noise", "no verdict": "? no verdict"}
LEADS = {sign: mark[:2] + mark[2:].capitalize() for sign, mark in SIGNS.items()} | {"": "▲▼ Better and worse"}
MODEL_METRICS = {"accuracy": "accuracy, %", "macro_f1": "macro-F1, %", "top3_accuracy": "top-3, %", "nll": "NLL", "ece": "ECE, %"}
MOST_ROWS, MOST_NAMES = 40, 8
TRACKED = ("metrics/", "plots/")  # outputs in git, whose size is nobody's concern


def headline(findings: Findings) -> str:
    """The mark by which a comment is found again, the verdict in one line, and what it rests on."""
    broken = sum(check.broken is True for check in findings.checks)
    end = f"; {broken} budget{'s' * (broken > 1)} broken" if broken else ""
    text = f"{MARKER}\n## {_overall(findings)}{end}\n\n{findings.title}\n\n"
    if findings.match is None:
        why = f"The figures cannot be paired: {findings.why_not}."
        return f"{text}{why} So there is no verdict on accuracy and macro-F1, and **the gate does not judge them**.\n"
    level, verdicts = findings.budgets.significance, findings.verdicts()
    rows = [
        [
            TITLES[metric],
            f"{100 * row.before:.2f}",
            f"{100 * row.after:.2f}",
            points(row.change),
            f"{points(row.low)} to {points(row.high)}",
            "" if row.p is None else _p_value(row.p, level),
            SIGNS[verdicts[metric]],
        ]
        for metric, row in findings.differences.items()
    ]
    interval = f"{100 * (1 - level):g} % interval"
    text += table([f"`{STUDENT}` on test", "before, %", "after, %", "points", interval, "McNemar *p*", "verdict"], rows, "lrrrrr")
    return text + "\n" + _basis(findings, findings.match)


def _overall(findings: Findings) -> str:
    if findings.match is None:
        return "No verdict: the figures cannot be paired"
    pairs, verdicts = findings.match.pairs, findings.verdicts()
    if (pairs.before_N == pairs.after_N).all():
        paired = "paired" if findings.match.only_before or findings.match.only_after else "test"
        return f"No change: every {paired} query gets the same prediction"
    changes = {metric: f"{TITLES[metric]} {points(row.change)}" for metric, row in findings.differences.items()}
    moved = {metric: word for metric, word in verdicts.items() if word != "within noise"} or verdicts
    words = set(moved.values())
    lead = LEADS["" if len(words) == 2 else words.pop()]
    rest = ", ".join(text for metric, text in changes.items() if metric not in moved)
    return f"{lead}: {', '.join(changes[metric] for metric in moved)} points" + (f" ({rest}, within noise)" if rest else "")


def _basis(findings: Findings, match: Match) -> str:
    before, after = match.pairs.right()
    wrong, right = int((before & ~after).sum()), int((after & ~before).sum())
    level = findings.budgets.significance
    lines = [f"Paired on {len(before):,} test queries: {right:,} newly right, {wrong:,} newly wrong."]
    if match.only_before or match.only_after:
        lines.append(f"Not paired, since only one of the test sets holds them: {match.only_before:,} before, {match.only_after:,} after.")
    floors = " and ".join(f"{100 * findings.spread.floor(metric, level):.2f} ({TITLES[metric]})" for metric in TITLES)
    lines.append(
        f"Better or worse means *p* < {level:g} (accuracy) or an interval without 0 (macro-F1), and a change larger than the noise "
        f"floor (in points), which two seeds of one recipe rarely exceed: {floors}. {_spread(findings.spread)}"
    )
    if findings.spread.unvaried:
        names = ", ".join(map(code, findings.spread.unvaried))
        lines.append(f"**That floor does not cover the seed noise of {names}, which ran again**: changes beyond it get no verdict.")
    machines = findings.before.machine, findings.after.machine
    if all(machines) and machines[0] != machines[1]:
        told = [f"{key} {code(machines[0].get(key))} → {code(machines[1].get(key))}" for key in differing(*machines)[:6]]
        lines.append(f"**Made on different classes of machine**, which alone can change the figures: {'; '.join(told)}.")
    return "\n".join(lines) + "\n"


def _spread(spread: Spread) -> str:
    figures = " and ".join(dict.fromkeys(f"{100 * spread.std[metric]:.2f}" for metric in TITLES))
    origin = (
        f"declared in `{PYPROJECT}`, since `{REFERENCES}` has no run of this dataset over {LEAST_SEEDS} seeds or more: "
        f"{code(spread.source)}"
        if spread.seeds < LEAST_SEEDS
        else _measured(spread)
    )
    return f"The floor is derived from a seed-to-seed standard deviation of {figures} points, {origin}."


def _measured(spread: Spread) -> str:
    return f"measured over {spread.seeds} seeds ({', '.join(map(code, spread.varied))}): {code(spread.source)}"


def budgets(findings: Findings) -> str:
    """Every budget, and where the lock does not match the tree."""
    states = {True: "**broken**", False: "holds", None: "not judged"}
    rows = [[f"`{row.name}`", row.allowed, row.found, states[row.broken]] for row in findings.checks]
    body = table(["budget", "allowed", "found", ""], rows)
    body += _bullets("`dvc.lock` does not match the tree; `make repro` fixes it:", findings.mismatches)
    wrong = f"`{METRICS}` does not match `{PREDICTIONS}`; `dvc repro --force evaluate` fixes it:"
    body += _bullets(wrong, contradictions(findings.after))
    moved = ""
    if findings.before.budgets and differing(findings.before.budgets, findings.after.budgets):
        moved = f"**The change moves the budgets** by which it is judged:\n\n{_diff(findings.before.budgets, findings.after.budgets)}\n"
    moved += _moved_floor(*findings.measured)
    if any(row.broken for row in findings.checks):
        return f"### Budgets\n\n{moved}{body}"
    unjudged = ", ".join(f"`{row.name}`" for row in findings.checks if row.broken is None)
    summary = f"None is broken{f'; not judged: {unjudged}' if unjudged else ''}."
    return f"### Budgets\n\n{moved}{summary}\n\n{details('all budgets', body)}"


def _bullets(title: str, lines: list[str]) -> str:
    shown, more = capped([[code(line)] for line in lines], 10)
    return f"\n{title}\n\n" + "".join(f"- {line[0]}\n" for line in shown) + more if lines else ""


def _moved_floor(before: Spread | None, after: Spread | None) -> str:
    if before == after:
        return ""
    told = [
        f"{100 * spread.std['accuracy']:.2f} and {100 * spread.std['macro_f1']:.2f} points, {_measured(spread)}"
        if spread
        else "none measured"
        for spread in (before, after)
    ]
    return (
        f"**The change moves the noise floor** (standard deviation from seed to seed). Before: {told[0]}. After: {told[1]}. "
        f"It is judged by that of {'the base' if before else 'the change itself'}.\n\n"
    )


def models(findings: Findings) -> str:
    """Every metric of every model, before and after."""
    before, after = findings.before.metrics, findings.after.metrics
    rows = []
    for model in {**after, **before}:
        old, new = before.get(model, {}), after.get(model, {})
        cells = [before_and_after(old.get(key), new.get(key), 1 if key == "nll" else 100) for key in MODEL_METRICS]
        rows.append([code(model), *cells, before_and_after(old.get("parameters"), new.get("parameters"), form=",.0f")])
    shown, more = capped(rows, MOST_ROWS)
    text = table(["model", *MODEL_METRICS.values(), "parameters"], shown, "lrrrrrr") + more if rows else "No metrics on either side.\n"
    note = "" if before else "\nThe base has no metrics.\n"
    return f"### Models\n\n{text}{note}"


def params(findings: Findings) -> str:
    """Every param that differs."""
    return "### Params\n\n" + _diff(findings.before.params, findings.after.params)


def packages(findings: Findings) -> str:
    """Every locked version that differs; no section where none does."""
    before, after = findings.before.packages, findings.after.packages
    return "### Packages\n\n" + _diff(before, after) if differing(before, after) else ""


def stages(findings: Findings) -> str:
    """Which stages ran anew, and why, from the two locks."""
    before, after = findings.before.lock, findings.after.lock
    changes = stage_changes(before, after)
    if not changes:
        return "### Stages\n\nNone ran: `dvc.lock` is the same.\n" if after else "### Stages\n\nThere is no `dvc.lock` on either side.\n"
    rows = []
    for row in changes:
        reasons = ["another command"] * row.command
        reasons += [f"{title} {_listed(names)}" for title, names in (("params", row.params), ("reads", row.deps)) if names]
        why = {"new": "new", "gone": "no longer there"}.get(row.kind, "; ".join(reasons) or "forced")
        rows.append([code(row.stage), why, _listed(row.outs) if row.outs else "none"])
    shown, more = capped(rows, MOST_ROWS)
    same = [code(stage) for stage in after if stage in before and before[stage] == after[stage]]
    rest = f"\nNot rerun, or rerun with the same result: {', '.join(same[:MOST_ROWS])}.\n" if same else ""
    none = "" if before else "The base has no `dvc.lock`.\n\n"
    return "### Stages\n\n" + none + table(["stage", "reason", "changed outputs"], shown) + more + rest


def data(findings: Findings) -> str:
    """Rows, balance and conflicts of the data, as ``prepare`` counted them."""
    before, after = findings.before.data, findings.after.data
    rows = [
        f"{split} {_count(after[f'{split}.rows'])} rows, {_count(after.get(f'{split}.fewest_per_intent'))} to "
        f"{_count(after.get(f'{split}.most_per_intent'))} per intent"
        for split in ("train", "validation", "test")
        if f"{split}.rows" in after
    ]
    conflicts = (
        f"; {_count(after['dropped.conflicting'])} dropped since they contradict each other" if "dropped.conflicting" in after else ""
    )
    now = f"Now {'; '.join(rows)}{conflicts}.\n\n" if rows else ""
    return "### Data\n\n" + now + _diff(before, after)


def size(findings: Findings) -> str:
    """Parameters of the student, and bytes of every output that changed in size."""
    old, new = ({path: out.size for path, out in outputs(results.lock).items()} for results in (findings.before, findings.after))
    parameters = [results.metrics.get(STUDENT, {}).get("parameters") for results in (findings.before, findings.after)]
    rows = [[f"parameters of `{STUDENT}`", *(number(value, ",.0f") for value in parameters)]]
    changed = [path for path in differing(old, new) if path != CHECKPOINT and not path.startswith(TRACKED)]
    for path in [CHECKPOINT, *changed]:
        rows.append([f"bytes of {code(path)}", number(old.get(path), ",.0f"), number(new.get(path), ",.0f")])
    shown, more = capped(rows, MOST_ROWS)
    return "### Size\n\n" + table(["", "before", "after"], shown, "lrr") + more


def unreadable(findings: Findings) -> str:
    """Files of either side that are missing or cannot be read."""
    rows = [
        [side, code(path), code(problem)]
        for side, results in (("before", findings.before), ("after", findings.after))
        for path, problem in results.problems.items()
    ]
    return "### Files that are missing or cannot be read\n\n" + table(["", "file", "problem"], rows) if rows else ""


def _diff(before: dict[str, Any], after: dict[str, Any]) -> str:
    rows = [[code(key), code(before.get(key, "absent")), code(after.get(key, "absent"))] for key in differing(before, after)]
    shown, more = capped(rows, MOST_ROWS)
    return table(["key", "before", "after"], shown) + more if rows else "No difference.\n"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else code(value)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(code(name.removeprefix("params.yaml.")) for name in names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES:,} more"


def _p_value(p: float, level: float) -> str:
    if p < 0.001:
        return "< 0.001"
    rounded = (f"{p:.{decimals}f}" for decimals in range(3, 7))
    return next((text for text in rounded if float(text) != level), f"{p:g}")  # on which side of the level it is must be seen
