"""The reference run: the same stages on BANKING77, in a clone under ``build/``, written to ``metrics/reference/banking77.json``.

Run     python -m pipeline.reference

Takes the data from $BANKING77_DIR if set, else from the hub. Neither the workspace nor its lock is touched. A killed run goes on where
it was. The official test split is scored once a run; the result counts how often it has been scored so far.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from pipeline import artifacts
from pipeline.clone import clone, head, run
from pipeline.errors import exit_with_one_line

FOLDER, RESULT = Path("build/banking77"), Path("metrics/reference/banking77.json")
OVERRIDES = ("data=banking77", "experiment=reference")
PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scikit-learn", "dvc")
WALL = "wall_seconds.json"


def run_stages(folder: Path) -> dict[str, float]:
    """Runs the stages one by one.

    Returns:
        Wall seconds by stage; of a stage that a killed run had already finished, those of that run.
    """
    file = folder / ".dvc" / "tmp" / WALL
    seconds: dict[str, float] = artifacts.read_json(file) if file.exists() else {}
    for stage in yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]:
        started = time.monotonic()
        if any(line.startswith(f"Running stage '{stage}'") for line in list(run(folder, "dvc", "repro", stage))):
            seconds[stage] = round(time.monotonic() - started, 1)
            artifacts.write_json(file, seconds)
    return seconds


def count_scorings(lock_sha256: str, result: Path) -> int:
    """How often the test split has been scored to get here; a lock already scored gives the same figures and counts once."""
    if not result.exists():
        return 1
    before = artifacts.read_json(result)
    return int(before["test_scorings"]) + int(before["lock_sha256"] != lock_sha256)


def summarize(folder: Path, commit: str, seconds: dict[str, float]) -> dict[str, Any]:
    """Gathers the result from the clone; fractions, not percent."""
    lock_sha256 = hashlib.sha256((folder / "dvc.lock").read_bytes()).hexdigest()
    machine = artifacts.read_json(folder / "metrics" / "machine.json")
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    models = {
        model: {"parameters": row["parameters"]}
        | {metric: {"mean": row[metric], "std": 0.0, "per_seed": [row[metric]]} for metric in ("accuracy", "macro_f1")}
        for model, row in artifacts.read_json(folder / "metrics" / "evaluate.json").items()
    }
    return {
        "command": "make banking77",
        "commit": commit,
        "cpu": machine["cpu"],
        "threads": machine["threads"],
        "precision": machine["precision"],
        "versions": {package: version(package) for package in PACKAGES},
        "params": params,
        "lock_sha256": lock_sha256,
        "seeds": [params["train"]["seed"]],
        "models": models,
        "wall_seconds": seconds,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
        "test_scorings": count_scorings(lock_sha256, RESULT),
    }


def main() -> None:
    """Clones, composes, runs, writes the result."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    commit = head()
    clone(commit, FOLDER)
    for _ in run(FOLDER, "python", "-m", "pipeline.compose", *OVERRIDES):
        pass
    seconds = run_stages(FOLDER)
    result = summarize(FOLDER, commit, seconds)
    artifacts.write_json(RESULT, result)
    print(f"{RESULT}: tinybert accuracy {result['models']['tinybert']['accuracy']['mean']:.4f}, {sum(seconds.values()) / 60:.1f} minutes")


if __name__ == "__main__":
    exit_with_one_line(main)
