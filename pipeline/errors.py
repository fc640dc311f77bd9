"""One clear line for every error a user can cause."""

from __future__ import annotations

import errno
import re
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:  # some who end here run where nothing is installed
    from pydantic import ValidationError

MISSING = "missing"

_DISK = {
    errno.ENOSPC: "the disk is full: free some space and run again",
    errno.EDQUOT: "the disk quota is used up: free some space and run again",
    errno.EACCES: "permission denied: make it writable (or readable) for you and run again",
    errno.EPERM: "permission denied: make it writable (or readable) for you and run again",
    errno.EROFS: "the file system is read-only: run in a writable folder",
}


class UserError(Exception):
    """Something the user can fix; its message names the file, the key or row, the value and the remedy."""


def exit_with_one_line(main: Callable[[], None], code: int = 1) -> None:
    """Runs a command and turns what the user can fix into one line on stderr.

    Anything else is a defect of ours and keeps its traceback.

    Args:
        main: the command.
        code: exit code of an error, a defect's too: another than 1 where 1 is an answer.
    """
    try:
        main()
    except UserError as error:
        _stop(str(error), code)
    except Exception as error:
        number = _errno(error)
        if number in _DISK:
            _stop(f"{getattr(error, 'filename', None) or 'writing'}: {_DISK[number]}", code)
        if code == 1:
            raise
        traceback.print_exc()
        sys.exit(code)


def misfit(error: ValidationError, *above: str) -> tuple[str, str]:
    """The first thing that pydantic does not take; an unknown key before others, since a typo makes a key missing too.

    Args:
        error: what it raised.
        above: the keys that what it was given lies under.

    Returns:
        The dotted key, and what is wrong with it: ``MISSING``, that it is unknown, or the value and what it should be.
    """
    first = next((each for each in error.errors() if each["type"] == "extra_forbidden"), error.errors()[0])
    key = ".".join([*above, *map(str, first["loc"])]) or "the file"
    if first["type"] == "missing":
        return key, MISSING
    if first["type"] == "extra_forbidden":
        return key, "unknown key: remove it or correct its spelling"
    message = first["msg"].removeprefix("Value error, ")
    value = f"{first['input']!r}: " if first["loc"] and not isinstance(first["input"], dict) else ""
    return key, f"{value}{message[0].lower()}{message[1:]}"


def _errno(error: Exception) -> int | None:
    """The operating system's number of an error; libraries in C++ and Rust tell it in the text alone."""
    number = getattr(error, "errno", None)
    told = re.search(r"\[Errno (\d+)\]|os error (\d+)", str(error))
    return number if isinstance(number, int) else int(told[1] or told[2]) if told else None


def _stop(message: str, code: int) -> NoReturn:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(code)
