"""The sections of a report that go down to intents, queries, epochs and bins."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pipeline.markdown import capped, code, details, table
from pipeline.reporting.findings import Findings, before_and_after, f1_changes, points
from pipeline.run_files import Band

MOST_ROWS, MOST_INTENTS, MOST_QUERIES = 40, 10, 50
LONGEST_TEXT = 300  # characters of a query


def intents(findings: Findings) -> str:
    """Intents whose F1 rose and fell most, and the confusions that changed most."""
    if findings.match is None:
        return ""
    pairs = findings.match.pairs
    old_C, new_C = f1_changes(pairs)
    change_C = new_C - old_C
    each = float(np.median(np.unique(pairs.labels_N, return_counts=True)[1]))
    text = f"### Intents\n\nThe median intent has {each:g} test queries: one of them is worth about {100 / each:.0f} points of its F1.\n\n"
    for title, sign in (("Winners", -1), ("Losers", 1)):
        order = [i for i in np.argsort(sign * change_C, kind="stable") if sign * change_C[i] < 0]
        rows = [[code(pairs.intents[i]), f"{100 * old_C[i]:.1f}", f"{100 * new_C[i]:.1f}", points(change_C[i], 1)] for i in order]
        shown, more = capped(rows, MOST_INTENTS)
        text += f"{title}: {len(rows):,} of {len(pairs.intents):,}.\n\n"
        text += table(["intent", "F1 before, %", "after, %", "points"], shown, "lrrr") + more + "\n" if rows else ""
    before, after = (Counter(zip(pairs.labels_N, run_N, strict=True)) for run_N in (pairs.before_N, pairs.after_N))
    moved = [cell for cell in {**before, **after} if cell[0] != cell[1] and before[cell] != after[cell]]
    moved.sort(key=lambda cell: (-abs(after[cell] - before[cell]), cell))
    rows = [[code(pairs.intents[a]), code(pairs.intents[b]), str(before[a, b]), str(after[a, b])] for a, b in moved]
    shown, more = capped(rows, 2 * MOST_INTENTS)
    confusions = table(["intent", "predicted", "before", "after"], shown, "llrr") + more
    return text + (details(f"{len(rows):,} confusions changed", confusions) if rows else "")


def queries(findings: Findings) -> str:
    """Queries newly wrong and newly right: a list, since a table leaves long texts no room."""
    if findings.match is None:
        return ""
    pairs = findings.match.pairs
    before_N, after_N = pairs.right()
    text = "### Queries\n\n"
    for title, meaning, chosen_N, left_N, right_N in (
        ("newly wrong", "intent → predicted now", before_N & ~after_N, pairs.labels_N, pairs.after_N),
        ("newly right", "predicted before → intent", after_N & ~before_N, pairs.before_N, pairs.labels_N),
    ):
        rows = [[_query(findings, pairs.ids[i], pairs.intents[left_N[i]], pairs.intents[right_N[i]])] for i in np.flatnonzero(chosen_N)]
        shown, more = capped(rows, MOST_QUERIES)
        body = "".join(f"- {row[0]}\n" for row in shown) + more
        text += details(f"{len(rows):,} {title} ({meaning})", body) + "\n" if rows else f"None {title}.\n\n"
    return text


def _query(findings: Findings, name: str, left: str, right: str) -> str:
    told = f"{code(name)} {code(left)} → {code(right)}"
    return f"{told}: {code(findings.after.texts[name], LONGEST_TEXT)}" if name in findings.after.texts else told


def training(findings: Findings) -> str:
    """Training curves and reliability, as numbers: all that the pictures show."""
    old, new = ({title: dict(curve) for title, curve in results.curves.items()} for results in (findings.before, findings.after))
    steps = sorted({step for curves in (old, new) for curve in curves.values() for step in curve})
    rows = [[str(step), *(before_and_after(old[title].get(step), new[title].get(step), form=".4f") for title in new)] for step in steps]
    shown, more = capped(rows, MOST_ROWS)
    curves = details("curves by epoch", table(["epoch", *new], shown, "r" * (1 + len(new))) + more) if rows else ""
    sides = {"before": findings.before.reliability, "after": findings.after.reliability}
    if sides["before"] == sides["after"]:
        sides = {"before and after": sides["after"]}
    tables = [f"{title[0].upper()}{title[1:]}:\n\n{_reliability(bands)}" for title, bands in sides.items() if bands]
    bins = details("reliability: accuracy of queries by the student's confidence", "\n".join(tables)) if tables else ""
    body = "\n".join(part for part in (curves, bins) if part)
    return f"### Training and calibration\n\n{body}" if body else ""


def _reliability(bands: list[Band]) -> str:
    rows = [[f"{band.queries:,}", f"{100 * band.confidence:.1f}", f"{100 * band.accuracy:.1f}"] for band in bands]
    shown, more = capped(rows, MOST_ROWS)
    return table(["queries", "confidence, %", "accuracy, %"], shown, "rrr") + more
