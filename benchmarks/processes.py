"""What a command takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple


class Finished(NamedTuple):
    """A process that has ended."""

    code: int
    seconds: float
    peak_mib: float  # resident memory, of the process or of the largest that it waited for


def run_measured(command: Sequence[str], stdout: int | IO[str]) -> Finished:
    """Runs a command to its end.

    This file, as a small process of its own, starts it: Linux has a new process's peak begin with the memory of the one that starts it, and
    the caller's may be large.
    """
    with tempfile.TemporaryDirectory() as scratch:
        told = Path(scratch) / "told.json"
        subprocess.run([sys.executable, __file__, str(told), *command], stdout=stdout, check=True)
        return Finished(*json.loads(told.read_text(encoding="utf-8")))


def _measure(command: Sequence[str]) -> Finished:
    started = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # it was waited for here: subprocess cannot know
    peak_mib = usage.ru_maxrss / (1 << 10 if sys.platform != "darwin" else 1 << 20)
    return Finished(process.returncode, time.perf_counter() - started, peak_mib)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(_measure(sys.argv[2:])), encoding="utf-8")
