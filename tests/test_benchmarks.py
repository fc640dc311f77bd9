"""The benchmarks run, on a small model: their figures are judged by people."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clones import Run, environment, sh
from small_models import LABELS, texts

from benchmarks import batch, inference
from benchmarks.inference import Rival, no_longer_than
from benchmarks.processes import run_measured
from benchmarks.training_step import PYTHON, REST, shares_of
from pipeline.errors import UserError
from pipeline.lock import folder_md5


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    for split, rows in (("train", 200), ("test", 120)):
        table = pa.table({"text": texts(rows, seed=rows), "label": [i % len(LABELS) for i in range(rows)]})
        pq.write_table(table, folder / f"{split}.parquet")
    (folder / "labels.json").write_text(json.dumps(LABELS))
    return folder


def last_line(module: str, *options: object, at: Path = Path()) -> dict[str, Any]:
    """Of what goes to stdout; progress goes to stderr."""
    command = [sys.executable, "-W", "error", "-m", f"benchmarks.{module}", *map(str, options)]
    done = subprocess.run(command, cwd=at, capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("| ") for line in lines)
    value: dict[str, Any] = json.loads(lines[-1])
    return value


@pytest.mark.slow
def test_inference_compares_with_its_rivals_and_ends_with_a_line_of_json(project: Path, prepared: Path) -> None:
    figures = last_line(
        "inference", "--quick", "--model", project / "models/onnx", "--checkpoint", project / "models/tinybert", "--data", prepared
    )
    wanted = {"speedup_vs_pipeline_p50", "p50_ms", "bulk_queries_per_second_per_core", "int8_agreement", "machine", "n"}
    assert wanted <= figures.keys()
    assert figures["model"] == folder_md5(project / "models/onnx")
    assert figures["int8_agreement"] is None or 0.5 < figures["int8_agreement"] <= 1
    assert figures["n"] == 50


def test_the_service_is_loaded_and_compared_with_its_bare_classifier(project: Path, prepared: Path) -> None:
    figures = last_line("service", "--quick", "--model", project / "models/onnx", "--data", prepared)
    assert figures["requests_per_second"] > 0
    assert figures["model"] == folder_md5(project / "models/onnx")
    assert figures["refused"] == 0
    assert figures["idle_p50_ms"] > figures["bare_p50_ms"] > 0


@pytest.mark.slow
def test_bulk_scoring_is_measured_by_rows_and_workers(project: Path, prepared: Path) -> None:
    figures = last_line("batch", "--quick", "--model", project / "models/onnx", "--data", prepared)
    runs = figures["runs"]
    assert figures["model"] == folder_md5(project / "models/onnx")
    assert [(run["rows"], run["workers"]) for run in runs] == [(1000, 1), (1000, 2), (2000, 1), (2000, 2)]
    assert all(run["rows_per_second"][0] > 0 and run["mib"][0] > 10 for run in runs)


def test_drift_is_simulated_with_and_without_a_cause(project: Path, prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("text\n" + "Quelle heure est-il donc ?\n" * 20)
    options = ["--draws", 2, "--model", project / "models/onnx", "--data", prepared, "--out-of-scope", tmp_path / "odd.csv"]
    told = last_line("drift_power", *options, "--output", tmp_path / "drift.json")
    assert told["n"] == 10
    assert told["false_alarms"]["50"] <= 0.2  # ten draws: one of them may be luck
    kept = json.loads((tmp_path / "drift.json").read_text())
    assert kept["model"] == folder_md5(project / "models/onnx")
    odd = next(row for row in kept["rows"] if row["cause"] == "out of scope" and row["share"] == 0.4)
    assert (odd["alarms"], odd["checks"]["unknown"]) == ({"50": 1.0}, 1.0)


def test_a_benchmark_without_its_data_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["batch", "--quick", "--rows", "10", "--data", str(tmp_path)])
    with pytest.raises(UserError) as error:
        batch.main()
    assert str(error.value) == f"{tmp_path}/test.parquet: no such file: run `make repro`, or `dvc pull {tmp_path}`"


def test_a_benchmark_without_its_model_is_one_line(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "hold_to_one_core", lambda: None)
    monkeypatch.setattr(sys, "argv", ["inference", "--data", str(prepared), "--model", str(tmp_path)])
    with pytest.raises(UserError, match=f"^{tmp_path}/manifest.json: no such file"):
        inference.main()


def test_queries_are_as_long_as_asked_for() -> None:
    counting = Rival("words", lambda text: len(text.split()), lambda texts: texts)
    texts, labels = ["a b c", "a", "a b"], ["three", "one", "two"]
    assert no_longer_than(texts, labels, counting, longest=2) == (["a", "a b"], ["one", "two"], 1.5)
    with pytest.raises(UserError, match="--longest 0: no query of the test split has so few word pieces: the shortest has 1"):
        no_longer_than(texts, labels, counting, longest=0)


def test_each_size_of_bulk_scoring_has_its_repetitions(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["batch", "--rows", "10", "20", "--repetitions", "1", "--data", str(prepared)])
    with pytest.raises(UserError, match=r"^--repetitions 1: give one number for each of the 2 sizes in --rows$"):
        batch.main()


@pytest.mark.slow
def test_teaching_is_timed_beside_the_ordinary_ways(clone: Path, first_run: Run) -> None:
    kept = clone / "metrics/reference/training.json"
    before = kept.read_bytes()
    figures = last_line("training", "--repetitions", 1, at=clone)
    assert figures["contenders"].keys() == {"distilled", "ordinary", "encoder", "linear"}
    assert 0 < figures["padding_waste"] < 0.2
    assert all(len(row["queries_per_second"]) == 1 for row in figures["contenders"].values())
    assert kept.read_bytes() == before  # nothing is kept that was not asked for


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("setfit") is None, reason="the extra `setfit` is not installed")
def test_setfit_trains_the_encoder_on_the_same_queries(clone: Path, first_run: Run, tmp_path: Path) -> None:
    sh(clone, "python", "-m", "benchmarks.training", "--contender", "setfit", "--result", str(tmp_path / "result.json"))
    told = json.loads((tmp_path / "result.json").read_text())
    assert told["validation_accuracy"] > 0.5  # of five intents
    assert told["queries_per_second"] > 0


@pytest.mark.slow
def test_a_step_is_taken_apart_and_its_parts_recorded(clone: Path, first_run: Run) -> None:
    figures = last_line("training_step", "--repetitions", 2, "--record", at=clone)
    assert json.loads((clone / "metrics/reference/training_step.json").read_text()) == figures
    sh(clone, "git", "restore", "metrics/reference/training_step.json")
    for repetition in range(2):
        assert sum(shares[repetition] for shares in figures["shares"].values()) == pytest.approx(1, abs=0.001)
        assert 0 < figures["share_of_peak"][repetition] < 1
    assert min(figures["shares"]["matrix products"]) > 0.02


def test_operators_are_sorted_into_parts_and_the_rest_is_python() -> None:
    shares = shares_of([("aten::mm", 2.0), ("aten::addmm", 1.0), ("Optimizer.step#AdamW.step", 0.5), ("aten::gelu", 0.5)], wall_s=8.0)
    assert (shares["matrix products"], shares["optimizer: AdamW, clipping"], shares[REST], shares[PYTHON]) == (0.375, 0.0625, 0.0625, 0.5)


def test_what_a_command_took_is_told_with_its_exit_code() -> None:
    ours = b"x" * (300 << 20)  # no part of what the command takes
    done = run_measured(
        [sys.executable, "-c", "import sys, time; x = b'x' * (100 << 20); time.sleep(0.2); sys.exit(3)"], subprocess.DEVNULL
    )
    assert done.code == 3
    assert 0.2 < done.seconds < 60
    assert 100 < done.peak_mib < 200 < len(ours) >> 20
