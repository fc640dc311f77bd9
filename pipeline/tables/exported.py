"""What the export loses, and when the student asks a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline import artifacts
from pipeline.markdown import table
from pipeline.metrics import wilson
from pipeline.tables.cells import interval

EXPORT, ABSTENTION = Path("metrics/export.json"), Path("metrics/abstention.json")


def export() -> str:
    """What both exported graphs weigh and lose."""
    if not EXPORT.exists():
        return "Not run yet: `make repro`.\n"
    run = artifacts.read_json(EXPORT)
    rows = [
        [
            f"**{name}**, served" if name == run["served"] else name,
            f"{run[name]['bytes'] / 1e6:.1f}",
            *(f"{100 * run[name][key]:.2f}" for key in ("accuracy", "agreement")),
            *(f"{run[name][key]:g}" for key in ("max_logit_difference", "max_batch_effect")),
        ]
        for name in ("fp32", "int8")
    ]
    header = ["graph", "MB", "accuracy, %", "agreement with the checkpoint, %", "largest logit difference", "largest batch effect"]
    return (
        table(header, rows) + f"\nOn the {run['queries']} test queries, where the checkpoint's accuracy is "
        f"{100 * run['checkpoint']['accuracy']:.2f} %.\n"
    )


def abstention() -> str:
    """What the thresholds do to test queries and to out-of-scope texts, shares and means with 95 % intervals."""
    if not ABSTENTION.exists():
        return "Not run yet: `make repro`.\n"
    run = artifacts.read_json(ABSTENTION)
    test, outside = run["test"], run["out_of_scope"]
    labels = f"{test['mean_labels']:.2f} [{test['mean_labels_low']:.2f}, {test['mean_labels_high']:.2f}]"
    rows = [
        ["confidence threshold", f"{run['threshold']:.3f}"],
        ["test queries accepted, %", interval(test, "accepted")],
        [
            f"accuracy among them, % (target {100 * run['target_accuracy']:g})",
            interval(test, "accepted_accuracy") if test["accepted"] else "none accepted",
        ],
        ["least probability for a label to be in the set", f"{run['conformal']['threshold']:.3f}"],
        [f"sets that hold the true intent, % (target {100 * run['conformal']['coverage']:g})", interval(test, "coverage")],
        ["intents per set, mean", labels],
        ["AUROC, test queries against out-of-scope texts", f"{outside['auroc']:.3f}"],
        [f"of {outside['texts']} out-of-scope texts accepted, %", _let_through(outside)],
        *([f"of {row['texts']} `{kind}`", _let_through(row)] for kind, row in outside["by_kind"].items()),
    ]
    return table(["", "on test"], rows)


def _let_through(row: dict[str, Any]) -> str:
    low, high = wilson(row["let_through"], row["texts"])
    return interval(row | {"let_through_low": low, "let_through_high": high}, "let_through")
