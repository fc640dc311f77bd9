from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.packages import direct
from pipeline.tables.blocks import BLOCK, MAKERS, find_documents, render

README = Path("README.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("committed_run")
@pytest.mark.parametrize("path", find_documents(), ids=str)
def test_generated_blocks_are_up_to_date(path: Path) -> None:
    document = path.read_text(encoding="utf-8")
    assert render(document) == document, "run `make docs`"


def test_every_block_that_can_be_made_is_in_a_document() -> None:
    found = {block[2] for path in find_documents() for block in BLOCK.finditer(path.read_text(encoding="utf-8"))}
    assert found == {*MAKERS, "dependencies"}


def test_a_block_of_an_unknown_name_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="<!-- generated: prices -->: no such block: choose one of abstention, "):
        render("<!-- generated: prices -->\n<!-- end -->\n")


def test_every_dependency_has_its_line_in_the_readme_and_no_other() -> None:
    table = README.split("## Dependencies")[1].split("\n## ")[0]
    named = {name for line in table.splitlines() if line.startswith("| `") for name in re.findall(r"`([\w-]+)`", line.split("|")[1])}
    assert {name.lower() for name in named} == {name.lower() for name in direct()}


def test_the_versions_that_the_stages_depend_on_are_those_of_the_lock() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = set(re.findall(r"^(\S+==\S+) \\$", Path("requirements.lock").read_text(encoding="utf-8"), re.MULTILINE))
    assert [pin for pin in project["dependencies"] if pin not in locked and not pin.startswith("torch==")] == []


def test_every_make_target_of_the_readme_exists_and_every_target_is_in_the_readme() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z0-9-]+)", README, re.MULTILINE))
    assert named <= targets
    assert targets - named == set()


def test_the_tree_of_the_readme_names_every_module() -> None:
    told = []
    for line in README.split("\npipeline/\n")[1].split("\ndockerfiles/")[0].splitlines():
        cells = iter(re.split(r"\s{2,}", line.strip()))
        for cell in cells:  # "names: what they are", or names and, after two blanks, what they are
            names, colon, _ = cell.partition(":")
            told += [name for name in names.split() if not name.endswith("/")]
            if not colon:
                next(cells)
    modules = [path.stem for path in Path("pipeline").rglob("*.py") if "__" not in path.stem]
    assert sorted(told) == sorted(modules)


def github_anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "document", [*sorted(Path().glob("*.md")), *sorted(Path("docs").rglob("*.md")), Path("data/sample/README.md")], ids=str
)
def test_links_to_files_and_headings_of_the_repository_resolve_on_github(document: Path) -> None:
    """What they are in the site, tests/test_site.py checks."""
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", prose):
        path = document.parent / target if target else document
        assert path.is_file(), target
        assert not anchor or anchor in github_anchors(path), f"{target}#{anchor}"
