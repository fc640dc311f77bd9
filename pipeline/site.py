"""Builds the documents as a site that needs nothing from elsewhere, and refuses a link that leads nowhere.

Run     python -m pipeline.site            reads mkdocs.yml, README.md, docs/ and what they link to; writes build/site

Pages and the files that they link to are copied to build/pages, each to its own place, so that the same links work on GitHub and in the
site. Zensical's own check knows links between pages; ours reads the finished HTML: pages, pictures, files and anchors.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from pipeline.errors import UserError, exit_with_one_line

CONFIG = Path("mkdocs.yml")
DOCUMENTS = Path("docs")
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}  # fetched without being asked for


class Page(HTMLParser):
    """What a page of HTML refers to, what of that a browser fetches by itself, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.anchors = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Takes the references and anchors of one element."""
        for name, value in attrs:
            if name in {"id", "name"} and value:
                self.anchors.add(value)
            elif name in {"href", "src"} and value:
                (self.loaded if (tag, name) in LOADED else self.targets).append(value)


def pages(config: dict[str, Any]) -> list[Path]:
    """The documents of the navigation, in its order.

    Raises:
        UserError: one is not there, or one of ``docs/`` is not in it.
    """
    found = [Path(path) for path in _leaves(config["nav"])]
    for path in found:
        if not path.is_file():
            raise UserError(f"{CONFIG}: nav: {path}: no such file: fix the name or remove the line")
    if missing := sorted(set(DOCUMENTS.rglob("*.md")) - set(found)):
        raise UserError(f"{CONFIG}: nav: {missing[0]} is in no place: add a line for it")
    return found


def _leaves(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for part in entry.values() if isinstance(entry, dict) else entry:
            yield from _leaves(part)


def linked_files(document: Path) -> Iterator[Path]:
    """The files of the repository that a document links to, as paths from the root.

    Raises:
        UserError: a link leads to no file, or out of the repository.
    """
    root = Path().resolve()
    for target in LINK.findall(CODE.sub("", document.read_text(encoding="utf-8"))):
        url = urlsplit(target)
        if url.scheme or not url.path:
            continue
        path = (document.parent / unquote(url.path)).resolve()
        if not path.is_file() or not path.is_relative_to(root):
            raise UserError(f"{document}: {target}: no such file in the repository: fix the link")
        yield path.relative_to(root)


def copy(files: list[Path], folder: Path) -> None:
    """Copies files, and all that the documents among them link to, documents linked to included, into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    todo, done = list(files), set[Path]()
    while todo:
        path = todo.pop()
        if path in done:
            continue
        done.add(path)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / path)
        if path.suffix == ".md":
            todo += linked_files(path)


def check(site: Path) -> int:
    """Follows every reference of every page of a finished site.

    Returns:
        The number of pages.

    Raises:
        UserError: a reference leads nowhere, or a page fetches something from elsewhere.
    """
    found = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}
    for path, page in found.items():
        name = path.relative_to(site.resolve())
        for target in (*page.loaded, *page.targets):
            url = urlsplit(target)
            if url.scheme or url.netloc:
                if target in page.loaded and url.scheme != "data":
                    raise UserError(f"{site / name}: {target}: a page must not fetch anything from elsewhere: keep a copy in docs/")
                continue
            place = site.resolve() / url.path.lstrip("/") if url.path.startswith("/") else path.parent / unquote(url.path)
            place = (place if url.path else path).resolve()
            place = place / "index.html" if place.is_dir() else place
            if not place.is_file():
                raise UserError(f"{site / name}: {target}: leads to no file of the site: fix the link")
            if place in found and unquote(url.fragment) not in found[place].anchors:
                raise UserError(f"{site / name}: {target}: no such anchor on that page: fix the link")
    return len(found)


def complaint(output: str) -> str:
    """The first thing that zensical complains of, without its colours, frames and traceback."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", output)
    found = re.search(r"^(?:Warning|Error): (.+)\n.*\[ (\S+) \]", plain, re.MULTILINE)
    return f"{found[2]}: {found[1]}: fix the link" if found else f"{CONFIG}: zensical: {plain.strip().splitlines()[-1]}"


def main() -> None:
    """Copies, builds, checks."""
    argparse.ArgumentParser(
        prog="python -m pipeline.site", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    if not CONFIG.exists():
        raise UserError(f"{CONFIG}: no such file: run in the root of the repository")
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    site = Path(config["site_dir"])
    copy([*pages(config), *map(Path, config["extra_css"])], Path(config["docs_dir"]))
    shutil.rmtree(site, ignore_errors=True)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file", str(CONFIG)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(complaint(done.stdout + done.stderr))
    print(f"{site}: {check(site)} pages, no link is broken: `python -m http.server --directory {site}` shows them")


if __name__ == "__main__":
    exit_with_one_line(main)
