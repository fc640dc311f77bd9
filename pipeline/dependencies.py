"""Asks the package index about every direct dependency, and keeps licence and newest release in docs/packages.json.

Run     python -m pipeline.dependencies     then `make docs`

The licence is that of the installed package; of one that is not installed, that of the newest release.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

import httpx2

from pipeline import artifacts
from pipeline.errors import UserError, exit_with_one_line
from pipeline.packages import KNOWN, direct, name_licence
from pipeline.run_files import PYPROJECT

INDEX = "https://pypi.org/pypi"
SECONDS = 20.0


def ask(client: httpx2.Client, index: str, name: str) -> dict[str, Any]:
    """What the index says of a package: its JSON API, https://docs.pypi.org/api/json/.

    Raises:
        UserError: no answer, or none of a package.
    """
    url = f"{index}/{name}/json"
    try:
        answer = client.get(url)
        if answer.is_error:
            raise UserError(f"{url}: returned HTTP {answer.status_code}: is '{name}' the name of a package?")
        told: dict[str, Any] = answer.json()
    except (OSError, ValueError, httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise UserError(f"{url}: {error}: run where the package index can be reached; {KNOWN} is as it was") from None
    return told


def describe(name: str, told: dict[str, Any]) -> dict[str, str]:
    """Licence, version and month of the newest release."""
    info = told["info"]
    try:
        stated: dict[str, Any] = metadata(name).json
        licence = name_licence(stated.get("license_expression"), stated.get("classifier", []), stated.get("license"))
    except PackageNotFoundError:
        licence = name_licence(info.get("license_expression"), info.get("classifiers") or [], info.get("license"))
    uploads = sorted(file["upload_time_iso_8601"] for file in told["urls"])
    return {"licence": licence, "newest": info["version"], "released": uploads[0][:7] if uploads else "without files"}


def main() -> None:
    """Asks about one package after the other, and writes what is known of all of them or of none."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.dependencies", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--index", default=INDEX, help="an index with PyPI's JSON API (default: %(default)s)")
    index = parser.parse_args().index.rstrip("/")
    if not Path(PYPROJECT).exists():
        raise UserError(f"{PYPROJECT}: no such file: run in the root of the repository")
    with httpx2.Client(timeout=SECONDS, follow_redirects=True) as client:
        packages = {name: describe(name, ask(client, index, name)) for name in sorted(direct(), key=str.lower)}
    artifacts.write_json(KNOWN, {"asked": datetime.now(UTC).date().isoformat(), "packages": packages})
    print(f"{KNOWN}: {len(packages)} packages: run `make docs`")


if __name__ == "__main__":
    exit_with_one_line(main)
