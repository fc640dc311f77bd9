"""Every byte that comes from elsewhere: what it is, where from, and what holds it to what it was. Read from the files that fetch it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from pipeline.encoders import ENCODERS
from pipeline.markdown import table
from pipeline.packages import outside_the_lock
from pipeline.sources import read_card

LOCKS = (Path("requirements.lock"), Path("requirements-serve.lock"))
WORKFLOWS, DOCKERFILES = Path(".github/workflows"), Path("dockerfiles")
LINT, CI = Path(".ci/lint_workflows"), Path(".ci/run")
CARDS = Path("data")
APT = re.compile(r"apt-get install (?:-\S+ )*((?:[\w.+-]+ ?)+)")
VERSION_ALONE = "its version, over TLS"


class Origin(NamedTuple):
    """A row of the table, in Markdown."""

    what: str
    where: str
    held_to: str
    licence: str
    fetched_by: str


def origins() -> list[Origin]:
    """Every row, by who fetches it."""
    return [*_models(), *_datasets(), *_packages(), *_images(), *_actions(), *_tools()]


def fetched() -> str:
    """The table of provenance."""
    return table(["what", "from", "held to", "licence", "fetched by"], [list(origin) for origin in origins()])


def _models() -> list[Origin]:
    rows = []
    for name, encoder in ENCODERS.items():
        place = f"hub, {encoder.repository} at `{encoder.revision}`"
        if encoder.mirror:
            place += f"; else `{encoder.mirror.requirement}` of the Python package index, a wheel of sha256 `{encoder.mirror.sha256}`"
        for file, sha256 in encoder.files.items():
            held = f"sha256 `{sha256}`" if sha256 else "commit, and the sha256 that the hub states for large files"
            rows.append(Origin(f"`{name}/{file}`", place, held, encoder.licence, "`fetch`"))
    return rows


def _datasets() -> list[Origin]:
    rows = []
    for path in sorted(CARDS.glob("*.yaml")):
        card = read_card(path)
        for split, pinned in (("train", card.train), ("test", card.test)):
            held = f"sha256 of its {pinned.rows:,} rows `{pinned.sha256}`"
            place = f"hub, {card.repository} at `{card.revision}`, or the folder ${card.folder_variable}"
            rows.append(Origin(f"{card.name}, {split}", place, held, card.licence, f"`fetch`, where params name `{path}`"))
    return rows


def _packages() -> list[Origin]:
    index, theirs = "Python package index", "each its own; those of direct dependencies in the README"
    counted = [(path, len(re.findall(r"^\S+==\S+ .*\\$", path.read_text(encoding="utf-8"), re.MULTILINE))) for path in LOCKS]
    rows = [
        Origin(f"{count} packages of `{path}`", index, "sha256, one a file", theirs, "`make install`, images") for path, count in counted
    ]
    for name, version in outside_the_lock().items():
        place, by = (f"{index}, or $TORCH_INDEX", "`make install`, images") if name == "torch" else (index, "whoever installs the extra")
        rows.append(Origin(f"`{name}=={version}`", place, VERSION_ALONE, theirs, by))
    return rows


def _images() -> list[Origin]:
    rows: dict[str, list[str]] = {}
    for path in sorted(DOCKERFILES.glob("*.Dockerfile")):
        for image in re.findall(r"^FROM (\S+@sha256:\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            rows.setdefault(image, []).append(f"`{path.name}`")
    return [
        Origin(f"`{name}`", "Docker Hub", f"digest `{digest}`", "PSF-2.0; Debian's", ", ".join(files))
        for (name, digest), files in ((image.split("@"), files) for image, files in rows.items())
    ]


def _actions() -> list[Origin]:
    rows: dict[tuple[str, str, str], list[str]] = {}
    for path in sorted(WORKFLOWS.glob("*.yaml")):
        for use in re.findall(r"uses: (\S+)@(\w+)  # (\S+)", path.read_text(encoding="utf-8")):
            rows.setdefault(use, []).append(f"`{path.stem}`")
    return [
        Origin(f"action `{name}` {version}", "GitHub", f"commit `{commit}`", "", ", ".join(dict.fromkeys(names)))
        for (name, commit, version), names in sorted(rows.items())
    ]


def _tools() -> list[Origin]:
    """What comes by its version or its archive alone; nothing of it decides a bit of a result."""
    rows = []
    lint = LINT.read_text(encoding="utf-8")
    npm, version = re.search(r'"(@[\w/-]+)@\$version"', lint), re.search(r"^version=(\S+)", lint, re.MULTILINE)
    if npm and version:
        rows.append(Origin(f"`{npm[1]}@{version[1]}`", "npm registry", VERSION_ALONE, "", "`make lint`"))
    for path in sorted(WORKFLOWS.glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"setup-cml@\w+.*?version: \"([\d.]+)\"", text, re.DOTALL):
            rows.append(Origin(f"CML {name}", "GitHub, its release", VERSION_ALONE, "Apache-2.0", f"`{path.stem}`"))
    python = sorted({v for path in WORKFLOWS.glob("*.yaml") for v in re.findall(r'"(3\.\d+)"', path.read_text(encoding="utf-8"))})
    rows.append(Origin(f"Python {', '.join(python)}", "GitHub's runner image", VERSION_ALONE, "PSF-2.0", "workflows"))
    for path in (CI, *sorted(DOCKERFILES.glob("*.Dockerfile"))):
        text = path.read_text(encoding="utf-8").replace("\\\n", "")
        for packages in APT.findall(text):
            names = ", ".join(f"`{name}`" for name in packages.split())
            rows.append(Origin(names, "Debian's archive", "its signature", "each its own", f"`{path}`"))
    return rows
