"""What `make repro` looks at before it runs anything."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from clones import sh

COMMAND = (sys.executable, "-m", "pipeline.installed")


def test_the_versions_of_this_environment_are_those_that_are_pinned() -> None:
    assert sh(Path(), *COMMAND) == ""


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (r'"torch==[^"]+"', '"torch==1.0.0"', r"error: pyproject.toml: pins torch==1.0.0, installed is 2\S+: "),
        (r'"onnx==[^"]+"', '"no-such-package==1.0"', r"error: pyproject.toml: pins no-such-package==1.0, installed is no version: "),
    ],
)
def test_results_are_not_made_with_other_versions_than_the_lock_will_say(before: str, after: str, told: str, tmp_path: Path) -> None:
    text = Path("pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(re.sub(before, after, text), encoding="utf-8")
    assert re.match(told, sh(tmp_path, *COMMAND, code=1, variables={"PYTHONPATH": str(Path.cwd())}))


def test_the_look_needs_none_of_the_packages_it_looks_for() -> None:
    told = sh(Path(), sys.executable, "-S", "-m", "pipeline.installed", code=1)  # without the packages of the environment
    assert re.match(r"error: pyproject.toml: pins \S+==\S+, installed is no version: ", told)


def test_outside_a_checkout_it_is_one_line(tmp_path: Path) -> None:
    told = sh(tmp_path, *COMMAND, code=1, variables={"PYTHONPATH": str(Path.cwd())})
    assert told == "error: pyproject.toml: no such file: run in the root of the repository\n"


def test_an_option_that_there_is_not_is_refused() -> None:
    assert "unrecognized arguments: --nonsense" in sh(Path(), *COMMAND, "--nonsense", code=2)
    assert sh(Path(), *COMMAND, "--help").startswith("usage: python -m pipeline.installed")
