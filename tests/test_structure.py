"""The rules that keep the house in shape, read off the code itself."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import tomllib
from functools import cache, reduce
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.compose import compose
from pipeline.lock import flatten
from pipeline.packages import normalize
from pipeline.params import STAGES, Params

PIPELINE = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
OUTPUTS = ("outs", "metrics", "plots")
COMMANDS = {
    *("alarm", "audit", "card", "check_model", "comment", "compose", "dependencies", "drift", "failure", "installed", "publish"),
    *("reference", "remote", "report", "resolve_lock", "score", "serve", "site", "sweep", "tables.__main__", "tour", "verify"),
}
MODULES = {
    ".".join(path.relative_to("pipeline").with_suffix("").parts) for path in Path("pipeline").rglob("*.py") if path.stem != "__init__"
}
LEAVES = MODULES - COMMANDS - set(PIPELINE)
SERVING = sorted(module for module in MODULES if module.startswith("serving."))


def file_of(module: str) -> Path:
    """The file of a module: of ``errors`` or of ``reporting.budgets``."""
    return Path("pipeline", *module.split(".")).with_suffix(".py")


@cache
def imports(module: str) -> tuple[frozenset[str], frozenset[str]]:
    """The modules of ours that a module imports, and the packages of others."""
    tree = ast.parse(file_of(module).read_text(encoding="utf-8"))
    found: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pipeline":
            origin = (node.module or "").removeprefix("pipeline").removeprefix(".")
            found |= {origin} if origin in MODULES else {f"{origin}.{alias.name}".removeprefix(".") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            others.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("pipeline") for alias in node.names), f"{module}: use `from pipeline import ..`"
            others |= {alias.name.split(".")[0] for alias in node.names}
    return frozenset(found), frozenset(others)


def local_imports(module: str) -> frozenset[str]:
    return imports(module)[0]


def transitive(module: str) -> set[str]:
    reached, todo = set(), [module]
    while todo:
        current = todo.pop()
        if current not in reached:
            reached.add(current)
            todo += local_imports(current)
    return reached


@pytest.mark.parametrize("stage", PIPELINE)
def test_deps_are_exactly_the_transitive_local_imports(stage: str) -> None:
    declared = {path for path in PIPELINE[stage]["deps"] if path.startswith("pipeline/")}
    assert declared == {str(file_of(module)) for module in transitive(stage)}


@pytest.mark.parametrize("stage", PIPELINE)
def test_every_path_of_the_command_is_a_dep_or_an_output(stage: str) -> None:
    definition = PIPELINE[stage]
    paths = [path if isinstance(path, str) else next(iter(path)) for key in ("deps", *OUTPUTS) for path in definition.get(key, [])]
    declared = {str(Path(path).parent) if path.startswith("plots/") else path for path in paths}
    words = definition["cmd"].split()
    assert words[:3] == ["python", "-m", f"pipeline.{stage}"]
    assert set(words[4::2]) == {path for path in declared if not path.startswith(("pipeline/", "${"))}


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_stage_reads_its_own_section_and_declares_it(stage: str) -> None:
    pins = ["project.dependencies", *(["project.optional-dependencies.export"] if stage == "export" else [])]
    versions = [] if stage == "fetch" else [{"pyproject.toml": pins}]  # what fetch brings is held to its sha256
    assert PIPELINE[stage]["params"] == [stage, *versions]
    module = importlib.import_module(f"pipeline.{stage}")
    assert issubclass(getattr(module, f"{stage.capitalize()}Params"), Params)
    assert f'read_params("{stage}", {stage.capitalize()}Params)' in inspect.getsource(module)


@pytest.mark.parametrize("module", sorted(LEAVES | set(PIPELINE) | COMMANDS))
def test_imports_point_one_way(module: str) -> None:
    allowed = LEAVES | {"card", "compose", "tour"} if module in COMMANDS else LEAVES
    assert local_imports(module) <= allowed


NO_BITS = {"datasets", "httpx2", "huggingface-hub", "pydantic", "pyyaml", "threadpoolctl", "wandb"}  # these make no output
WRITERS = {"matplotlib": "pillow", "onnxscript": "onnx-ir", "torch": "safetensors"}  # who writes the files of what the first makes


@pytest.mark.parametrize("stage", list(PIPELINE)[1:])
def test_what_makes_the_bytes_of_a_stage_is_pinned_and_a_parameter_of_it(stage: str) -> None:
    pyproject = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    (keys,) = [params["pyproject.toml"] for params in PIPELINE[stage]["params"] if isinstance(params, dict)]
    lists = [reduce(dict.__getitem__, key.split("."), pyproject) for key in keys]
    pinned = {normalize(pin.partition("==")[0]) for pins in lists for pin in pins if "==" in pin}
    provided = packages_distributions()
    modules = {name for module in transitive(stage) for name in imports(module)[1]} - sys.stdlib_module_names
    assert "numpy" in modules
    assert [name for name in modules if not {normalize(each) for each in provided[name]} & (pinned | NO_BITS)] == []
    assert [writer for maker, writer in WRITERS.items() if maker in pinned and writer not in pinned] == []


@pytest.mark.parametrize("module", SERVING)
def test_serving_needs_no_torch(module: str) -> None:
    assert [name for name in transitive(module) if imports(name)[1] & {"torch", "transformers", "sklearn"}] == []


def test_the_package_that_is_installed_is_the_whole_package() -> None:
    told = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert set(told["packages"]) == {".".join(path.parent.parts) for path in Path("pipeline").rglob("__init__.py")}
    patterns = [Path(*package.split("."), pattern) for package, some in told["package-data"].items() for pattern in some]
    named = {path for pattern in patterns for path in Path().glob(str(pattern))}
    files = {path for path in Path("pipeline").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert named == {path for path in files if path.suffix != ".py"}


@pytest.mark.parametrize("module", sorted(LEAVES - {"params"}))
def test_only_stages_read_params(module: str) -> None:
    ours = r"(?<!\.)read_params\("  # DVC has a method of that name
    assert not re.search(ours, file_of(module).read_text(encoding="utf-8"))


def test_metrics_predictions_and_plots_are_tracked_by_git_and_the_rest_by_dvc() -> None:
    for stage in PIPELINE.values():
        for output in (output for key in OUTPUTS for output in stage.get(key, [])):
            path, in_git = (
                (output, False) if isinstance(output, str) else (next(iter(output)), next(iter(output.values()))["cache"] is False)
            )
            assert in_git == path.startswith(("metrics/", "plots/")), path


def test_committed_params_are_the_composition_of_configs(tmp_path: Path) -> None:
    compose([], tmp_path / "params.yaml")
    assert Path("params.yaml").read_bytes() == (tmp_path / "params.yaml").read_bytes()


@pytest.mark.parametrize("choice", [f"{path.parent.name}={path.stem}" for path in sorted(Path("configs").glob("*/*.yaml"))])
def test_every_choice_composes_to_valid_params(choice: str, tmp_path: Path) -> None:
    compose([choice], tmp_path / "params.yaml")
    sections: dict[str, Any] = yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))
    assert list(sections) == list(PIPELINE)
    for stage, values in sections.items():
        getattr(importlib.import_module(f"pipeline.{stage}"), f"{stage.capitalize()}Params").model_validate(values)


def test_sections_of_params_are_those_of_the_stages() -> None:
    assert list(STAGES) == list(PIPELINE)


def keys_of(file: str) -> set[str]:
    """The knobs that a file of configs/ sets, as `train.student.start`."""
    values = yaml.safe_load(Path("configs", file).read_text(encoding="utf-8"))
    return set(flatten({section: knobs for section, knobs in values.items() if section != "defaults"}))


def test_an_edit_of_the_main_config_is_not_overruled_by_a_group_that_is_chosen_by_default() -> None:
    main = yaml.safe_load(Path("configs/config.yaml").read_text(encoding="utf-8"))
    chosen = [f"{group}/{choice}.yaml" for group, choice in (next(iter(each.items())) for each in main["defaults"][1:]) if choice]
    assert chosen == ["data/sample.yaml", "student/tinybert.yaml"]
    assert keys_of("config.yaml") & set().union(*map(keys_of, chosen)) == set()


def test_no_choice_but_the_benchmarks_reference_fixes_what_is_calibrated_on_validation() -> None:
    fixed = {"prepare.refit", "train.calibration_temperature", "evaluate.threshold", "evaluate.label_threshold"}
    files = [str(path.relative_to("configs")) for path in Path("configs").glob("*/*.yaml")]
    assert [file for file in files if keys_of(file) & fixed] == ["data/banking77_reference.yaml"]


def test_every_file_of_plots_is_an_output() -> None:
    """Each by itself: DVC draws what is declared, once, and keeps the run only of stages whose uncached outputs are metrics or plots."""
    declared = {path for stage in PIPELINE.values() for plot in stage.get("plots", []) for path in plot}
    assert {str(path) for path in Path("plots").rglob("*.*")} == {path for path in declared if path.startswith("plots/")}
