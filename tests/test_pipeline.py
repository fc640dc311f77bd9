"""A real, tiny pipeline in a temporary clone: the commands a user runs."""

from __future__ import annotations

import csv
import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from clones import INTENTS, ROWS, STAGES, Run, restore, sh, small_overrides, small_run, stages_run, users_csv
from hub_standin import serve
from scipy.special import softmax
from toys import opened
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertModel

from pipeline.calibration import fit_temperature
from pipeline.encoders import ENCODERS
from pipeline.ensemble import PRODUCT, Ensemble
from pipeline.features import read_queries, read_split
from pipeline.inference import run_batches
from pipeline.runtime import resolve_precision
from pipeline.serving.classifier import Classifier
from pipeline.student import load_student


def test_all_stages_run_in_order_on_a_users_own_csv(clone: Path, first_run: Run) -> None:
    assert stages_run(first_run.output) == STAGES
    assert "augmented copies: 1 of each query; train.copies_per_epoch can ask for no more" in first_run.output
    labels = json.loads((clone / "data/prepared/labels.json").read_text())
    assert labels == sorted(INTENTS)
    report = json.loads((clone / "metrics/evaluate.json").read_text())
    assert list(report) == ["tinybert", "teacher", "teacher_finetuned", "base_encoder", "bag_of_words"]
    assert report["base_encoder"]["accuracy"] > 0.6  # five unlike intents: a baseline that knows nothing would have 0.2
    assert report["teacher_finetuned"]["accuracy"] > 0.4  # of an epoch or two
    keys = {f"{name}{end}" for name in ("accuracy", "macro_f1", "top3_accuracy", "nll", "ece") for end in ("", "_low", "_high")}
    assert set(report["tinybert"]) == keys | {"parameters"}


def test_predictions_name_rows_of_the_users_file(clone: Path, first_run: Run) -> None:
    with users_csv(clone).open(encoding="utf-8", newline="") as handle:
        lines = [None, *csv.reader(handle)]  # line numbers count from 1; no text spans lines
    with (clone / "metrics/predictions.csv").open(encoding="utf-8", newline="") as handle:
        predictions = list(csv.DictReader(handle))
    assert len(predictions) == len(INTENTS) * ROWS / 5
    for row in predictions:
        assert lines[int(row["id"].removeprefix("train.csv:"))][1] == row["label"]


def test_the_checkpoint_loads_with_stock_transformers(clone: Path, first_run: Run) -> None:
    folder = clone / "models/tinybert"
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(model).__name__ == "BertForSequenceClassification"
    assert model.config.id2label == dict(enumerate(sorted(INTENTS)))
    assert model.num_parameters() < 15_000_000
    batch = tokenizer("I forgot my PIN, can I choose another one?", return_tensors="pt", truncation=True)
    assert model(**batch).logits.shape == (1, 5)
    assert tokenizer.model_max_length == 64
    assert len(tokenizer("word " * 500, truncation=True)["input_ids"]) == 64
    assert not list(folder.glob("*.bin"))


