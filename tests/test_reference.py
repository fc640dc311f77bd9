from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from pipeline.compose import compose
from pipeline.reference import BANKING77, PLANS, average_seconds, count_scorings, differences, name_folder_for_clones


def test_every_new_lock_is_one_more_scoring_of_the_test_split_however_often_a_run_goes_on() -> None:
    told = count_scorings(["a", "b"], {})
    assert told == {"test_scorings": 2, "scored_locks": ["a", "b"]}
    for locks in (["a"], ["a", "b"], ["a"]):  # the same run again: its seeds come back one by one
        told = count_scorings(locks, told | {"lock_sha256_per_seed": locks})
        assert told == {"test_scorings": 2, "scored_locks": ["a", "b"]}
    assert count_scorings(["c"], told)["test_scorings"] == 3
    assert count_scorings(["a", "c"], {"lock_sha256_per_seed": ["a", "b"], "test_scorings": 7})["test_scorings"] == 8


def test_a_stage_that_no_run_had_to_run_costs_what_it_did_before() -> None:
    runs = [{"wall_seconds": {"train": 10.0, "evaluate": 2.0}}, {"wall_seconds": {"train": 20.0}}]
    before = {"wall_seconds": {"teach": 50.0, "train": 99.0}}
    assert average_seconds(runs, before) == {"teach": 50.0, "train": 15.0, "evaluate": 2.0}
    assert average_seconds(runs, {}) == {"train": 15.0, "evaluate": 2.0}


@pytest.mark.parametrize(
    ("data", "varied", "shared"),
    [
        ("sample", {"featurize", "teach", "train"}, {"tinybert": False, "teacher": False}),
        (BANKING77, {"train"}, {"tinybert": False, "teacher": True}),
    ],
)
def test_a_seed_of_the_sample_is_that_of_copies_teachers_and_student_and_never_of_the_split(
    data: str, varied: set[str], shared: dict[str, bool], tmp_path: Path
) -> None:
    compose(PLANS[data].of_seed(43), tmp_path / "params.yaml")
    params = yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))
    assert {stage for stage, values in params.items() if values.get("seed") == 43} == varied
    figures = {model: PLANS[data].over_seeds(model, [0.5, 0.7])["each"] for model in shared}
    assert figures == {model: [0.5] if one else [0.5, 0.7] for model, one in shared.items()}


def test_the_folder_of_the_data_is_found_from_the_clone_that_the_stages_run_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BANKING77_DIR", "data/mine")
    name_folder_for_clones()
    assert os.environ["BANKING77_DIR"] == str(tmp_path / "data/mine")
    monkeypatch.delenv("BANKING77_DIR")
    name_folder_for_clones()
    assert "BANKING77_DIR" not in os.environ


def test_the_student_is_compared_with_each_other_model_on_the_same_queries() -> None:
    rows = [
        {"id": str(i), "label": "a" if i % 2 else "b", "predicted": "a" if i % 2 else "b", "confidence": "1", "worst": "a", "equal": "a"}
        for i in range(40)
    ]
    for row in rows:
        row["equal"] = row["predicted"]
    told = differences(rows)
    assert told["equal"]["accuracy"] == {"change": 0.0, "low": 0.0, "high": 0.0, "mcnemar_p": 1.0}
    assert told["worst"]["accuracy"]["change"] == 0.5
    assert told["worst"]["accuracy"]["mcnemar_p"] == pytest.approx(2 * 0.5**20)
    assert "mcnemar_p" not in told["worst"]["macro_f1"]
