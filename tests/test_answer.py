from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from pipeline.lock import folder_md5
from pipeline.onnx_session import multiplies_bytes
from pipeline.serving.classifier import Classifier
from pipeline.serving.predictions import Predictions
from pipeline.tables.answer import TEXT, answer
from pipeline.tables.blocks import render

WRITTEN = "<!-- generated: answer -->\nwhat was there\n<!-- end -->\n"


@pytest.fixture
def locked(onnx_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a model that its lock names."""
    shutil.copytree(onnx_folder, tmp_path / "models/onnx")
    out = {"path": "models/onnx", "md5": folder_md5(onnx_folder)}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"export": {"cmd": "x", "outs": [out]}}}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(not multiplies_bytes(), reason="this CPU runs the other graph")
def test_the_example_is_what_the_service_answers(locked: Path) -> None:
    told = json.loads(re.findall(r"```json\n(.+?)```", answer(), re.DOTALL)[0])
    shown = Predictions.model_validate(told)
    assert shown.model_dump() == told
    (expected,) = Classifier.load(locked / "models/onnx").answer([TEXT])
    assert shown.predictions[0].label == expected.label
    assert shown.predictions[0].confidence == pytest.approx(expected.confidence, abs=1e-4)
    assert TEXT in answer()


def test_without_the_locked_model_the_example_stays_as_it_is(locked: Path) -> None:
    shutil.copy(locked / "models/onnx/labels.json", locked / "models/onnx/more.json")
    assert render(WRITTEN) == WRITTEN
    shutil.rmtree(locked / "models")
    assert render(WRITTEN) == WRITTEN
    assert "`make repro`" in render("<!-- generated: answer -->\n<!-- end -->\n")  # as a merge leaves it
