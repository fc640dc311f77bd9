"""A toy repository with the shape of ours (stages, configs, git-tracked metrics, .dvc/config) whose stages take milliseconds."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import yaml
from clones import sh
from dvc.repo import Repo
from small_runs import commit

from pipeline.compose import compose
from pipeline.tables.blocks import find_documents, render

CONFIG = {
    "prepare": {"files": 4, "kilobytes": 20},
    "train": {"scale": 2, "bias": 0, "targets": "soft"},
    "evaluate": {"digits": 3, "calibration_bins": 15},
}

STAGE = """\
import json, random, sys
from pathlib import Path
import yaml
params = yaml.safe_load(Path("params.yaml").read_text())["{stage}"]
"""
SCRIPTS = {
    "prepare": """
random.seed(1)
for index in range(params["files"]):
    path = Path(f"parts/part_{index}.bin")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(random.randbytes(1000 * params["kilobytes"]))
Path("metrics/data.json").write_text(json.dumps({"files": params["files"]}) + "\\n")
""",
    "train": """
if params["scale"] < 0:
    sys.exit("error: train.scale: below zero")
files = len(list(Path("parts").iterdir()))
Path("model.json").write_text(json.dumps({"score": params["scale"] / 10 + params["bias"] / 100 + files / 1000}))
""",
    "evaluate": """
score = round(json.loads(Path("model.json").read_text())["score"], params["digits"])
right = round(1000 * score)  # of a thousand queries, all of one intent, so that macro-F1 is half that intent's F1
figures = {name + end: value for name, value in (("accuracy", score), ("macro_f1", score / (1 + score))) for end in ("", "_low", "_high")}
figures = {name: round(value, 6) for name, value in figures.items()}
Path("metrics/evaluate.json").write_text(json.dumps({"tinybert": figures | {"ece": 0.0, "parameters": 1}}) + "\\n")
rows = [f"{row},a,{'a' if row < right else 'b'},{score}" for row in range(1000)]
Path("metrics/predictions.csv").write_text("\\n".join(["id,label,predicted,confidence", *rows]) + "\\n")
Path("plots/evaluate").mkdir(parents=True, exist_ok=True)
Path("plots/evaluate/points.csv").write_text(f"x,y\\n1,{score}\\n")
Path("plots/evaluate/points.png").write_bytes(bytes([255, 0, round(200 * score)]))
""",
}
# DVC's run cache leaves out a stage that has an uncached output which is neither a metric nor a plot
WIRES: dict[str, dict[str, list[object]]] = {
    "prepare": {"deps": [], "outs": ["parts"], "metrics": [{"metrics/data.json": {"cache": False}}]},
    "train": {"deps": ["parts"], "outs": ["model.json"]},
    "evaluate": {
        "deps": ["model.json"],
        "metrics": [{"metrics/evaluate.json": {"cache": False}}],
        "plots": [{"metrics/predictions.csv": {"cache": False}}, {"plots/evaluate": {"cache": False}}],
    },
}
README = "# Toy\n\nFirst words.\n\n<!-- generated: results -->\n<!-- end -->\n\nLast words.\n"


def make_toy(folder: Path) -> None:
    """The repository after its first run, committed on ``main``; nothing is pushed."""
    sh(Path(), "git", "init", "--quiet", "--initial-branch", "main", str(folder))
    Repo.init(str(folder)).close()
    for name in (".dvc/config", ".gitattributes", "Makefile", "requirements.lock"):
        (folder / name).write_bytes(Path(name).read_bytes())
    for name in ("stages", "metrics", "configs", ".venv"):
        (folder / name).mkdir()
    (folder / ".gitignore").write_text("/.venv/\n")
    (folder / ".venv/installed").touch()
    (folder / "README.md").write_text(README)
    for stage, script in SCRIPTS.items():
        (folder / f"stages/{stage}.py").write_text(STAGE.format(stage=stage) + script)
    stages = {
        stage: {"cmd": f"{sys.executable} stages/{stage}.py", "params": [stage]} | wires | {"deps": [f"stages/{stage}.py", *wires["deps"]]}
        for stage, wires in WIRES.items()
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    configure(folder, "prepare.files", CONFIG["prepare"]["files"])
    run_and_commit(folder, "first run")


def configure(folder: Path, key: str, value: object) -> None:
    """Changes a value in ``configs/`` and composes ``params.yaml``."""
    path = folder / "configs/config.yaml"
    config = yaml.safe_load(path.read_text()) if path.exists() else CONFIG
    section, name = key.split(".")
    config[section][name] = value
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    compose([], folder / "params.yaml", folder / "configs")


@contextmanager
def opened(folder: Path) -> Iterator[Repo]:
    """The folder as working directory and as DVC's repository; DVC's own use of its dependencies is not ours to be warned about."""
    with chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with Repo() as repo:
            yield repo


def reproduce(folder: Path) -> list[str]:
    """`dvc repro`, without a process of its own: the stages that ran or came out of the run cache."""
    with opened(folder) as repo:
        return [stage.name for stage in repo.reproduce()]


def clean(folder: Path) -> bool:
    """Whether `dvc status` finds nothing to do."""
    with opened(folder) as repo:
        return repo.status() == {}


def run_and_commit(folder: Path, message: str) -> None:
    """What a branch does: a run, documents, a commit."""
    reproduce(folder)
    with chdir(folder):
        for document in find_documents():
            document.write_text(render(document.read_text()))
    commit(folder, message)


def ours(folder: Path, module: str, *arguments: str, code: int = 0, variables: dict[str, str] | None = None) -> str:
    """Runs a command of ours in the toy."""
    return sh(folder, "python", "-m", f"pipeline.{module}", *arguments, code=code, variables=with_pipeline(variables))


def with_pipeline(variables: dict[str, str] | None) -> dict[str, str]:
    """The variables, and one that lets a toy import our modules."""
    return {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])} | (variables or {})


def accuracy(folder: Path) -> float:
    value: float = json.loads((folder / "metrics/evaluate.json").read_text())["tinybert"]["accuracy"]
    return value
