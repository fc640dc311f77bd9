"""A toy repository with our params whose stages take no time: DVC, git and Optuna are real, what is learnt is a formula."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import yaml
from clones import sh
from small_runs import commit
from toys import with_pipeline

TRAIN = """
import json, math, os, sys, time
from pathlib import Path
import yaml
from pipeline.progress import Epoch, tell
params = yaml.safe_load(Path("params.yaml").read_text())["train"]
if params["dropout"] > 0.5:
    sys.exit("error: train.dropout: too much for a toy")
accuracy = round(0.9 - abs(math.log10(params["learning_rate"]) + 3) / 10, 6)
for epoch in range(1, 4):
    print(tell(Epoch(epoch, 3, 1.0, accuracy * epoch / 3)), flush=True)
    time.sleep(float(os.environ.get("TOY_PAUSE_S", "0")))
Path("metrics").mkdir(exist_ok=True)
Path("metrics/train.json").write_text(json.dumps({"validation_accuracy": accuracy}))
Path("model.json").write_text(json.dumps(params))
"""
SCRIPTS = {
    "prepare": "from pathlib import Path\nPath('rows.txt').write_text(Path('data.txt').read_text())\n",
    "teach": """
import os
from pathlib import Path
Path("soft.txt").write_text("soft")
with open(os.environ["TOY_LOG"], "a") as log:
    log.write("taught\\n")
""",
    "train": TRAIN,
}
WIRES = {
    "prepare": {"deps": ["data.txt"], "outs": ["rows.txt"]},
    "teach": {"deps": ["rows.txt"], "params": ["teach"], "outs": ["soft.txt"]},
    "train": {"deps": ["soft.txt"], "params": ["train"], "outs": ["model.json"], "metrics": [{"metrics/train.json": {"cache": False}}]},
}
SPACE = {"prune": False, "knobs": {"train.learning_rate": {"low": 1.0e-5, "high": 0.1, "log": True}}}


def make_toy(folder: Path) -> Path:
    """A committed repository that was never run."""
    (folder / "stages").mkdir(parents=True)
    (folder / ".dvc").mkdir()
    for name in (".dvc/config", "pyproject.toml", "params.yaml"):
        shutil.copyfile(name, folder / name)
    shutil.copytree("configs", folder / "configs")
    stages = {}
    for stage, wires in WIRES.items():
        script = f"stages/{stage}.py"
        (folder / script).write_text(SCRIPTS[stage])
        stages[stage] = {"cmd": f"{sys.executable} {script}", **wires, "deps": [script, *wires["deps"]]}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (folder / "data.txt").write_text("one\n")
    (folder / ".gitignore").write_text("/build/\n/rows.txt\n/soft.txt\n/model.json\n/.dvc/tmp/\n/.dvc/cache/\n")
    write_space(folder, **SPACE)
    commit(folder, "toy")
    return folder


def write_space(folder: Path, **space: object) -> None:
    (folder / "configs/sweep.yaml").write_text(yaml.safe_dump({"sweep": space}))


def variables(folder: Path, pause_s: float = 0) -> dict[str, str]:
    """The environment of a sweep of the toy."""
    return with_pipeline({"TOY_LOG": str(folder / "build/toy.log"), "TOY_PAUSE_S": str(pause_s)})


def sweep(folder: Path, *arguments: str, code: int = 0, pause_s: float = 0) -> str:
    (folder / "build").mkdir(exist_ok=True)
    return sh(folder, "python", "-m", "pipeline.sweep", *arguments, code=code, variables=variables(folder, pause_s))
