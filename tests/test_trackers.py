"""Reports to Weights & Biases: its own code writes and reads, in processes of their own; none of it leaves this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from clones import sh, small_run, stages_run
from pydantic import ValidationError
from wandb_standin import read_records, serve

from pipeline.recipe import TrainParams

PARAMS = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["train"]
CURVES = ("loss.tsv", "validation_accuracy.tsv", "curves.png")
SCRIPT = """
import json, random, sys
from pathlib import Path
import numpy as np
import torch
from pipeline.errors import exit_with_one_line
from pipeline.trackers import check_trackers, track

def state():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

def main():
    config = json.loads(sys.argv[1])
    before = state()
    check_trackers(config["report_to"])
    with track(config["report_to"], config, Path("plots")) as log:
        for epoch, loss, accuracy in ((1, 2.5, 0.25), (2, 1.123456789, 0.5)):
            log(epoch, loss, accuracy)
    assert state() == before

exit_with_one_line(main)
"""


def track(folder: Path, *trackers: str, code: int = 0, script: str = SCRIPT, **variables: str) -> str:
    """Two epochs, told in a process of its own; returns what it printed."""
    folder.mkdir(exist_ok=True)
    config = json.dumps(PARAMS | {"report_to": trackers, "epochs": 2})
    return sh(folder, sys.executable, "-c", script, config, code=code, variables=away_from_home(folder) | variables)


def away_from_home(folder: Path) -> dict[str, str]:
    """No login of whoever runs the test, no crash reports."""
    return {"HOME": str(folder), "PYTHONPATH": str(Path.cwd()), "DVC_ROOT": str(folder), "WANDB_ERROR_REPORTING": "false"}


def values(lines: list[str]) -> list[dict[str, float]]:
    """Loss and accuracy of every epoch, by what wandb calls its step."""
    rows = map(json.loads, lines)
    return [{name: row[name] for name in ("_step", "loss", "validation_accuracy")} for row in rows]


EPOCHS = [{"_step": 1, "loss": 2.5, "validation_accuracy": 0.25}, {"_step": 2, "loss": 1.123457, "validation_accuracy": 0.5}]
KEY = "a" * 40


@pytest.mark.slow
def test_a_run_offline_is_read_back_and_syncs_and_the_curves_are_the_same_bytes_without_it(tmp_path: Path) -> None:
    both, one = tmp_path / "both", tmp_path / "one"
    told = track(both, "dvclive", "wandb", WANDB_MODE="offline")
    assert "student: epoch 2 of 2, training loss 1.1235, validation accuracy 0.5000" in told
    (folder,) = (both / "build/wandb").glob("offline-run-*")
    (file,) = folder.glob("run-*.wandb")
    records = read_records(file)
    run = next(record.run for record in records if record.HasField("run"))
    assert (run.project, run.display_name) == ("tinybert-intents", "subclone-soft-0.0005-seed42")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert {name: config[name] for name in PARAMS} == PARAMS | {"report_to": ["dvclive", "wandb"], "epochs": 2}
    logged = [{item.nested_key[0]: item.value_json for item in each.history.item} for each in records if each.HasField("history")]
    assert [{name: json.loads(row[name]) for name in EPOCHS[0]} for row in logged] == EPOCHS

    track(one, "dvclive")
    assert not (one / "build").exists()
    assert all((one / "plots" / name).read_bytes() == (both / "plots" / name).read_bytes() for name in CURVES)

    with serve() as standin:
        sh(both, "wandb", "sync", str(folder), variables=away_from_home(both) | {"WANDB_BASE_URL": standin.url, "WANDB_API_KEY": KEY})
        assert values(standin.streamed["wandb-history.jsonl"]) == EPOCHS
        assert standin.operations["UpsertBucket"][0]["displayName"] == "subclone-soft-0.0005-seed42"


def test_a_run_online_tells_every_epoch_under_the_experiments_name(tmp_path: Path) -> None:
    with serve() as standin:
        track(tmp_path, "dvclive", "wandb", WANDB_BASE_URL=standin.url, WANDB_API_KEY=KEY, DVC_EXP_NAME="noisy-pups")
        assert values(standin.streamed["wandb-history.jsonl"]) == EPOCHS
        assert standin.operations["UpsertBucket"][0]["displayName"] == "noisy-pups"


@pytest.mark.slow
def test_a_missing_package_or_login_is_one_line(tmp_path: Path) -> None:
    absent = "import sys\nsys.modules['wandb'] = None\n" + SCRIPT
    assert "error: train.report_to: wandb: not installed: `pip install wandb`" in track(tmp_path, "dvclive", "wandb", code=1, script=absent)
    assert "student: epoch 2 of 2" in track(tmp_path, "dvclive", script=absent)  # never needed
    with serve() as standin:
        told = track(tmp_path, "dvclive", "wandb", code=1, WANDB_BASE_URL=standin.url)
    assert "error: train.report_to: wandb: not logged in: run `wandb login`, or set WANDB_MODE=offline" in told
    assert "student: epoch" not in told


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["wandb"], "dvclive writes the curves"),
        (["dvclive", "tensorboard"], "Input should be 'dvclive' or 'wandb'"),
        ("wandb", "Input should be a valid list"),
    ],
)
def test_only_known_trackers_can_be_named_and_the_curves_cannot_be_left_out(value: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainParams.model_validate(PARAMS | {"report_to": value})


@pytest.mark.slow
@pytest.mark.usefixtures("restored")
def test_the_student_is_the_same_bytes_whoever_is_told_and_dvc_sees_no_file_of_wandb(clone: Path, first_run: str) -> None:
    before = {path: path.read_bytes() for folder in ("models/tinybert", "plots/train") for path in (clone / folder).iterdir()}
    output = small_run(clone, "train.report_to=[dvclive,wandb]", variables={"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false"})
    assert "train" in stages_run(output)
    assert "evaluate" not in stages_run(output)  # what it reads is the same
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(clone.glob("build/wandb/offline-run-*/run-*.wandb"))) == 1
    assert "wandb" not in sh(clone, "git", "status", "--short", "--untracked-files=all")
