"""The stages of dvc.yaml."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

from pipeline.lock import read_stages
from pipeline.markdown import table


def stages() -> str:
    """What each stage does, reads and writes, from dvc.yaml."""
    rows = []
    for name, stage in read_stages().items():
        reads = [f"`{path}`" for path in stage["deps"] if not path.startswith("pipeline/")]
        outputs = [output for key in ("outs", "metrics", "plots") for output in stage.get(key, [])]
        paths = [output if isinstance(output, str) else next(iter(output)) for output in outputs]
        writes = dict.fromkeys(f"`{Path(path).parent if path.startswith('plots/') else path}`" for path in paths)
        rows.append([f"`{name}`", stage["desc"], ", ".join(reads), ", ".join(writes)])
    return table(["stage", "what it does", "reads", "writes"], rows)


def stage_details() -> str:
    """What each stage says of itself: the docstring of its module."""
    text = ""
    for name in read_stages():
        first, files, *rest = inspect.cleandoc(importlib.import_module(f"pipeline.{name}").__doc__ or "").replace("``", "`").split("\n\n")
        text += "\n".join([f"\n### {name}\n", first, "", "```", files, "```", *(f"\n{paragraph}" for paragraph in rest), ""])
    return text + "\n"
