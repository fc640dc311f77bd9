"""What a command takes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import IO, NamedTuple


class Finished(NamedTuple):
    """A process that has ended."""

    code: int
    seconds: float
    peak_mib: float  # resident memory, of the process, of the largest that it waited for, or of the caller as it started it


def run_measured(command: Sequence[str], stdout: int | IO[str]) -> Finished:
    """Runs a command to its end."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=stdout)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # it was waited for here: subprocess cannot know
    peak_mib = usage.ru_maxrss / (1 << 10 if sys.platform != "darwin" else 1 << 20)
    return Finished(process.returncode, time.perf_counter() - started, peak_mib)