def test_the_readmes_lines_answer_a_text_longer_than_any_bert_reads(clone: Path, first_run: Run) -> None:
    (lines,) = re.findall(
        r"```python\n(from transformers import pipeline\n.*?)```", Path("README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    query = "Can I choose another PIN in the app?"
    assert query in lines
    script = lines.replace(query, "card " * 600).replace("\nclassify(", "\nanswer = classify(")
    told = sh(clone, "python", "-c", f"{script}\nprint(answer)")
    assert any(intent in told for intent in INTENTS)


def test_soft_targets_are_the_teachers_opinion_of_the_row_they_stand_in(clone: Path, first_run: Run) -> None:
    ensemble = Ensemble.load(clone / "models/teacher", clone / "data/raw/encoder")
    for name in ("train", "augmented"):
        queries, log_p = read_queries(clone / "data/features", f"{name}.parquet"), np.load(clone / f"data/soft_targets/{name}.npy")
        expected = ensemble.log_probabilities(queries, resolve_precision("auto"))[PRODUCT]
        np.testing.assert_allclose(log_p, expected, atol=0.05)
        assert np.abs(log_p - expected[::-1]).max() > 1


def test_confidences_are_calibrated_by_the_temperature_that_train_found(clone: Path, first_run: Run) -> None:
    student, temperature = load_student(clone / "models/tinybert")
    assert temperature == json.loads((clone / "metrics/train.json").read_text())["temperature"] != 1
    validation, labels = read_split(clone / "data/features", "validation")
    assert temperature == pytest.approx(fit_temperature(run_batches(student, validation.ids, "fp32"), labels), abs=1e-3)
    queries, _ = read_split(clone / "data/features", "test")
    p_NC = softmax(run_batches(student, queries.ids, "fp32") / temperature, axis=1)
    with (clone / "metrics/predictions.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["id"] for row in rows] == queries.names
    assert [float(row["confidence"]) for row in rows] == pytest.approx(p_NC.max(axis=1).tolist(), abs=1e-5)


def test_train_does_not_calibrate_on_rows_that_it_learns_from(clone: Path, first_run: Run, tmp_path: Path) -> None:
    shutil.copytree(clone / "data/features", tmp_path / "features")
    splits = [pq.read_table(tmp_path / f"features/{split}.parquet") for split in ("train", "validation")]
    (tmp_path / "features/train.parquet").unlink()  # linked to DVC's cache, it may be read-only
    pq.write_table(pa.concat_tables(splits), tmp_path / "features/train.parquet")
    places = {"soft-targets": "data/soft_targets", "teacher": "models/teacher", "student-encoder": "data/raw/student_encoder"}
    places |= {"features": tmp_path / "features"} | {name: tmp_path / name for name in ("model", "metrics", "machine", "plots")}
    options = [str(word) for name, place in places.items() for word in (f"--{name}", place)]
    assert sh(clone, "python", "-m", "pipeline.train", *options, code=1).startswith(
        "error: params.yaml: train.calibration_temperature: null: "
    )
    assert not (tmp_path / "model").exists()


def test_the_exported_graphs_are_what_their_manifest_says(clone: Path, first_run: Run) -> None:
    classifier = Classifier.load(clone / "models/onnx")
    assert classifier.labels == tuple(sorted(INTENTS))
    assert classifier.answer(["I forgot my PIN, can I choose another one?"])[0].confidence > 0.2
    metrics = json.loads((clone / "metrics/export.json").read_text())
    assert metrics["fp32"]["agreement"] == 1
    assert metrics["checkpoint"]["accuracy"] == json.loads((clone / "metrics/evaluate.json").read_text())["tinybert"]["accuracy"]


def test_plots_are_data_and_pictures(clone: Path, first_run: Run) -> None:
    pictures = {path.name for path in (clone / "plots").rglob("*.png")}
    student = {"f1_by_intent.png", "confusions.png", "reliability.png", "risk_coverage.png"}
    assert pictures == student | {"curves.png", "accuracy_by_size.png"}
    assert "index.html" in sh(clone, "dvc", "plots", "show")


def test_a_second_run_does_nothing(clone: Path, first_run: Run) -> None:
    assert stages_run(sh(clone, "dvc", "repro")) == []


@pytest.mark.slow
@pytest.mark.usefixtures("restored")
def test_a_change_of_train_runs_train_and_what_follows_alone_and_shows_in_the_metrics(clone: Path, first_run: Run) -> None:
    params = yaml.safe_load((clone / "params.yaml").read_text())
    params["train"]["learning_rate"] = 0.001
    (clone / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    assert stages_run(sh(clone, "dvc", "repro")) == ["train", "evaluate", "export"]
    assert "train.learning_rate" in sh(clone, "dvc", "params", "diff")
    assert "metrics/evaluate.json" in sh(clone, "dvc", "metrics", "diff")
    made = {path: (clone / path).read_bytes() for path in ("metrics/evaluate.json", "metrics/predictions.csv", "plots/train/curves.png")}
    restore(clone)
    (clone / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    assert stages_run(sh(clone, "dvc", "repro")) == []  # the run cache knows this run
    assert {path: (clone / path).read_bytes() for path in made} == made


@pytest.mark.slow
@pytest.mark.usefixtures("restored")
def test_a_student_can_do_without_its_teachers(clone: Path, first_run: Run) -> None:
    measured = clone / "metrics/train.json"
    with_copies = json.loads(measured.read_text())["steps"]
    assert stages_run(small_run(clone, "student=scratch", "train.targets=hard", stage="train")) == ["train"]
    assert json.loads(measured.read_text())["steps"] < with_copies  # labels are of queries, not of their copies


@pytest.mark.slow
@pytest.mark.usefixtures("restored")
def test_a_bad_override_is_a_line_not_a_traceback(clone: Path, first_run: Run) -> None:
    """By whom it is refused: Hydra, which knows no such key and no such choice; a stage. What a stage refuses is in test_params.py."""
    for override, message in (
        ("train.learning_rat=1", "learning_rat"),
        ("student=elephant", "elephant"),
        ("train.learning_rate=-1", "train.learning_rate: -1: input should be greater than 0"),
    ):
        assert message in small_run(clone, override, code=255)


@pytest.mark.slow
@pytest.mark.usefixtures("restored")
def test_a_queued_sweep_runs_shows_and_applies(clone: Path, first_run: Run) -> None:
    knob = "evaluate.calibration_bins"  # a change that costs one stage
    queued = sh(clone, "dvc", "exp", "run", "--queue", *small_overrides(clone, f"{knob}=10,12"))
    names = re.findall(r"Queued experiment '([\w-]+)'", queued)
    assert len(names) == 2
    sh(clone, "dvc", "queue", "start", "-j", "1")
    deadline = time.monotonic() + 240
    with opened(clone) as repo:  # asked here: a process each time would take the cores from what it waits for
        while {row["status"] for row in repo.experiments.celery_queue.status()} & {"Queued", "Running"}:
            assert time.monotonic() < deadline
            time.sleep(0.5)
    status = sh(clone, "dvc", "queue", "status")
    assert status.count("Success") == 2, status
    shown = list(csv.DictReader(sh(clone, "dvc", "exp", "show", "--csv").splitlines()))
    bins = {row["Experiment"]: row[knob] for row in shown if row["Experiment"] in names}
    assert sorted(bins.values()) == ["10", "12"]
    sh(clone, "dvc", "exp", "apply", names[1])
    assert str(yaml.safe_load((clone / "params.yaml").read_text())["evaluate"]["calibration_bins"]) == bins[names[1]]
    assert knob in sh(clone, "dvc", "params", "diff")
    assert "index.html" in sh(clone, "dvc", "plots", "diff")


@pytest.mark.slow
@pytest.mark.usefixtures("restored")
def test_the_hubs_tinybert_goes_from_a_hub_to_a_checkpoint(clone: Path, first_run: Run, tmp_path: Path) -> None:
    encoder = ENCODERS["TinyBERT_General_4L_312D"]
    served = tmp_path / encoder.repository
    served.mkdir(parents=True)
    vocabulary = (clone / "data/raw/encoder/vocab.txt").read_bytes()
    config = BertConfig(hidden_size=312, num_hidden_layers=4, intermediate_size=1200, vocab_size=len(vocabulary.split()))
    pretrained = BertModel(config)
    config.save_pretrained(served)
    torch.save({f"bert.{name}": value for name, value in pretrained.state_dict().items()}, served / "pytorch_model.bin")
    (served / "vocab.txt").write_bytes(vocabulary)
    with serve(tmp_path, encoder.revision) as hub:
        variables = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
        output = small_run(clone, "student=tinybert_hub", stage="train", variables=variables)
    assert stages_run(output) == ["fetch", "train"]
    assert f"TinyBERT_General_4L_312D: from the hub, revision {encoder.revision[:12]}" in output
    student = AutoModelForSequenceClassification.from_pretrained(clone / "models/tinybert")
    unseen = vocabulary.split().index(b"archipelago")
    assert torch.equal(student.bert.embeddings.word_embeddings.weight[unseen], pretrained.embeddings.word_embeddings.weight[unseen])
