"""Small git repositories that hold what runs left: hand-made predictions and metrics under a lock that matches, no training."""

from __future__ import annotations

import csv
import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import yaml
from clones import sh

from pipeline.metrics import DECIMALS, accuracy, macro_f1
from pipeline.paired import pair

INTENTS = ("age_limit", "card_swallowed", "change_pin", "exchange_rate", "terminate_account")
PARAMS: dict[str, Any] = {
    "fetch": {"train": "mine.csv", "test": None},
    "teach": {"seed": 42},
    "train": {"learning_rate": 0.001, "seed": 42},
    "evaluate": {"calibration_bins": 15},
}
STAGES: dict[str, Any] = {
    "fetch": {"cmd": "python fetch.py", "deps": ["fetch.py"], "params": ["fetch"], "outs": ["data/raw/dataset"]},
    "train": {
        "cmd": "python train.py",
        "deps": ["data/raw/dataset", "train.py"],
        "params": ["train", {"pyproject.toml": ["project.dependencies"]}],
        "outs": ["models/tinybert"],
    },
    "evaluate": {
        "cmd": "python evaluate.py",
        "deps": ["models/tinybert"],
        "outs": [{path: {"cache": False}} for path in ("metrics/evaluate.json", "metrics/predictions.csv")],
    },
}
BUDGETS = """[project]
dependencies = ["scipy>=1.15", "torch==2.13.0"]

[tool.budgets]
significance = 0.05
accuracy_drop = 0.03
macro_f1_drop = 0.03
ece = 0.08
parameters = 15_000_000
checkpoint_bytes = 60_000_000
seed_std = 0.005
seed_std_source = "made up for a test"
"""


def labels(count: int, intents: tuple[str, ...] = INTENTS) -> list[str]:
    """The intents by turns."""
    return [intents[i % len(intents)] for i in range(count)]


def predict(truth: list[str], wrong: range | list[int]) -> list[str]:
    """Predictions that are right but for the rows named, which get the intent that follows theirs."""
    intents = sorted(set(truth))
    return [intents[(intents.index(label) + 1) % len(intents)] if i in wrong else label for i, label in enumerate(truth)]


def write_run(
    root: Path,
    truth: list[str],
    predicted: list[str],
    *,
    ids: list[str] | None = None,
    ece: float = 0.02,
    parameters: int = 14_000_000,
    checkpoint: int = 56_000_000,
    dataset: str = "1",
    params: dict[str, Any] | None = None,
    claimed: dict[str, float] | None = None,
) -> None:
    """Leaves in a working tree what a run leaves, under a lock that matches it.

    Args:
        claimed: metrics that are not those of the predictions.
    """
    for folder in ("metrics", ".dvc"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (root / "pyproject.toml").write_text(BUDGETS)
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}, sort_keys=False))
    (root / "params.yaml").write_text(yaml.safe_dump(params or PARAMS, sort_keys=False))
    for script in ("fetch.py", "train.py"):
        (root / script).touch()
    pairs = pair([], truth, predicted, predicted)
    figures = accuracy(pairs.labels_N, pairs.after_N), macro_f1(pairs.labels_N, pairs.after_N, len(pairs.intents))
    measures = {"parameters": parameters, "top3_accuracy": 1.0, "nll": 0.5, "ece": ece}
    measures |= {name: round(value, DECIMALS) for name, value in zip(("accuracy", "macro_f1"), figures, strict=True)}
    measures |= claimed or {}
    (root / "metrics/evaluate.json").write_text(json.dumps({"tinybert": measures}))
    with (root / "metrics/predictions.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "label", "predicted", "confidence"])
        names = ids or [f"train.csv:{i + 2}" for i in range(len(truth))]
        confidence = f"{max(0.0, figures[0] - ece):.6f}"
        writer.writerows((*row, confidence) for row in zip(names, truth, predicted, strict=True))
    write_lock(root, dataset, checkpoint, hashlib.md5("".join(predicted).encode()).hexdigest())


def write_lock(root: Path, dataset: str, checkpoint: int, model: str) -> None:
    """A lock that matches the tree; what is not in git has made-up hashes."""
    absent = {
        "data/raw/dataset": {"md5": dataset * 32 + ".dir", "size": 1, "nfiles": 1},
        "models/tinybert": {"md5": model + ".dir", "size": checkpoint, "nfiles": 1},
    }

    def entry(path: str) -> dict[str, Any]:
        content = (root / path).read_bytes() if path not in absent else b""
        return {"path": path, "hash": "md5"} | absent.get(path, {"md5": hashlib.md5(content).hexdigest(), "size": len(content)})

    params = yaml.safe_load((root / "params.yaml").read_text())
    locked: dict[str, Any] = {}
    for name, stage in STAGES.items():
        locked[name] = {"cmd": stage["cmd"], "deps": [entry(path) for path in stage["deps"]]}
        if "params" in stage:
            locked[name]["params"] = {"params.yaml": {name: params[name]}}
        if name == "train":
            dependencies = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
            locked[name]["params"]["pyproject.toml"] = {"project.dependencies": dependencies}
        locked[name]["outs"] = [entry(path if isinstance(path, str) else next(iter(path))) for path in stage["outs"]]
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": locked}, sort_keys=False))


def commit(root: Path, message: str = "a run") -> None:
    """Commits the working tree, to a branch `main` where there was no repository."""
    if not (root / ".git").exists():
        sh(root, "git", "init", "--quiet", "--initial-branch", "main")
    for setting in (("user.email", "test@example.org"), ("user.name", "test")):  # a clone has not that of its source
        sh(root, "git", "config", *setting)
    sh(root, "git", "add", "--all")
    sh(root, "git", "commit", "--quiet", "-m", message)
