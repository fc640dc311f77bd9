"""One clear line for every error a user can cause."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable
from typing import NoReturn

_DISK = {
    errno.ENOSPC: "the disk is full: free some space and run again",
    errno.EDQUOT: "the disk quota is used up: free some space and run again",
    errno.EACCES: "permission denied: make it writable (or readable) for you and run again",
    errno.EPERM: "permission denied: make it writable (or readable) for you and run again",
    errno.EROFS: "the file system is read-only: run in a writable folder",
}


class UserError(Exception):
    """Something the user can mend; its message names the file, the key or row, the value and the remedy."""


def exit_with_one_line(main: Callable[[], None]) -> None:
    """Runs a command and turns what the user can mend into one line on stderr and exit code 1.

    Anything else is a defect of ours and keeps its traceback.
    """
    try:
        main()
    except UserError as error:
        _stop(str(error))
    except Exception as error:
        number = _errno(error)
        if number not in _DISK:
            raise
        _stop(f"{getattr(error, 'filename', None) or 'writing'}: {_DISK[number]}")


def _errno(error: Exception) -> int | None:
    """The operating system's number of an error; libraries in C++ and Rust tell it in the text alone."""
    number = getattr(error, "errno", None)
    told = re.search(r"\[Errno (\d+)\]|os error (\d+)", str(error))
    return number if isinstance(number, int) else int(told[1] or told[2]) if told else None


def _stop(message: str) -> NoReturn:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(1)
