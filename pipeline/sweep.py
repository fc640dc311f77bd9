"""Searches knobs for the best validation accuracy with Optuna; a trial is a DVC experiment that runs up to stage `train`.

Run     python -m pipeline.sweep [--trials 30] [--space configs/sweep.yaml] [-S section.key=value ...]
        python -m pipeline.sweep --trials 0        draws what there is so far

Start it again to go on; start it several times to run several trials at once, on one machine or, with one database as `--storage`, on many.
Writes a table and pictures to build/sweeps/STUDY. The test split is never looked at. See docs/sweeps.md.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import signal
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.exceptions import StorageInternalError

from pipeline.compose import compose
from pipeline.errors import UserError, exit_with_one_line
from pipeline.lock import flatten
from pipeline.params import PARAMS_FILE, read_params
from pipeline.sweeping.experiment import TARGET, Turnstile
from pipeline.sweeping.report import tell, write_report
from pipeline.sweeping.space import Sweep
from pipeline.sweeping.study import open_study
from pipeline.sweeping.worker import STOPPED, Worker

OUTPUT = Path("build/sweeps")
STORAGE = Path(".dvc/tmp/sweeps")
SWEPT = ("featurize", "teach", TARGET)  # earlier: the rows that trials are judged by; later: does not touch the student


def check_space(file: Path, overrides: list[str]) -> tuple[Sweep, dict[str, Any]]:
    """Reads the space of a sweep and holds every end and choice of its knobs to the typed params.

    Returns:
        The space, and the params that all trials share.

    Raises:
        UserError: no such knob, a value that it cannot take, or validation rows that are trained on.
    """
    space = read_params("sweep", Sweep, file)
    with tempfile.TemporaryDirectory() as scratch:
        composed = Path(scratch) / PARAMS_FILE
        compose(overrides, composed)
        params: dict[str, Any] = yaml.safe_load(composed.read_text(encoding="utf-8"))
        if params["prepare"]["refit"]:
            raise UserError("prepare.refit: true: the student would be judged by rows it was trained on: sweep with prepare.refit=false")
        for name, knob in space.knobs.items():
            _check_name(file, name, params)
            for value in knob.ends():
                if problem := _misfit(name, value, params, composed):
                    raise UserError(f"{file}: sweep.knobs.{problem}")
    return space, params


def _check_name(file: Path, name: str, params: dict[str, Any]) -> None:
    stage = name.split(".", maxsplit=1)[0]
    if stage not in SWEPT:
        raise UserError(f"{file}: sweep.knobs.{name}: only knobs of {', '.join(SWEPT)} can be swept: remove it")
    if name not in flatten(params):
        raise UserError(f"{file}: sweep.knobs.{name}: no such knob: docs/params.md lists them")


def _misfit(name: str, value: object, params: dict[str, Any], scratch: Path) -> str | None:
    """What is wrong with a value by itself; whether it fits others is for the trial to tell."""
    stage, *parents, last = name.split(".")
    section: dict[str, Any] = yaml.safe_load(yaml.safe_dump(params[stage]))
    inner = section
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    scratch.write_text(yaml.safe_dump({stage: section}), encoding="utf-8")
    try:
        read_params(stage, getattr(importlib.import_module(f"pipeline.{stage}"), f"{stage.capitalize()}Params"), scratch)
    except UserError as error:
        told = str(error).removeprefix(f"{scratch}: ")
        return told if told.startswith(f"{name}: ") else None
    return None


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--trials", type=int, default=30, metavar="N", help="total number of trials in the study, earlier runs included (default: 30)"
    )
    parser.add_argument(
        "--space",
        type=Path,
        default=Path("configs/sweep.yaml"),
        metavar="FILE",
        help="YAML file with the search space (default: configs/sweep.yaml)",
    )
    parser.add_argument("--study", default="student", help="name of the study, and of its experiments (default: student)")
    parser.add_argument(
        "-S",
        "--set-param",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a param in every trial, as `dvc exp run -S` does; repeatable",
    )
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="SQLAlchemy URL of a database shared by several machines (default: $SWEEP_STORAGE, else a file in .dvc/tmp/sweeps)",
    )
    parser.add_argument(
        "--heartbeat",
        type=int,
        default=60,
        metavar="S",
        help="seconds between heartbeats; a worker silent for twice as long counts as dead (default: 60)",
    )
    parser.add_argument("--seed", type=int, default=42, help="random seed of the sampler (default: 42)")
    args = parser.parse_args()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", args.study):
        parser.error(f"--study {args.study}: letters, digits, - and _ only")
    if args.trials < 0 or args.heartbeat < 1:
        parser.error("--trials must be 0 or more, --heartbeat 1 or more")
    return args


def search(args: argparse.Namespace) -> None:
    """Opens the study, runs what is missing of it, and draws it."""
    url = args.storage or os.environ.get("SWEEP_STORAGE") or f"sqlite:///{STORAGE / args.study}.db"
    space, params = check_space(args.space, args.set_param)
    with Turnstile(STORAGE / "opening"):
        study = open_study(url, args.study, args.heartbeat, space, params)
    folder, turnstile = OUTPUT / args.study, Turnstile(STORAGE / "turnstile")
    try:
        Worker(study, space, args.set_param, args.seed, folder / "logs", turnstile, 2 * args.heartbeat).work(args.trials)
    finally:
        write_report(study, space, folder)
    print(tell(study, folder))


def leave_to_main(failure: threading.ExceptHookArgs) -> None:
    """Says nothing of a heartbeat that the database did not take: the worker itself will hear that it is gone."""
    if not isinstance(failure.exc_value, StorageInternalError):
        threading.__excepthook__(failure)


def main() -> None:
    """Searches; a stop, and a database that is gone, are a line each."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a script it would be ignored, by DVC too
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # heartbeats: of 2020, and still called that
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    threading.excepthook = leave_to_main
    args = read_arguments()
    try:
        search(args)
    except KeyboardInterrupt:
        raise UserError(STOPPED) from None
    except StorageInternalError as error:
        told = str(error.__cause__ or error).splitlines()[0]
        raise UserError(f"the study's database does not respond: {told}: run the same command again once it does; it resumes") from None


if __name__ == "__main__":
    exit_with_one_line(main)
