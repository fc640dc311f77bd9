"""Training shared out to several processes takes the steps that one process takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from clones import sh
from safetensors.numpy import load_file

STAGE = (
    *("-m", "pipeline.train", "--features", "data/features", "--soft-targets", "data/soft_targets", "--teacher", "models/teacher"),
    *("--student-encoder", "data/raw/student_encoder"),
)
EPOCHS = 4


def train(clone: Path, folder: Path, *launcher: str) -> tuple[str, np.ndarray, np.ndarray]:
    """What a training printed, its losses, epoch by epoch, and the weights that it began with whatever the seed: all but the head's."""
    outputs = (
        "--model",
        folder / "model",
        "--metrics",
        folder / "train.json",
        "--machine",
        folder / "machine.json",
        "--plots",
        folder / "plots",
    )
    printed = sh(clone, *launcher, *STAGE, *map(str, outputs))
    losses = np.loadtxt(folder / "plots/loss.tsv", skiprows=1)[:, 1]
    weights = load_file(folder / "model/model.safetensors")
    return printed, losses, np.concatenate([weights[name].ravel() for name in sorted(weights) if name.startswith("bert.encoder.")])


@pytest.mark.slow
@pytest.mark.usefixtures("first_run")
def test_two_processes_have_the_loss_curve_of_one_and_write_once(clone: Path, tmp_path: Path) -> None:
    committed = (clone / "params.yaml").read_text()
    params = yaml.safe_load(committed)
    params["train"] |= {"threads": 1, "epochs": EPOCHS, "precision": "fp32"}
    (clone / "params.yaml").write_text(yaml.safe_dump(params))
    try:
        _, alone, weights = train(clone, tmp_path / "one", "python")
        printed, together, same = train(clone, tmp_path / "two", "python", "-m", "torch.distributed.run", "--nproc-per-node", "2")
        params["train"]["seed"] += 1
        (clone / "params.yaml").write_text(yaml.safe_dump(params))
        _, _, other = train(clone, tmp_path / "other", "python")
    finally:
        (clone / "params.yaml").write_text(committed)
    assert len(alone) == EPOCHS
    assert alone[-1] < 0.9 * alone[0]
    np.testing.assert_allclose(together, alone, rtol=1e-3)  # sums round otherwise; the same steps all the same
    assert np.linalg.norm(same - weights) < 0.2 * np.linalg.norm(other - weights)  # other batches end elsewhere
    assert printed.count(f"student: epoch {EPOCHS} of {EPOCHS}") == 1
