"""The direct dependencies: what `pyproject.toml` asks for, what is locked, and what `docs/packages.json` keeps of each."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pipeline import artifacts
from pipeline.markdown import table
from pipeline.run_files import PYPROJECT, REQUIREMENTS, parse_packages

NAMED_IN_RESULTS = ("torch", "transformers", "tokenizers", "numpy", "scikit-learn", "dvc")  # with their versions
KNOWN = Path("docs/packages.json")  # {"asked": when, "packages": {name: {"licence": .., "newest": .., "released": "YYYY-MM"}}}
HEADER = ("package", "what for, why this one", "licence", "locked", "newest release")
SHORT = {  # how packages that name no SPDX identifier name their licences
    "Apache Software License": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "Python Software Foundation License": "PSF-2.0",
}
OPENINGS = {"Apache License": "Apache-2.0", "MIT License": "MIT"}  # of a licence's whole text, where a package gives that for a name
LONGEST = 60  # characters of a licence's name; what is longer is its text


def direct() -> list[str]:
    """The names in `pyproject.toml`, those of the extras included, in its order and spelling."""
    project = tomllib.loads(Path(PYPROJECT).read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return list(dict.fromkeys(re.split(r"[=<>\[;]", line)[0] for group in groups for line in group))


def versions() -> dict[str, str]:
    """The exact versions that the lock names, or, of what is not in it, `pyproject.toml`."""
    found: dict[str, str] = {}
    for path in (PYPROJECT, REQUIREMENTS):
        found |= parse_packages(Path(path).read_bytes())
    return {normalize(name): version for name, version in found.items()}


def outside_the_lock() -> dict[str, str]:
    """The direct dependencies that `pyproject.toml` pins and no hash holds, with their versions."""
    locked = {normalize(name) for name in parse_packages(Path(REQUIREMENTS).read_bytes())}
    return {name: versions()[normalize(name)] for name in direct() if normalize(name) not in locked and normalize(name) in versions()}


def name_licence(expression: str | None, classifiers: list[str], text: str | None) -> str:
    """The licence in a word: SPDX expression, else trove classifiers, else what the package says, or what that begins with."""
    if expression:
        return expression
    named = [classifier.split(" :: ")[-1] for classifier in classifiers if classifier.startswith("License ::")]
    text = (text or "").strip()
    if not named and text:
        short = len(text) <= LONGEST and "\n" not in text
        named = [text] if short else [name for opening, name in OPENINGS.items() if text.startswith(opening)]
    return " AND ".join(SHORT.get(name, name) for name in named) or "see its metadata"


def _read_rows(rows: str) -> list[list[str]]:
    """Names and reason of each row of the README's table: what is written by hand."""
    return [row.strip("| ").split(" | ")[:2] for row in rows.splitlines() if row.startswith("| `")]


def written_by_hand(rows: str) -> str:
    """The README's table without what `complete` adds: what two branches can be merged by."""
    return "".join(f"| {named} | {what} |\n" for named, what in _read_rows(rows))


def complete(rows: str) -> str:
    """The README's table: its first two columns as they are, written by hand; the others from the lock and `docs/packages.json`."""
    kept: dict[str, Any] = artifacts.read_json(KNOWN) if KNOWN.exists() else {"asked": "never", "packages": {}}
    known, locked = kept["packages"], versions()
    lines = []
    for named, what in _read_rows(rows):
        names = re.findall(r"`([\w-]+)`", named)
        told = [known.get(name, {}) for name in names]
        licences = [each.get("licence", "not asked") for each in told]
        newest = [f"{each['newest']}, {each['released']}" if each else "not asked" for each in told]
        lines.append(
            [
                named,
                what,
                licences[0] if len(set(licences)) == 1 else ", ".join(licences),
                ", ".join(locked.get(normalize(name), "not locked") for name in names),
                "; ".join(newest),
            ]
        )
    return table(HEADER, lines) + f"\nNewest releases as of {kept['asked']}.\n"


def normalize(name: str) -> str:
    """A package's name as indices compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
