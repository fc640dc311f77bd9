"""A temporary clone of the working tree, in which tests run what a user runs."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

STAGES = ["fetch", "prepare", "featurize", "teach", "train", "evaluate", "export"]
INTENTS = ("age_limit", "card_swallowed", "change_pin", "exchange_rate", "terminate_account")
ROWS = 20  # of each intent: every stage has something to do, and little of it


class Run(NamedTuple):
    """What a run printed, and how many seconds each stage took."""

    output: str
    seconds: dict[str, float]


def environment(variables: dict[str, str] | None = None) -> dict[str, str]:
    """That of a user who activated this very environment."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"} | (variables or {})


def sh(clone: Path, *command: str, code: int = 0, variables: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False, env=environment(variables))
    output = done.stdout + done.stderr
    assert done.returncode == code, output
    assert "Traceback" not in output, output
    return output


def stages_run(output: str) -> list[str]:
    return re.findall(r"^Running stage '(\w+)'", output, re.MULTILINE)


def clone_working_tree(folder: Path) -> None:
    """The working tree as it is, as one commit."""
    sh(Path(), "git", "clone", "--quiet", ".", str(folder))
    for name in sh(Path(), "git", "ls-files", "--cached", "--others", "--exclude-standard").split():
        (folder / name).unlink(missing_ok=True)
        if Path(name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(Path(name).read_bytes())
    for setting in (("user.email", "test@example.org"), ("user.name", "test")):
        sh(folder, "git", "config", *setting)
    sh(folder, "git", "add", "--all")
    sh(folder, "git", "commit", "--quiet", "--allow-empty", "-m", "the working tree")


def write_small_csv(path: Path) -> None:
    """A user's own file, under other column names: a few queries of a few intents of the sample."""
    with Path("data/sample/queries.csv").open(encoding="utf-8", newline="") as source:
        sample = list(csv.DictReader(source))
    rows = [row for intent in INTENTS for row in [row for row in sample if row["intent"] == intent][:ROWS]]
    with path.open("w", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows([("message", "team"), *((row["text"], row["intent"]) for row in rows)])


def users_csv(clone: Path) -> Path:
    """Where the small file is, from whichever clone."""
    return (clone.parent / "mine.csv").resolve()


def small_overrides(clone: Path, *more: str) -> list[str]:
    """`-S` options of a run on the small file that takes seconds a stage, with more overrides if any."""
    overrides = [
        "data=csv",
        f"fetch.train={users_csv(clone)}",
        "fetch.text_column=message",
        "fetch.label_column=team",
        "experiment=smoke",
        *more,
    ]
    return [word for override in overrides for word in ("-S", override)]


def small_run(clone: Path, *more: str, stage: str | None = None, code: int = 0, variables: dict[str, str] | None = None) -> str:
    """Runs the pipeline (up to a stage, if one is given) on the small file, with more overrides if any."""
    stages = [stage] if stage else []
    return sh(clone, "dvc", "exp", "run", *small_overrides(clone, *more), *stages, code=code, variables=variables)


def timed_run(clone: Path) -> Run:
    """Runs the whole pipeline on the small file."""
    command = ["dvc", "exp", "run", *small_overrides(clone)]
    lines, began = [], []
    with subprocess.Popen(command, cwd=clone, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            lines.append(line)
            began += [(stage, time.monotonic()) for stage in stages_run(line)]
    output = "".join(lines)
    assert process.returncode == 0, output
    ends = [*(moment for _, moment in began[1:]), time.monotonic()]
    return Run(output, {stage: end - moment for (stage, moment), end in zip(began, ends, strict=True)})


def restore(clone: Path) -> None:
    """Goes back to the committed run, checkpoints included."""
    sh(clone, "git", "checkout", "--quiet", ".")
    sh(clone, "dvc", "checkout")


def link_environment(clone: Path) -> None:
    """Plays setup-python and what `make install` would do: this very environment."""
    (clone / ".venv").mkdir()
    for path in Path(sys.prefix).iterdir():
        if path.name != "installed":
            (clone / ".venv" / path.name).symlink_to(path)
    (clone / ".venv/installed").touch()
