"""The comparison of recipes runs, on a few rows and a small encoder: its figures are judged by people."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterable
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from clones import sh
from scipy.stats import norm, t
from small_models import LABELS, make_tokenizer, texts, write_split
from transformers import BertConfig, BertModel

from benchmarks.levers.__main__ import main, plan
from benchmarks.levers.folds import FOLDS, Fold, deal, names_of
from benchmarks.levers.recipes import RECIPES
from benchmarks.levers.report import join, over_parts
from benchmarks.levers.tasks import Key, Work, plan_recipes, plan_shots, plan_suspects, work_folder
from pipeline.errors import UserError
from pipeline.features import Queries
from pipeline.metrics import over
from pipeline.params import read_params
from pipeline.recipe import TrainParams
from pipeline.tables.levers import TABLES
from pipeline.teach import TeachParams

ROWS, TEST_ROWS = 96, 12
SHAPE = {"layers": 2, "hidden": 16, "heads": 2, "intermediate": 32}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `featurize` leaves, the sample, a base encoder and quick params."""
    root = tmp_path_factory.mktemp("checkout")
    for folder in ("data/features/tokenizer", "data/raw", "data/sample"):
        (root / folder).mkdir(parents=True)
    write_split(root / "data/features", "train", range(ROWS))
    write_split(root / "data/features", "test", range(ROWS, ROWS + TEST_ROWS))
    (root / "data/features/labels.json").write_text(json.dumps(LABELS))
    make_tokenizer().save(str(root / "data/features/tokenizer/tokenizer.json"))
    (root / "data/features/tokenizer/vocab.txt").write_text("\n".join(make_tokenizer().get_vocab()))
    with (root / "data/sample/queries.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("text", "intent"), *zip(texts(8, seed=9), LABELS * 2, strict=True)])
    config = BertConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, max_position_embeddings=32
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(root / "data/raw/encoder")
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    params["teach"]["finetuned"] |= {"epochs": 1}
    params["train"] |= {"epochs": 2, "student": params["train"]["student"] | SHAPE}
    (root / "params.yaml").write_text(yaml.safe_dump({name: params[name] for name in ("teach", "train", "evaluate")}))
    return root


WHERE = ("--data", ".", "--work", "work", "--output", "levers.json")


def study(checkout: Path, *options: str) -> tuple[str, dict[str, Any]]:
    printed = sh(checkout, "python", "-m", "benchmarks.levers", *WHERE, *options, variables={"PYTHONPATH": str(Path.cwd())})
    return printed, figures(checkout)


def study_here(checkout: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """In this process: what learns would be started in others."""
    monkeypatch.setattr(sys, "argv", ["levers", *WHERE, *options])
    with chdir(checkout):
        main()


def figures(checkout: Path) -> dict[str, Any]:
    told = json.loads((checkout / "levers.json").read_text())
    assert {len(studies) for studies in told.values()} == {1}  # all of this machine
    return {section: studies[0] for section, studies in told.items()}


@pytest.mark.slow
def test_every_row_is_judged_once_by_each_recipe_and_what_is_done_stays_done(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipes = ["base", "attention", "average", "more", "unseen"]
    printed, told = study(checkout, "--shots", "--suspects", "finetuned0", *recipes)
    folds = told["folds"]
    assert (folds["judgements"], set(folds["recipes"])) == (ROWS, set(recipes))
    assert all(len(row["accuracy"]["each"]) == FOLDS for row in folds["recipes"].values())
    assert folds["recipes"]["base"]["against"]["change"] == 0
    suspects = told["suspects"]["learners"]["finetuned0"]
    assert set(suspects["acts"]) == {"dropped", "relabelled", "softened"}
    assert 0 < suspects["suspects"]["mean"] < 1
    assert folds["recipes"]["unseen"]["divergence"]["mean"] > 0
    assert all(folds["recipes"]["base"]["abstention"][key] > 0 for key in ("temperature", "threshold", "label_threshold"))
    assert [len(told["shots"]["draws"][shots]["student"]["each"]) for shots in ("5", "10")] == [3, 3]
    assert "to go" in printed
    study_here(checkout, monkeypatch, "--shots", "--suspects", "finetuned0", *recipes)
    assert "to go" not in capsys.readouterr().out
    assert figures(checkout) == told
    assert {section: TABLES[section][1](told[section]).count("\n| ") for section in told} == {"folds": 6, "suspects": 5, "shots": 6}
    more = study(checkout, "--work", "elsewhere", "--thirds", "base", "no_hidden")[1]
    judge_what_a_third_taught(more.pop("thirds"))
    assert more == told  # of the studies before, not made again


def judge_what_a_third_taught(thirds: dict[str, Any]) -> None:
    """Each row by those that did not learn from it."""
    assert (thirds["judgements"], set(thirds["recipes"])) == (2 * ROWS, {"base", "no_hidden"})
    assert "the two students that did not learn from it" in TABLES["thirds"][1](thirds)


@pytest.mark.slow
def test_the_test_split_is_scored_once_a_seed_beside_the_teachers(checkout: Path) -> None:
    _, told = study(checkout, "--final", "base", "--seeds", "2")
    student = told["final"]["students"]["base"]
    assert sorted(student["seeds"]) == [42, 43]
    assert told["final"]["queries"] == TEST_ROWS
    assert {"bag_of_words", "base_encoder", "finetuned0", "product", "wider"} <= told["final"]["teachers"].keys()
    assert len(student["against_teachers"]["product"]) == 2
    assert all(0 <= student[part]["mean"] <= 1 for part in ("accuracy", "macro_f1", "without_twins", "sample"))
    assert student["divergence"]["mean"] > 0
    assert len(told["final"]["commits"]) == 1


def test_what_other_params_or_another_recipe_gave_is_no_result(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = checkout / "params.yaml"
    work = Work(checkout, tmp_path, read_params("teach", TeachParams, params), read_params("train", TrainParams, params))
    shorter = replace(work, train=work.train.model_copy(update={"epochs": 1}))
    assert work_folder(tmp_path, work) == work_folder(tmp_path, replace(work, folder=tmp_path / "x"))
    assert work_folder(tmp_path, work) != work_folder(tmp_path, shorter)
    work.keep(Key("fold0", "student", "base", 42), {"accuracy": 0.5})
    work.keep(Key("fold0", "teach", "bag_of_words"), {"seconds": 1.0})
    assert set(work.done()) == {Key("fold0", "student", "base", 42), Key("fold0", "teach", "bag_of_words")}
    monkeypatch.setitem(RECIPES, "base", replace(RECIPES["base"], copies=12))
    assert set(work.done()) == {Key("fold0", "teach", "bag_of_words")}


def test_what_is_kept_is_found_again_under_its_key_with_the_commit_that_made_it(checkout: Path, tmp_path: Path) -> None:
    params = checkout / "params.yaml"
    work = Work(checkout, tmp_path, read_params("teach", TeachParams, params), read_params("train", TrainParams, params), "abc")
    tasks = [*plan_suspects("finetuned0"), *plan_shots(), *plan_recipes(["unseen"], names_of("thirds"))]
    keys = list(dict.fromkeys(key for task in tasks for key in (*task.needs, task.key)))
    for number, key in enumerate(keys):
        work.keep(key, {"number": number})
    assert {key: entry["result"]["number"] for key, entry in work.done().items()} == {key: number for number, key in enumerate(keys)}
    assert {entry["commit"] for entry in work.done().values()} == {"abc"}


def test_what_a_task_needs_is_planned_before_it_and_nothing_twice() -> None:
    args = argparse.Namespace(shots=True, final="unseen", seeds=2, suspects="finetuned0", thirds=False, recipes=["wider", "unseen"])
    planned = [task.key for task in plan(args)]
    assert len(set(planned)) == len(planned)
    assert all(planned.index(need) < planned.index(task.key) for task in plan(args) for need in task.needs)


def judged_by(rows: Iterable[int]) -> Fold:
    """A part that rows of class 0 judge."""
    names = [str(row) for row in rows]
    held = Queries(names, names, [np.array([0])] * len(names), np.zeros(len(names), dtype=np.int64))
    return Fold("", held, held, held, held, np.zeros(len(names)), LABELS, 0)


def answers(rows: int, wrong: int) -> dict[str, Any]:
    return {"predicted": [1] * wrong + [0] * (rows - wrong), "accuracy": 1 - wrong / rows}


def test_parts_that_agree_by_luck_leave_the_luck_of_the_rows() -> None:
    folds = [judged_by(range(100 * part, 100 * part + 100)) for part in range(3)]
    told = over_parts(folds, [answers(100, 10)] * 3, [answers(100, 9)] * 3)
    assert told["each"] == [0.01] * 3
    assert told["low"] < 0 < told["change"] < told["high"]
    assert told["p"] == pytest.approx(2 * norm.sf(0.01 / (np.sqrt(0.01 * 0.99) / np.sqrt(299))), abs=1e-6)


def test_a_row_that_several_parts_judge_counts_once() -> None:
    once, thrice = [judged_by(range(100 * part, 100 * part + 100)) for part in range(3)], [judged_by(range(100))] * 3
    widths = [(told := over_parts(folds, [answers(100, 10)] * 3, [answers(100, 9)] * 3))["high"] - told["low"] for folds in (once, thrice)]
    assert widths[1] == pytest.approx(np.sqrt(3) * widths[0], rel=0.01)


def test_parts_that_differ_widen_the_interval_beyond_that_of_the_rows() -> None:
    folds = [judged_by(range(1000 * part, 1000 * part + 1000)) for part in range(3)]
    told = over_parts(folds, [answers(1000, 100)] * 3, [answers(1000, wrong) for wrong in (100, 50, 0)])
    assert (told["change"], told["p"]) == (0.05, pytest.approx(2 * t.sf(np.sqrt(3), 2), abs=1e-6))
    assert told["high"] == pytest.approx(0.05 + t.ppf(0.975, 2) * 0.05 / np.sqrt(3), abs=1e-6)


@pytest.mark.parametrize(("versions", "told"), [({}, "a GPU, bf16, versions not recorded."), ({"torch": "2"}, "a GPU, bf16.")])
def test_a_study_without_versions_says_so(versions: dict[str, str], told: str) -> None:
    study = {"draws": {"5": {"student": over([0.5, 0.6])}}, "machines": [{"gpu": "a GPU", "precision": "bf16"} | versions]}
    assert TABLES["shots"][1](study).rstrip().endswith(told)


def test_studies_of_other_machines_stay() -> None:
    one, other = ({"machines": [{"cpu": name}], "judgements": 1} for name in ("one", "other"))
    told = join({"folds": [one, other], "shots": [one]}, {"folds": one | {"judgements": 2}, "shots": {}, "thirds": one})
    assert told == {"folds": [other, one | {"judgements": 2}], "shots": [one], "thirds": [one]}


def test_a_recipe_that_does_not_exist_is_one_line(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^bse: no such recipe: choose among base, .*$"):
        study_here(checkout, monkeypatch, "bse")


def test_each_labels_rows_are_dealt_out_evenly() -> None:
    labels = np.array([0] * 10 + [1] * 5)
    parts = deal(labels, 3, seed=1)
    for label in (0, 1):
        counts = np.bincount(parts[labels == label], minlength=3)
        assert len(counts) == 3
        assert counts.max() - counts.min() <= 1
    assert (deal(labels, 3, seed=1) == parts).all()
    assert (deal(labels, 3, seed=2) != parts).any()
