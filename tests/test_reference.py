from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from clones import sh

from pipeline.compose import compose
from pipeline.errors import UserError
from pipeline.reference import (
    BANKING77,
    PLANS,
    RUNS,
    average_seconds,
    count_scorings,
    differences,
    name_folder_for_clones,
    run_seed,
    summarize,
)


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


def ran(seed: int, student: float, teacher: float, mib: int) -> dict[str, Any]:
    """What a run of one seed leaves; on other queries each model is right 0.1 and 0.2 less often."""
    figures = {"tinybert": (student, 14), "teacher": (teacher, 48)}
    return {
        "commit": "abc",
        "seed": seed,
        "lock_sha256": f"lock of {seed}",
        "evaluate": {name: {"accuracy": value, "macro_f1": value / 2, "parameters": size} for name, (value, size) in figures.items()},
        "differences": {"teacher": {"accuracy": {"change": student - teacher}}},
        **{
            part: {"queries": 9, "accuracy": {name: value - less for name, (value, _) in figures.items()}}
            for part, less in (("without_twins", 0.1), ("sample", 0.2))
        },
        "wall_seconds": {"train": 10.0 * student},
        "peak_rss_mib": mib,
    }


def test_the_result_of_several_seeds_is_gathered_from_their_runs(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/machine.json").write_text(json.dumps({"cpu": "a", "threads": 2, "precision": "fp32"}))
    (tmp_path / "params.yaml").write_text("train: {seed: 43}")
    plan = replace(PLANS[BANKING77], result=tmp_path / "banking77.json")
    before = {"cpu": "a", "wall_seconds": {"teach": 50.0}, "test_scorings": 3, "scored_locks": ["lock of 42"]}
    plan.result.write_text(json.dumps(before))
    told = summarize(tmp_path, "abc", plan, [ran(42, 0.6, 0.9, 100), ran(43, 0.8, 0.9, 80)])
    student, teacher = told["models"]["tinybert"], told["models"]["teacher"]
    assert student["accuracy"] == {"mean": 0.7, "std": 0.141421, "each": [0.6, 0.8]}
    assert student["macro_f1"] == {"mean": 0.35, "std": 0.070711, "each": [0.3, 0.4]}
    assert (student["parameters"], teacher["parameters"], teacher["accuracy"]["each"]) == (14, 48, [0.9])  # one teacher for all seeds
    for part, each in (("without_twins", [0.5, 0.7]), ("sample", [0.4, 0.6])):
        assert (told[part]["queries"], told[part]["accuracy"]["tinybert"]["each"]) == (9, each)
    assert [row["teacher"]["accuracy"]["change"] for row in told["differences_per_seed"]] == pytest.approx([-0.3, -0.1])
    assert (told["command"], told["commit"], told["cpu"]) == ("make banking77 SEEDS=2", "abc", "a")
    assert (told["seeds"], told["lock_sha256_per_seed"]) == ([42, 43], ["lock of 42", "lock of 43"])
    assert (told["wall_seconds"], told["peak_rss_mib"]) == ({"teach": 50.0, "train": 7.0}, 100)
    assert told["test_scorings"] == 4
    assert told["params"] == {"train": {"seed": 43}}
    plan.result.write_text(json.dumps(before | {"cpu": "b"}))
    alone = summarize(tmp_path, "abc", plan, [ran(42, 0.6, 0.9, 100)])
    assert alone["wall_seconds"] == {"train": 6.0}  # another CPU's cost is no cost here


@pytest.mark.parametrize("seeds", ["0", "101"])
def test_a_number_of_seeds_that_cannot_be_run_is_refused(seeds: str) -> None:
    told = sh(Path(), "python", "-m", "pipeline.reference", "--seeds", seeds, code=2)
    assert told.endswith(f"error: --seeds {seeds}: must be between 1 and 100\n")


def test_a_seed_that_ran_at_the_same_commit_is_read_and_one_of_another_commit_runs_again(tmp_path: Path) -> None:
    file = tmp_path / RUNS / "42.json"
    file.parent.mkdir(parents=True)
    done = ran(42, 0.6, 0.9, 100)
    file.write_text(json.dumps(done))
    assert run_seed(tmp_path, "abc", "sample", 42) == done
    with pytest.raises(UserError, match=r"python -m pipeline\.compose data=sample featurize\.seed=42 .*: exit code 1"):
        run_seed(tmp_path, "def", "sample", 42)  # it begins: here there is nothing to compose
