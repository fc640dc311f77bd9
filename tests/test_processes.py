"""Training shared out to several processes takes the steps that one process takes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from clones import environment
from safetensors.numpy import load_file

STAGE = (
    *("-m", "pipeline.train", "--features", "data/features", "--soft-targets", "data/soft_targets", "--teacher", "models/teacher"),
    *("--student-encoder", "data/raw/student_encoder"),
)
EPOCHS = 4
LEARNT = 0.6  # of five unlike intents: whoever knows nothing would be right of 0.2


def begin(clone: Path, folder: Path, train: dict[str, Any], *launcher: str) -> subprocess.Popen[str]:
    """Starts a training on what is in the clone, with params of its own, in a folder for all that it writes."""
    folder.mkdir()
    for name in ("data", "models"):
        (folder / name).symlink_to(clone / name)
    params = yaml.safe_load((clone / "params.yaml").read_text())
    params["train"] |= {"threads": 1, "epochs": EPOCHS, "precision": "fp32"} | train
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    command = [*launcher, *STAGE, "--model", "model", "--metrics", "train.json", "--machine", "machine.json", "--plots", "plots"]
    variables = environment({"PYTHONPATH": str(clone)})
    return subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(process: subprocess.Popen[str], folder: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """What a training printed, its losses, epoch by epoch, and the weights that it began with whatever the seed: all but the head's."""
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    assert json.loads((folder / "train.json").read_text())["validation_accuracy"] > LEARNT
    losses = np.loadtxt(folder / "plots/loss.tsv", skiprows=1)[:, 1]
    weights = load_file(folder / "model/model.safetensors")
    return printed, losses, np.concatenate([weights[name].ravel() for name in sorted(weights) if name.startswith("bert.encoder.")])


@pytest.mark.slow
@pytest.mark.usefixtures("first_run")
def test_two_processes_have_the_loss_curve_of_one_and_write_once(clone: Path, tmp_path: Path) -> None:
    seed = yaml.safe_load((clone / "params.yaml").read_text())["train"]["seed"]
    one, other, two = (tmp_path / name for name in ("one", "other", "two"))
    with begin(clone, one, {}, "python") as first, begin(clone, other, {"seed": seed + 1}, "python") as second:  # a core each
        (_, alone, weights), (_, _, elsewhere) = end(first, one), end(second, other)
    with begin(clone, two, {}, "python", "-m", "torch.distributed.run", "--nproc-per-node", "2") as both:
        printed, together, same = end(both, two)
    assert len(alone) == EPOCHS
    assert alone[-1] < 0.9 * alone[0]
    np.testing.assert_allclose(together, alone, rtol=1e-3)  # sums round otherwise; the same steps all the same
    assert np.linalg.norm(same - weights) < 0.2 * np.linalg.norm(elsewhere - weights)  # other batches end elsewhere
    for line in ("teacher: hidden states of", "steps an epoch", f"student: epoch {EPOCHS} of {EPOCHS}", "student: validation accuracy"):
        assert printed.count(line) == 1
