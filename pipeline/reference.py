"""A run over several seeds, in a clone under `build/`: the reference run on BANKING77, or how far seeds move the sample's figures.

Run     python -m pipeline.reference [--seeds 5]                  writes metrics/reference/banking77.json
        python -m pipeline.reference --data sample [--seeds 5]    writes metrics/reference/sample_seeds.json

BANKING77 comes from $BANKING77_DIR if set, else from the hub. Neither the workspace nor its lock is touched. On BANKING77 the teachers are
fitted once and the student is trained once a seed, on the same soft targets. On the sample a seed is that of the augmented copies, the
teachers and the student, so that its spread is the noise floor of a change to any of them; the split stays, so that all are asked the same
queries. A noise floor takes three seeds or more. The result is written anew after every seed, and a killed run goes on with the seed it was
at. The official test split is scored once a seed; the result counts how often it has been scored so far.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import statistics
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from pipeline import artifacts
from pipeline.artifacts import STUDENT, models_of
from pipeline.clone import clone, committed_head, run
from pipeline.csv_files import read_table
from pipeline.errors import exit_with_one_line
from pipeline.independent import agreement_with_our_labels, without_twins
from pipeline.lock import LOCK, read_stages
from pipeline.metrics import over
from pipeline.packages import NAMED_IN_RESULTS
from pipeline.paired import compare, pair
from pipeline.params import PARAMS_FILE
from pipeline.tables.results import REFERENCE, SEEDS

FIRST_SEED = 42
MOST_SEEDS = 100
RUNS = Path(".dvc/tmp/runs")  # in the clone: one file a seed
BANKING77 = "banking77"
FOLDER_VARIABLE = "BANKING77_DIR"
SIGNIFICANCE = 0.05
RSS_A_MIB = 1 << (20 if sys.platform == "darwin" else 10)  # bytes there, KiB elsewhere


@dataclass(frozen=True)
class Plan:
    """What is run, and where the result goes.

    Attributes:
        overrides: of the composition of params.yaml, as `dvc exp run -S` takes them.
        varied: the params that are set to each seed.
        result: a file.
        command: what a user types.
    """

    overrides: tuple[str, ...]
    varied: tuple[str, ...]
    result: Path
    command: str

    def of_seed(self, seed: int) -> list[str]:
        """The overrides of the run of one seed."""
        return [*self.overrides, *(f"{key}={seed}" for key in self.varied)]

    def over_seeds(self, model: str, values: list[float]) -> dict[str, Any]:
        """A model's figures over the seeds; one where all seeds have the same model: a teacher, where its seed is not varied."""
        is_shared = model != STUDENT and "teach.seed" not in self.varied
        return over(values[:1] if is_shared else values)


PLANS = {
    BANKING77: Plan(("data=banking77_reference",), ("train.seed",), REFERENCE, "make banking77"),
    "sample": Plan(("data=sample",), ("featurize.seed", "teach.seed", "train.seed"), SEEDS, "make seeds"),
}


def run_stages(folder: Path, commit: str, file: Path) -> dict[str, Any]:
    """Runs the stages one by one.

    Args:
        folder: the clone.
        commit: what is checked out there.
        file: where the cost is kept as stages end, so that that of a killed run of this commit is not lost.

    Returns:
        Wall seconds of each stage that had to run (``wall_seconds``), and the most memory of a process of theirs (``peak_rss_mib``).
    """
    nothing: dict[str, Any] = {"commit": commit, "wall_seconds": {}, "peak_rss_mib": 0}
    kept = artifacts.read_json(file) if file.exists() else nothing
    cost = kept if kept["commit"] == commit else nothing
    for stage in read_stages(folder):
        started = time.monotonic()
        if any(line.startswith(f"Running stage '{stage}'") for line in run(folder, "dvc", "repro", stage)):
            cost["wall_seconds"][stage] = round(time.monotonic() - started, 1)
            cost["peak_rss_mib"] = max(cost["peak_rss_mib"], resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // RSS_A_MIB)
            artifacts.write_json(file, cost)
    return cost


def run_seed(folder: Path, commit: str, data: str, seed: int) -> dict[str, Any]:
    """Runs the stages that a seed changes and scores the student, or reads what an earlier call did at the same commit."""
    file = folder / RUNS / f"{seed}.json"
    if file.exists() and artifacts.read_json(file)["commit"] == commit:
        done: dict[str, Any] = artifacts.read_json(file)
        return done
    run(folder, "python", "-m", "pipeline.compose", *PLANS[data].of_seed(seed))
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".cost")
    cost = run_stages(folder, commit, part)
    predictions = read_table(folder / "metrics" / "predictions.csv")
    result = {
        "commit": commit,
        "seed": seed,
        "lock_sha256": hashlib.sha256((folder / LOCK).read_bytes()).hexdigest(),
        "evaluate": artifacts.read_json(folder / "metrics" / "evaluate.json"),
        "differences": differences(predictions),
        "without_twins": without_twins(folder, predictions),
    } | cost
    if data == BANKING77:
        result["sample"] = agreement_with_our_labels(folder)
    artifacts.write_json(file, result)
    part.unlink(missing_ok=True)
    return result


