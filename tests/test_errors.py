from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import UserError, exit_with_one_line


def fail(error: Exception) -> None:
    raise error


def test_a_user_error_is_one_line_on_stderr_and_exit_code_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        exit_with_one_line(lambda: fail(UserError("a.csv:3: the intent\nis empty")))
    assert stop.value.code == 1
    assert capsys.readouterr().err == "error: a.csv:3: the intent is empty\n"


def test_a_defect_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_with_one_line(lambda: fail(ZeroDivisionError()))


def test_where_one_is_an_answer_errors_and_defects_have_another_code(capsys: pytest.CaptureFixture[str]) -> None:
    for error, told in ((UserError("a.csv: empty"), "error: a.csv: empty\n"), (ZeroDivisionError(), "Traceback")):
        with pytest.raises(SystemExit) as stop:
            exit_with_one_line(lambda error=error: fail(error), code=2)  # type: ignore[misc]
        assert stop.value.code == 2
        assert capsys.readouterr().err.startswith(told)


def test_a_full_disk_is_one_line() -> None:
    code = (
        "from pathlib import Path\nfrom pipeline.errors import exit_with_one_line\n"
        "def main():\n    Path('/dev/full').write_text('x')\nexit_with_one_line(main)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path.cwd())
    assert done.returncode == 1
    assert done.stderr == "error: writing: the disk is full: free some space and run again\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "data/prepared"), "error: data/prepared: permission denied: make it writable"),
        (OSError("[Errno 28] Error writing bytes to file"), "error: writing: the disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "error: writing: the disk is full"),
        (OSError(30, "Read-only file system", "models"), "error: models: the file system is read-only"),
    ],
)
def test_trouble_with_the_disk_is_one_line_whoever_reports_it(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        exit_with_one_line(lambda: fail(error))
    assert capsys.readouterr().err.startswith(line)
