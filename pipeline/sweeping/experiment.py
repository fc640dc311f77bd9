"""One DVC experiment in a folder of its own, up to stage `train`, followed while it runs and stopped when it is not wanted any more."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.progress import Epoch, read
from pipeline.revisions import Revision, git

TARGET = "train"  # never further: a trial must not see the test split
METRICS = "metrics/train.json"
PATIENCE_S = 30.0  # for DVC to clean up after itself
_STARTED = re.compile(r"(Running stage|Stage) '(\w+)'")


class ExperimentError(Exception):
    """The experiment came to no result; the message is the last that it said."""


class Turnstile:
    """A lock between processes of one machine, by a file; a process that dies lets go of it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path

    def __enter__(self) -> Turnstile:
        self._file = self._path.open("w", encoding="utf-8")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        self.open()

    def open(self) -> None:
        """Lets the next one in."""
        self._file.close()


def run_experiment(
    name: str, overrides: list[str], log: Path, turnstile: Turnstile, first: bool, on_epoch: Callable[[Epoch], None]
) -> None:
    """Runs ``dvc exp run --temp``; ends it when ``on_epoch`` raises.

    DVC takes "the" stashed experiment from its stash: two that start at once could take each other's, so they start one after the other.

    Args:
        name: of the experiment.
        overrides: as ``dvc exp run -S`` takes them.
        log: where its output goes.
        turnstile: closed until DVC is at its first stage.
        first: closed until stage `train` instead, so that workers who begin together make what all trials share once.
        on_epoch: told every epoch of the student.

    Raises:
        ExperimentError: DVC, or a stage, failed.
    """
    options = [word for override in overrides for word in ("-S", override)]
    command = ["dvc", "--wait-for-lock", "exp", "run", "--temp", "--name", name, *options, TARGET]
    said = ""
    with turnstile, log.open("w", encoding="utf-8") as copy, _started(command) as process:
        assert process.stdout is not None
        for line in process.stdout:
            copy.write(line)
            copy.flush()
            if (stage := _STARTED.match(line)) and (not first or stage[2] == TARGET):
                turnstile.open()
            if epoch := read(line):
                on_epoch(epoch)
            said = line.strip() if line.startswith("error: ") or (line.strip() and not said.startswith("error: ")) else said
    if process.returncode and find(name) is None:
        raise ExperimentError(f"{said or f'exit code {process.returncode}'} ({log})")


@contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own, of which nothing is left when the block ends."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True) as process:
        try:
            yield process
            process.wait()
        finally:
            if process.poll() is None:
                _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    """As Ctrl-C does, so that DVC removes the experiment's folder; by force when that does not help."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def find(name: str) -> Revision | None:
    """The commit of an experiment, or None."""
    listed = git(Path(), "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").decode()
    commits = [line.split()[0] for line in listed.splitlines() if line.endswith(f"/{name}")]
    return Revision(Path(), commits[0]) if commits else None


def read_file(name: str, path: str) -> bytes:
    """A file as an experiment left it.

    Raises:
        ExperimentError: the experiment or its file is missing.
    """
    revision = find(name)
    content = revision.read(path) if revision else None
    if content is None:
        raise ExperimentError(f"experiment {name}: {path} is missing")
    return content
