"""The sections of a report on a change, as Markdown. Every name and text of a revision passes through ``markdown.code``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.github import MARKER
from pipeline.reporting.budgets import BUDGETS, CHECKPOINT, TITLES, Spread
from pipeline.reporting.findings import Findings, before_and_after, number, points
from pipeline.reporting.lockfile import differing, outputs, stage_changes
from pipeline.reporting.markdown import capped, code, details, table
from pipeline.reporting.matching import Match
from pipeline.reporting.results import STUDENT

SIGNS = {"better": "▲ better", "worse": "▼ worse", "within noise": "≈ within noise"}
MODEL_METRICS = {"accuracy": "accuracy, %", "macro_f1": "macro-F1, %", "top3_accuracy": "top-3, %", "nll": "NLL", "ece": "ECE, %"}
MOST_ROWS, MOST_NAMES = 40, 8
TRACKED = ("metrics/", "plots/")  # outputs in git, whose size is nobody's concern


def headline(findings: Findings) -> str:
    """The mark by which a comment is found again, the verdict in one line, and what it rests on."""
    broken = sum(check.broken is True for check in findings.checks)
    end = f"; {broken} budget{'s' * (broken > 1)} broken" if broken else ""
    text = f"{MARKER}\n## {_overall(findings)}{end}\n\n{findings.title}\n\n"
    if findings.match is None:
        return text + f"The figures cannot be paired: {findings.why_not}. So no verdict on accuracy and macro-F1.\n"
    level, verdicts = findings.budgets.significance, findings.verdicts()
    rows = [
        [
            TITLES[metric],
            f"{100 * row.before:.2f}",
            f"{100 * row.after:.2f}",
            points(row.change),
            f"{points(row.low)} to {points(row.high)}",
            "" if row.p is None else _p_value(row.p),
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
        return "No change: every test query gets the same prediction"
    moved = {metric: word for metric, word in verdicts.items() if word != "within noise"}
    words = set(moved.values())
    lead = (
        "≈ Within noise"
        if not words
        else "▲▼ Better and worse"
        if len(words) == 2
        else {"better": "▲ Better", "worse": "▼ Worse"}[words.pop()]
    )
    return f"{lead}: " + ", ".join(f"{TITLES[metric]} {points(row.change)}" for metric, row in findings.differences.items()) + " points"


def _basis(findings: Findings, match: Match) -> str:
    before, after = match.pairs.right()
    wrong, right = int((before & ~after).sum()), int((after & ~before).sum())
    level = findings.budgets.significance
    lines = [f"Paired on {len(before):,} test queries: {right:,} newly right, {wrong:,} newly wrong."]
    if match.only_before or match.only_after:
        lines.append(f"Not paired, since only one of the test sets holds them: {match.only_before:,} before, {match.only_after:,} after.")
    floors = " and ".join(f"{100 * findings.spread.floor(metric, level):.2f} ({TITLES[metric]})" for metric in TITLES)
    lines.append(
        f"Better or worse means *p* < {level:g} (accuracy) or an interval without 0 (macro-F1), and more points than the noise "
        f"floor: {floors}, by which two seeds of one recipe differ. {_spread(findings.spread)}"
    )
    machines = findings.before.machine, findings.after.machine
    if all(machines) and machines[0] != machines[1]:
        told = [f"{key} {code(machines[0].get(key))} → {code(machines[1].get(key))}" for key in differing(*machines)[:6]]
        lines.append(f"**Made on different classes of machine**, which alone moves figures: {'; '.join(told)}.")
    return "\n".join(lines) + "\n"


def _spread(spread: Spread) -> str:
    figures = " and ".join(dict.fromkeys(f"{100 * spread.std[metric]:.2f}" for metric in TITLES))
    origin = f"declared in `{BUDGETS}`, not measured" if spread.seeds < 2 else f"measured over {spread.seeds} seeds"
    return f"It stands on a seed-to-seed standard deviation of {figures} points, {origin}: {code(spread.source)}."


def budgets(findings: Findings) -> str:
    """Every budget, and where the lock does not match the tree."""
    states = {True: "**broken**", False: "holds", None: "not judged"}
    rows = [
        [f"`{row.name}`", row.allowed, "not paired" if row.broken is None else row.found, states[row.broken]] for row in findings.checks
    ]
    body = table(["budget", "allowed", "found", ""], rows)
    if findings.mismatches:
        shown, more = capped([[code(line)] for line in findings.mismatches], 10)
        body += "\n`dvc.lock` does not match the tree; `make repro` mends it:\n\n" + "".join(f"- {line[0]}\n" for line in shown) + more
    moved = ""
    if findings.before.budgets and differing(findings.before.budgets, findings.after.budgets):
        moved = f"**The change moves the budgets** by which it is judged:\n\n{_diff(findings.before.budgets, findings.after.budgets)}\n"
    if any(row.broken for row in findings.checks):
        return f"### Budgets\n\n{moved}{body}"
    return f"### Budgets\n\n{moved}None is broken.\n\n{details('all budgets', body)}"


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
        rows.append([code(row.stage), why, _listed(row.outs) if row.outs else "the same bytes"])
    shown, more = capped(rows, MOST_ROWS)
    same = [code(stage) for stage in after if stage in before and before[stage] == after[stage]]
    rest = f"\nNot run, or the same again: {', '.join(same[:MOST_ROWS])}.\n" if same else ""
    none = "" if before else "The base has no `dvc.lock`.\n\n"
    return "### Stages\n\n" + none + table(["ran", "because of", "what came out anew"], shown) + more + rest


def data(findings: Findings) -> str:
    """Rows, balance and conflicts of the data, as ``prepare`` counted them."""
    before, after = findings.before.data, findings.after.data
    rows = [
        f"{split} {_count(after[f'{split}.rows'])} rows, {_count(after.get(f'{split}.fewest_per_intent'))} to "
        f"{_count(after.get(f'{split}.most_per_intent'))} an intent"
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


def _p_value(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"
