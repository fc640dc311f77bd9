"""A toy repository with the shape of ours (stages, configs, git-tracked metrics, .dvc/config) whose stages take milliseconds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import yaml
from clones import sh

from pipeline.compose import compose
from pipeline.tables import DOCUMENTS

CONFIG = {"prepare": {"files": 4, "kilobytes": 20}, "train": {"scale": 2, "bias": 0}, "evaluate": {"digits": 3}}

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
figures = {name + end: score for name in ("accuracy", "macro_f1") for end in ("", "_low", "_high")}
Path("metrics/evaluate.json").write_text(json.dumps({"tinybert": figures | {"ece": 0.0, "parameters": 1}}) + "\\n")
Path("metrics/predictions.csv").write_text(f"id,confidence\\n1,{score}\\n")
Path("plots/evaluate").mkdir(parents=True, exist_ok=True)
Path("plots/evaluate/points.csv").write_text(f"x,y\\n1,{score}\\n")
""",
}
GIT_TRACKED = ("metrics/data.json", "metrics/evaluate.json", "metrics/predictions.csv", "plots/evaluate")
WIRES = {
    "prepare": ([], ["parts", "metrics/data.json"]),
    "train": (["parts"], ["model.json"]),
    "evaluate": (["model.json"], ["metrics/evaluate.json", "metrics/predictions.csv", "plots/evaluate"]),
}
README = "# Toy\n\nFirst words.\n\n<!-- generated: results -->\n<!-- end -->\n\nLast words.\n"


def make_toy(folder: Path) -> None:
    """The repository after its first run, committed on ``main``; nothing is pushed."""
    sh(Path(), "git", "init", "--quiet", "--initial-branch", "main", str(folder))
    for setting in (("user.email", "test@example.org"), ("user.name", "test")):
        sh(folder, "git", "config", *setting)
    sh(folder, "dvc", "init", "--quiet")
    for name in (".dvc/config", ".gitattributes", "Makefile", "requirements.lock"):
        (folder / name).write_bytes(Path(name).read_bytes())
    for name in ("stages", "metrics", "configs", ".venv"):
        (folder / name).mkdir()
    (folder / ".gitignore").write_text("/.venv/\n")
    (folder / ".venv/installed").touch()
    for document in DOCUMENTS:
        (folder / document).parent.mkdir(parents=True, exist_ok=True)
        (folder / document).write_text(README if document == Path("README.md") else "")
    for stage, script in SCRIPTS.items():
        (folder / f"stages/{stage}.py").write_text(STAGE.format(stage=stage) + script)
    stages = {
        stage: {
            "cmd": f"python stages/{stage}.py",
            "deps": [f"stages/{stage}.py", *reads],
            "params": [stage],
            "outs": [{path: {"cache": False}} if path in GIT_TRACKED else path for path in writes],
        }
        for stage, (reads, writes) in WIRES.items()
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


def run_and_commit(folder: Path, message: str, variables: dict[str, str] | None = None) -> str:
    output = sh(folder, "dvc", "repro", variables=variables)
    ours(folder, "tables", "--write")
    sh(folder, "git", "add", "--all")
    sh(folder, "git", "commit", "--quiet", "-m", message)
    return output


def ours(folder: Path, module: str, *arguments: str, code: int = 0, variables: dict[str, str] | None = None) -> str:
    """Runs a command of ours in the toy."""
    return sh(folder, "python", "-m", f"pipeline.{module}", *arguments, code=code, variables=with_pipeline(variables))


def with_pipeline(variables: dict[str, str] | None) -> dict[str, str]:
    """The variables, and one that lets a toy import our modules."""
    return {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])} | (variables or {})


def accuracy(folder: Path) -> float:
    value: float = json.loads((folder / "metrics/evaluate.json").read_text())["tinybert"]["accuracy"]
    return value
