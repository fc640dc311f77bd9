"""Rebuilds everything in a clean clone, without cache, and says whether `dvc.lock` holds.

Run     python -m pipeline.verify
        python -m pipeline.verify --commit         rebuilds nothing: is the lock that of the files beside it?
        python -m pipeline.verify --rebuilt REV    rebuilds nothing: does REV's lock hold against the working tree, after a run there?

The lock must be that of the commit: of its code, params, data, metrics and plots; and the metrics must be those of the predictions. Then
the outputs must be bit-identical where the class of machine is the one the lock was made on (`metrics/machine.json`). On another class
floating-point sums round otherwise: there those of the stages that sum none must be the same all the same, and every accuracy, macro-F1 and
expected calibration error within a tolerance.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

from pipeline.clone import clone, committed_head, run
from pipeline.errors import UserError, exit_with_one_line
from pipeline.lock import LOCK
from pipeline.reporting.lockfile import in_short, stale
from pipeline.revisions import Revision, commit_of
from pipeline.run_files import METRICS, Results, contradictions, read_results

TOLERANCE = 0.03  # house decision: about three standard errors of a paired difference on the sample's 616 test queries
HELD = ("accuracy", "macro_f1", "ece")
EXACT = {"fetch", "prepare", "featurize"}  # stages that give the same bits on every class of machine


def outputs_by_path(results: Results) -> dict[str, tuple[str, str | None]]:
    """Stage and hash of every output in a lock, by its path.

    Raises:
        UserError: there is no lock, or none that can be read.
    """
    if LOCK in results.problems:
        raise UserError(f"{LOCK}: {results.problems[LOCK]}: run `make repro` and commit it")
    return {out.path: (name, out.md5) for name, stage in results.lock.items() for out in stage.outs}


def check_commit(committed: Path) -> None:
    """Refuses a lock that is not that of the files beside it, and metrics that are not: a proof of them would say nothing.

    Raises:
        UserError: the first mismatch.
    """
    if found := stale(committed):
        raise UserError(f"dvc.lock: does not match the files in the tree: {in_short(found)}: run `make repro` and commit what it wrote")
    held_metrics(read_results(Revision(committed)))


def held_metrics(results: Results) -> dict[str, dict[str, float]]:
    """The metrics of a run by model, held to its predictions.

    Raises:
        UserError: one of them, counted anew, is another.
    """
    if found := contradictions(results):
        raise UserError(
            f"{METRICS}: does not match the predictions: {in_short(found)}: run `dvc repro --force evaluate` and commit what it wrote"
        )
    return results.metrics


def beyond_tolerance(expected: dict[str, dict[str, float]], actual: dict[str, dict[str, float]]) -> list[str]:
    """The held metrics that differ by more than the tolerance, as ``model metric: expected -> actual``; one that is missing is nan."""
    if expected.keys() != actual.keys():
        return [f"models: {', '.join(expected)} -> {', '.join(actual)}"]
    pairs = {
        f"{model} {metric}": [side[model].get(metric, math.nan) for side in (expected, actual)] for model in expected for metric in HELD
    }
    return [f"{name}: {old} -> {new}" for name, (old, new) in pairs.items() if not round(abs(old - new), 9) <= TOLERANCE]


def judge(committed: Revision, rebuilt: Revision) -> str:
    """Compares what was committed with what a run made of the same files.

    Returns:
        The verdict, in one line.

    Raises:
        UserError: the lock does not hold; the outputs or figures that differ are named.
    """
    claimed, found = read_results(committed), read_results(rebuilt)
    expected, actual = outputs_by_path(claimed), outputs_by_path(found)
    if expected.keys() != actual.keys():
        raise UserError(
            f"dvc.lock: its outputs are not those of dvc.yaml: {sorted(expected.keys() ^ actual.keys())}: run `make repro`, commit dvc.lock"
        )
    differing = [path for path in expected if expected[path] != actual[path]]
    if not differing:
        return f"verified: all {len(expected)} outputs are bit-identical to dvc.lock"
    if exact := [path for path in differing if expected[path][0] in EXACT]:
        raise UserError(f"dvc.lock: does not hold: these outputs are the same on every class of machine, and differ: {', '.join(exact)}")
    if claimed.machine == found.machine:
        raise UserError(f"dvc.lock: does not hold on the class of machine it was made on: these outputs differ: {', '.join(differing)}")
    if apart := beyond_tolerance(held_metrics(claimed), held_metrics(found)):
        raise UserError(f"dvc.lock: on another class of machine, and beyond the tolerance of {TOLERANCE}: {'; '.join(apart)}")
    return (
        f"verified within {TOLERANCE}: another class of machine ({found.machine}) than the lock's ({claimed.machine}); "
        f"these outputs differ: {', '.join(differing)}"
    )


def main() -> None:
    """Clones the last commit twice, rebuilds one of the clones, compares; or one part of that."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.verify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--commit", action="store_true", help="only look whether the lock is that of the working tree")
    part.add_argument("--rebuilt", metavar="REV", help="only compare the run in the working tree with a commit")
    args = parser.parse_args()
    if args.commit:
        check_commit(Path())
        print("dvc.lock: matches the code, params, data and results in the tree")
        return
    if args.rebuilt is not None:
        if not (began_with := commit_of(Path(), args.rebuilt)):
            raise UserError(f"--rebuilt {args.rebuilt}: no such revision here: `git fetch origin {args.rebuilt}`, or name another")
        print(judge(Revision(Path(), began_with), Revision(Path())))
        return
    commit = committed_head()
    with tempfile.TemporaryDirectory(prefix="verify-") as scratch:
        committed, rebuilt = Path(scratch) / "committed", Path(scratch) / "rebuilt"
        for folder in (committed, rebuilt):
            clone(commit, folder)
        check_commit(committed)
        # DVC skips a stage whose inputs are those of the lock and whose outputs git brought: those of evaluate would vouch for themselves.
        (rebuilt / LOCK).unlink()
        run(rebuilt, "dvc", "repro")
        print(f"{judge(Revision(committed), Revision(rebuilt))} (commit {commit[:12]})")


if __name__ == "__main__":
    exit_with_one_line(main)
