from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.tables import results
from pipeline.tables.cells import another_model

PARAMS = "fetch: {train: mine.csv}\nteach: {seed: 42}\ntrain: {targets: soft, epochs: 7, seed: 42}\n"


@pytest.mark.parametrize(
    ("before", "now", "is_told"),
    [("seed: 42", "seed: 45", True), ("mine.csv", "other.csv", False), ("epochs: 7", "epochs: 8", False)],
)
def test_the_spread_of_seeds_is_told_of_the_recipe_it_was_measured_of_alone(
    before: str, now: str, is_told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = {"accuracy": {"mean": 0.855, "std": 0.006, "each": [0.861, 0.849]}, "macro_f1": {"mean": 0.85, "std": 0.007, "each": [0, 0]}}
    params = {"fetch": {"train": "mine.csv"}, "teach": {"seed": 42}, "train": {"targets": "soft", "epochs": 7, "seed": 42}}
    run = {"command": "make seeds", "params": params, "varied": ["teach.seed", "train.seed"]}
    (tmp_path / "seeds.json").write_text(json.dumps(run | {"models": {"tinybert": figures, "teacher": figures}}))
    (tmp_path / "params.yaml").write_text(PARAMS.replace(before, now))
    monkeypatch.setattr(results, "SEEDS", tmp_path / "seeds.json")
    monkeypatch.setattr(results, "PARAMS_FILE", tmp_path / "params.yaml")
    told = results.results_and_seeds()
    assert told.startswith(results.results())
    assert ("85.50 ± 0.60 and 85.00 ± 0.70 (student)" in told) == is_told


def test_the_noise_floor_is_worked_out_before_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy("pyproject.toml", tmp_path)
    (tmp_path / "metrics/reference").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert results.noise_floor() == "Not measured yet: `make seeds`.\n"
    figures = {metric: {"each": [0.85, 0.86, 0.87]} for metric in ("accuracy", "macro_f1")}
    run = {"seeds": [42, 43, 44], "params": {"fetch": {"train": "data/sample/queries.csv"}}, "models": {"tinybert": figures}}
    (tmp_path / "metrics/reference/seeds.json").write_text(json.dumps(run))
    told = "deviation of 1.00 points over 3 seeds (`metrics/reference/seeds.json`), so the floor is 4.30 · √2 · 1.00 = 6.1 points"
    assert told in results.noise_floor()


def test_figures_of_another_model_than_the_locked_one_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dvc.lock").write_text("stages: {export: {cmd: x, outs: [{path: models/onnx, md5: a.dir}]}}")
    monkeypatch.chdir(tmp_path)
    assert another_model({"model": "a.dir"}) == ""
    assert another_model({"model": "b.dir"}) == " Measured with another model than the current one."
    assert another_model({}) == " The model was not recorded."
