"""The comparison of recipes runs, on a few rows and a small encoder: its figures are judged by people."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from clones import sh
from small_models import LABELS, make_tokenizer, texts, write_split
from transformers import BertConfig, BertModel

from benchmarks.levers.folds import FOLDS, deal
from benchmarks.levers.recipes import RECIPES
from benchmarks.levers.report import join
from benchmarks.levers.tasks import Task, Work, work_folder
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


def study(checkout: Path, *options: str, code: int = 0) -> tuple[str, dict[str, Any]]:
    printed = sh(
        checkout,
        *("python", "-m", "benchmarks.levers", "--data", ".", "--work", "work", "--output", "levers.json", *options),
        code=code,
        variables={"PYTHONPATH": str(Path.cwd())},
    )
    if code:
        return printed, {}
    told = json.loads((checkout / "levers.json").read_text())
    assert {len(studies) for studies in told.values()} == {1}  # all of this machine
    return printed, {section: studies[0] for section, studies in told.items()}


@pytest.mark.slow
def test_every_row_is_judged_once_by_each_recipe_and_what_is_done_stays_done(checkout: Path) -> None:
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
    again, same = study(checkout, "--shots", "--suspects", "finetuned0", *recipes)
    assert "to go" in printed
    assert "to go" not in again
    assert same == told
    assert {section: TABLES[section][1](told[section]).count("\n| ") for section in told} == {"folds": 6, "suspects": 5, "shots": 6}
    kept = study(checkout, "--work", "elsewhere", "no_hidden")[1]
    assert list(kept["folds"]["recipes"]) == ["no_hidden"]
    assert (kept["shots"], kept["suspects"]) == (told["shots"], told["suspects"])  # of the study before, not made again


@pytest.mark.slow
def test_a_third_of_the_rows_is_learnt_from_and_the_others_judge(checkout: Path) -> None:
    thirds = study(checkout, "--thirds", "base", "no_hidden")[1]["thirds"]
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


def test_what_other_params_or_another_recipe_gave_is_no_result(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = checkout / "params.yaml"
    work = Work(checkout, tmp_path, read_params("teach", TeachParams, params), read_params("train", TrainParams, params))
    shorter = replace(work, train=work.train.model_copy(update={"epochs": 1}))
    assert work_folder(tmp_path, work) == work_folder(tmp_path, replace(work, folder=tmp_path / "x"))
    assert work_folder(tmp_path, work) != work_folder(tmp_path, shorter)
    work.keep(Task("fold0", "student", "base", 42), {"accuracy": 0.5})
    work.keep(Task("fold0", "teach", "bag_of_words"), {"seconds": 1.0})
    assert work.finished() == {"fold0/student/base/42", "fold0/teach/bag_of_words/0"}
    monkeypatch.setitem(RECIPES, "base", replace(RECIPES["base"], copies=12))
    assert work.finished() == {"fold0/teach/bag_of_words/0"}


def test_studies_of_other_machines_stay() -> None:
    one, other = ({"machines": [{"cpu": name}], "judgements": 1} for name in ("one", "other"))
    told = join({"folds": [one, other], "shots": [one]}, {"folds": one | {"judgements": 2}, "shots": {}, "thirds": one})
    assert told == {"folds": [other, one | {"judgements": 2}], "shots": [one], "thirds": [one]}


def test_a_recipe_that_does_not_exist_is_one_line(checkout: Path) -> None:
    assert study(checkout, "bse", code=1)[0].startswith("error: bse: no such recipe: choose among base, ")


def test_each_labels_rows_are_dealt_out_evenly() -> None:
    labels = np.array([0] * 10 + [1] * 5)
    parts = deal(labels, 3, seed=1)
    for label in (0, 1):
        counts = np.bincount(parts[labels == label], minlength=3)
        assert len(counts) == 3
        assert counts.max() - counts.min() <= 1
    assert (deal(labels, 3, seed=1) == parts).all()
    assert (deal(labels, 3, seed=2) != parts).any()
