"""The audit of BANKING77 as a table of `docs/audit.md`, beside what is published of the same data."""

from __future__ import annotations

from pathlib import Path

from pipeline import artifacts
from pipeline.auditing.page import KINDS
from pipeline.markdown import table

COUNTS = Path("metrics/reference/audit_banking77.json")
PUBLISHED = "more than 1,400 of 10,003 (14 %)"  # Ying and Thomas 2022, in the abstract
PAIRS_SHOWN = 8


def audit() -> str:
    """What an audit of BANKING77 found, in figures, and the pairs of intents with most suspects."""
    if not COUNTS.exists():
        return f"Not run yet: `python -m pipeline.audit --counts {COUNTS}`, after `dvc exp run prepare -S data=banking77`.\n"
    run = artifacts.read_json(COUNTS)
    suspected = run["suspects"]
    rows = [
        ["rows judged (training and validation)", f"{run['rows']['judged']:,}", "10,003"],
        ["suspected label errors", f"{suspected['rows']:,} ({100 * suspected['share']:.1f} %)", PUBLISHED],
        ["rows that the judges answer as labelled", f"{100 * suspected['accuracy']:.1f} %", ""],
        *([kind.title.lower(), f"{run['defects'][name]:,}", ""] for name, kind in KINDS.items() if name != "label_error"),
    ]
    pairs = [[f"`{given}`", f"`{other}`", str(count)] for given, other, count in run["pairs"][:PAIRS_SHOWN]]
    return (
        table(["", "here", "Ying and Thomas 2022"], rows, " rr")
        + "\nMost suspects:\n\n"
        + table(["given intent", "suggested intent", "rows"], pairs, "  r")
        + f"\n`{run['command']}`, {suspected['folds']} folds, seed {run['seed']}.\n"
    )
