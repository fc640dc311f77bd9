"""The dependencies: each is told of, each is used; and what is asked of the index, of a stand-in over HTTP."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest
from clones import sh
from json_standin import JsonHandler, JsonServer, serving
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement

from pipeline.packages import KNOWN, complete, direct, name_licence, normalize

README = Path("README.md").read_text(encoding="utf-8")
# what no import shows, and where the use stands
USED_OTHERWISE = {
    "accelerate": ("pipeline/training.py", "import Trainer"),
    "cyclonedx-bom": ("Makefile", "cyclonedx-py requirements"),
    "detect-secrets": (".pre-commit-config.yaml", "detect-secrets-hook"),
    "dvc-gs": (".dvc/config", "gs://"),
    "gcp-storage-emulator": ("tests/emulator.py", "gcp_storage_emulator"),
    "ipykernel": ("pipeline/tour.py", 'AsyncKernelManager(kernel_name="python3"'),
    "mypy": ("Makefile", "\tmypy\n"),
    "onnx-ir": ("pipeline/onnx_graph.py", "torch.onnx"),
    "onnxscript": ("pipeline/onnx_graph.py", "torch.onnx"),
    "pillow": ("pipeline/charts.py", "savefig"),
    "pip-audit": ("Makefile", "pip-audit "),
    "pre-commit": ("README.md", "`pre-commit install`"),
    "pytest-xdist": ("Makefile", "--dist loadfile"),
    "ruff": ("Makefile", "ruff check"),
    "schemathesis": ("tests/test_abuse.py", "schemathesis"),
    "types-PyYAML": ("pipeline/params.py", "import yaml"),
    "uv": ("Makefile", "uv pip install "),
    "zensical": ("pipeline/site.py", '"zensical", "build"'),
    "zizmor": (".ci/lint_workflows", "zizmor "),
}


def imported() -> set[str]:
    """Every top-level module that our code and tests import."""
    found = set()
    for path in [path for folder in ("pipeline", "benchmarks", "tests") for path in Path(folder).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            found |= set(names)
    return found


def test_every_direct_dependency_is_used() -> None:
    provides: dict[str, set[str]] = {}
    for module, names in packages_distributions().items():
        for name in names:
            provides.setdefault(normalize(name), set()).add(module)
    namespaces = {"google-api-core": "google.api_core", "google-auth": "google.auth", "google-cloud-storage": "google.cloud.storage"}
    used = imported()
    unused = []
    for name in direct():
        if name in USED_OTHERWISE:
            file, words = USED_OTHERWISE[name]
            assert words in Path(file).read_text(encoding="utf-8"), f"{name}: {file} has no '{words}'"
            continue
        modules = {namespaces[name]} if name in namespaces else provides.get(name.lower(), {name.replace("-", "_")})
        if not any(each == module or each.startswith(f"{module}.") for module in modules for each in used):
            unused.append(name)
    assert unused == [], "remove it, or say in USED_OTHERWISE where it is used"


def test_every_import_is_of_a_direct_dependency() -> None:
    """What another package brings may go with its next release."""
    asked = {normalize(name) for name in direct()}
    ours = {"benchmarks", "pipeline", *(path.stem for path in Path("tests").glob("*.py"))}
    provided = packages_distributions()
    modules = {name.split(".")[0] for name in imported()} - ours - sys.stdlib_module_names
    assert "numpy" in modules
    brought = {module: {normalize(name) for name in provided.get(module, [module])} for module in modules}
    assert {module: names for module, names in brought.items() if not names & asked} == {}


LOCKED = re.findall(r"^(\S+)==\S+ (?:; (.+) )?\\$", Path("requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
NOT_LOCKED = {"ray", "setfit"}  # extras
LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
MAC = {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"}


@cache
def requirements(name: str) -> list[Requirement]:
    """What an installed package asks for; nothing is known of one that only other platforms need."""
    try:
        asked = [Requirement(line) for line in distribution(name).requires or []]
    except PackageNotFoundError:
        return []
    return [each for each in asked if each.marker is None] if name == "torch" else asked  # it brings its libraries for GPUs itself


def needed(wanted: list[Requirement], environment: dict[str, str]) -> set[str]:
    """The names of all packages that these need in an environment, their own needs included."""
    seen: set[tuple[str, str]] = set()
    todo = [(each, extra) for each in wanted for extra in ("", *each.extras)]
    while todo:
        asked, extra = todo.pop()
        name = normalize(asked.name)
        if (name, extra) not in seen:
            seen.add((name, extra))
            holding = [each for each in requirements(name) if not each.marker or each.marker.evaluate(environment | {"extra": extra})]
            todo += [(each, extra) for each in holding for extra in ("", *each.extras)]
    return {name for name, _ in seen}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize(
    "platform",
    [LINUX | {"platform_machine": "x86_64"}, LINUX | {"platform_machine": "aarch64"}, MAC | {"platform_machine": "arm64"}],
    ids=["x86", "ARM", "Mac"],
)
def test_the_lock_has_all_that_is_needed_on_every_platform_that_is_promised(platform: dict[str, str], python: str) -> None:
    environment = {**default_environment(), **platform, "python_version": python, "python_full_version": f"{python}.5"}
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *(lines for name, lines in project["optional-dependencies"].items() if name not in NOT_LOCKED)]
    locked = {normalize(name) for name, marker in LOCKED if not marker or Marker(marker).evaluate(environment)}
    assert len(locked) > 200
    assert needed([Requirement(line) for lines in groups for line in lines], environment) - locked == {"torch"}


def test_what_uv_is_told_that_torch_needs_is_what_it_needs() -> None:
    (told,) = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]["dependency-metadata"]
    assert (told["name"], set(told["requires-dist"])) == ("torch", {normalize(each.name) for each in requirements("torch")})


def test_what_is_used_without_an_import_is_a_dependency() -> None:
    assert set(USED_OTHERWISE) <= set(direct())


def test_licence_and_newest_release_of_every_dependency_are_known() -> None:
    known = json.loads(KNOWN.read_text(encoding="utf-8"))["packages"]
    assert [name for name in direct() if name not in known] == [], "run `python -m pipeline.dependencies`"
    assert "not asked" not in README


@pytest.mark.parametrize(
    ("expression", "classifiers", "text", "name"),
    [
        ("MIT", ["License :: OSI Approved :: BSD License"], "Apache", "MIT"),
        (None, ["License :: OSI Approved :: Apache Software License", "Topic :: Text"], None, "Apache-2.0"),
        (None, ["Topic :: Text"], "MPL-2.0 AND MIT", "MPL-2.0 AND MIT"),
        (None, [], "Apache License\n  Version 2.0" + " words" * 100, "Apache-2.0"),
        (None, [], "Whereas" + " words" * 100, "see its metadata"),
        (None, [], None, "see its metadata"),
    ],
)
def test_a_licence_is_named_in_a_word(expression: str | None, classifiers: list[str], text: str | None, name: str) -> None:
    assert name_licence(expression, classifiers, text) == name


def test_the_table_keeps_what_is_written_by_hand_and_makes_the_rest_anew() -> None:
    by_hand = "| package | what for, why this one |\n| --- | --- |\n| `torch` | the tensors |\n| `no-such-package` | nothing |\n"
    once = complete(by_hand)
    assert complete(once) == once
    assert "| `torch` | the tensors | " in once
    assert "| `no-such-package` | nothing | not asked | not locked | not asked |" in once
    assert once.count("\n| `") == 2


class Index(JsonHandler):
    """A stand-in for the JSON API of the package index."""

    unknown: str = ""

    def do_GET(self) -> None:
        name = self.path.split("/")[-2]
        info: dict[str, Any] = {"version": "9.9", "license_expression": "X-11", "classifiers": [], "license": None}
        urls = [{"upload_time_iso_8601": "2026-03-05T10:00:00Z"}, {"upload_time_iso_8601": "2026-02-28T10:00:00Z"}]
        self.send(404 if name == self.unknown else 200, {"info": info, "urls": urls})


@contextmanager
def index(unknown: str = "") -> Iterator[str]:
    Index.unknown = unknown
    with serving(JsonServer(Index)) as server:
        yield f"{server.url}/pypi"


def test_the_index_is_asked_about_every_dependency_and_the_answers_are_kept(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["numpy==1", "no-such-package>=2"]\n[project.optional-dependencies]\n'
    )
    command = [sys.executable, "-m", "pipeline.dependencies", "--index"]
    variables = {"PYTHONPATH": str(Path.cwd())}
    with index() as url:
        sh(tmp_path, *command, url, variables=variables)
    kept = json.loads((tmp_path / KNOWN).read_text())
    assert kept["packages"]["no-such-package"] == {"licence": "X-11", "newest": "9.9", "released": "2026-02"}
    assert kept["packages"]["numpy"]["licence"].startswith("BSD-3-Clause")  # of the installed one
    before = (tmp_path / KNOWN).read_bytes()
    with index(unknown="numpy") as url:
        assert "returned HTTP 404: is 'numpy' the name of a package?" in sh(tmp_path, *command, url, code=1, variables=variables)
    assert "run where the package index can be reached" in sh(tmp_path, *command, "http://127.0.0.1:9", code=1, variables=variables)
    assert (tmp_path / KNOWN).read_bytes() == before


def test_outside_a_checkout_nothing_is_asked(tmp_path: Path) -> None:
    told = sh(tmp_path, sys.executable, "-m", "pipeline.dependencies", code=1, variables={"PYTHONPATH": str(Path.cwd())})
    assert told == "error: pyproject.toml: no such file: run in the root of the repository\n"
