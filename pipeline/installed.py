"""Refuses to run the pipeline with other versions than dvc.lock will say that its results were made with.

Run     python -m pipeline.installed

Needs nothing installed, since what it looks for may not be.
"""

from __future__ import annotations

import argparse
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipeline.errors import UserError, exit_with_one_line

PYPROJECT = Path("pyproject.toml")


def main() -> None:
    """Compares what the stages' code is pinned to with what is installed.

    Raises:
        UserError: there is no `pyproject.toml`, or one that it pins is not installed, or in another version.
    """
    argparse.ArgumentParser(
        prog="python -m pipeline.installed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    if not PYPROJECT.exists():
        raise UserError(f"{PYPROJECT}: no such file: run in the root of the repository")
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    for pin in [*project["dependencies"], *project["optional-dependencies"]["export"]]:
        name, _, asked = pin.partition("==")
        try:
            installed = version(name).partition("+")[0]
        except PackageNotFoundError:
            installed = "no version"
        if asked and installed != asked:
            raise UserError(
                f"{PYPROJECT}: pins {pin}, installed is {installed}: run `make --always-make install` "
                "(after `make lock` if you changed the pin)"
            )


if __name__ == "__main__":
    exit_with_one_line(main)
