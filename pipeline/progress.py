"""The line that `train` prints after each epoch, written and read in one place: whoever started a training can follow it."""

from __future__ import annotations

import re
from typing import NamedTuple

LINE = "student: epoch {epoch} of {epochs}, training loss {loss:.4f}, validation accuracy {accuracy:.4f}"
_PATTERN = re.compile(r"student: epoch (\d+) of (\d+), training loss (\S+), validation accuracy (\d\.\d{4})$")


class Epoch(NamedTuple):
    """How far the student is: counted from 1; accuracy on validation, a fraction."""

    epoch: int
    epochs: int
    loss: float
    accuracy: float


def tell(epoch: Epoch) -> str:
    """The line for an epoch that ended."""
    return LINE.format(**epoch._asdict())


def read(line: str) -> Epoch | None:
    """The epoch that a line tells of, or None: it is another line."""
    found = _PATTERN.match(line.strip())
    return Epoch(int(found[1]), int(found[2]), float(found[3]), float(found[4])) if found else None