def differences(predictions: list[dict[str, str]]) -> dict[str, Any]:
    """How far the student is from every other model on the same queries: change, its 95 % interval, and McNemar's p."""
    columns = {column: [row[column] for row in predictions] for column in predictions[0]}
    report = {}
    for model, column in models_of(columns).items():
        if model != STUDENT:
            told = compare(pair(columns["id"], columns["label"], columns[column], columns["predicted"]), SIGNIFICANCE)
            report[model] = {metric: row.record() for metric, row in told.items()}
    return report


def count_scorings(locks: list[str], before: dict[str, Any]) -> dict[str, Any]:
    """How often the test split has been scored to get here; a lock already scored gives the same figures and counts once.

    Args:
        locks: of the runs so far.
        before: the result that was there, empty if there was none.
    """
    known = set(before.get("scored_locks", before.get("lock_sha256_per_seed", [])))
    return {"test_scorings": before.get("test_scorings", 0) + len(set(locks) - known), "scored_locks": sorted(known.union(locks))}


def average_seconds(runs: list[dict[str, Any]], before: dict[str, Any]) -> dict[str, float]:
    """Wall seconds a stage, mean over the runs that had to run it; of one that none had to, as they were measured before.

    Args:
        runs: what ``run_seed`` returned.
        before: the result of an earlier call on the same CPU, empty if there is none.
    """
    stages = dict.fromkeys(stage for cost in (before, *runs) for stage in cost.get("wall_seconds", {}))
    measured = {stage: [run["wall_seconds"][stage] for run in runs if stage in run["wall_seconds"]] for stage in stages}
    return {stage: round(statistics.mean(values or [before["wall_seconds"][stage]]), 1) for stage, values in measured.items()}


def summarize(folder: Path, commit: str, plan: Plan, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Gathers the result of all seeds so far; fractions, not percent."""
    machine = artifacts.read_json(folder / "metrics" / "machine.json")
    locks = [each["lock_sha256"] for each in runs]
    before = artifacts.read_json(plan.result) if plan.result.exists() else {}
    return {
        "command": f"{plan.command} SEEDS={len(runs)}",
        "commit": commit,
        "cpu": machine["cpu"],
        "threads": machine["threads"],
        "precision": machine["precision"],
        "versions": {package: version(package) for package in NAMED_IN_RESULTS},
        "params": yaml.safe_load((folder / PARAMS_FILE).read_text(encoding="utf-8")),
        "lock_sha256": locks[0],
        "lock_sha256_per_seed": locks,
        "seeds": [each["seed"] for each in runs],
        "varied": list(plan.varied),
        "models": {
            model: {"parameters": row["parameters"]}
            | {metric: plan.over_seeds(model, [each["evaluate"][model][metric] for each in runs]) for metric in ("accuracy", "macro_f1")}
            for model, row in runs[0]["evaluate"].items()
        },
        "differences_per_seed": [each["differences"] for each in runs],
        **{part: accuracy_on(part, runs, plan) for part in ("without_twins", "sample") if part in runs[0]},
        "wall_seconds": average_seconds(runs, before if before.get("cpu") == machine["cpu"] else {}),
        "peak_rss_mib": max(each["peak_rss_mib"] for each in runs),
        **count_scorings(locks, before),
    }


def accuracy_on(part: str, runs: list[dict[str, Any]], plan: Plan) -> dict[str, Any]:
    """Accuracy of every model on other queries than the test split's."""
    first = runs[0][part]
    models = {model: plan.over_seeds(model, [each[part]["accuracy"][model] for each in runs]) for model in first["accuracy"]}
    return {"queries": first["queries"], "accuracy": models}


def name_folder_for_clones() -> None:
    """Makes $BANKING77_DIR absolute: the stages run in a clone."""
    if named := os.environ.get(FOLDER_VARIABLE):
        os.environ[FOLDER_VARIABLE] = str(Path(named).resolve())


def main() -> None:
    """Clones, and for every seed composes, runs and writes the result so far."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.reference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help=f"how many seeds, 1 to {MOST_SEEDS} (default: %(default)s)")
    parser.add_argument("--data", choices=list(PLANS), default=BANKING77, help="the benchmark or our own sample (default: %(default)s)")
    args = parser.parse_args()
    if not 1 <= args.seeds <= MOST_SEEDS:
        parser.error(f"--seeds {args.seeds}: must be between 1 and {MOST_SEEDS}")
    name_folder_for_clones()
    plan, folder, commit = PLANS[args.data], Path("build") / args.data, committed_head()
    clone(commit, folder)
    runs: list[dict[str, Any]] = []
    for seed in range(FIRST_SEED, FIRST_SEED + args.seeds):
        runs.append(run_seed(folder, commit, args.data, seed))
        artifacts.write_json(plan.result, summarize(folder, commit, plan, runs))
        print(f"{plan.result}: seed {seed}: {STUDENT} accuracy {runs[-1]['evaluate'][STUDENT]['accuracy']:.4f}", flush=True)


if __name__ == "__main__":
    exit_with_one_line(main)
