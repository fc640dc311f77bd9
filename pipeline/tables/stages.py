"""The stages of dvc.yaml."""

from __future__ import annotations

from pathlib import Path

import yaml

from pipeline.reporting.markdown import table


def stages() -> str:
    """What each stage does, reads and writes, from dvc.yaml."""
    rows = []
    for name, stage in yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"].items():
        reads = [f"`{path}`" for path in stage["deps"] if not path.startswith("pipeline/")]
        outputs = [output for key in ("outs", "metrics", "plots") for output in stage.get(key, [])]
        paths = [output if isinstance(output, str) else next(iter(output)) for output in outputs]
        writes = dict.fromkeys(f"`{Path(path).parent if path.startswith('plots/') else path}`" for path in paths)
        rows.append([f"`{name}`", stage["desc"], ", ".join(reads), ", ".join(writes)])
    return table(["stage", "what it does", "reads", "writes"], rows)
