"""The service around a small exported model, from the command line to the answer."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from clones import Run, sh
from scipy.special import softmax
from services import Service, serve
from small_models import LABELS, texts

from pipeline.errors import UserError
from pipeline.features import read_split
from pipeline.inference import run_batches
from pipeline.serve import check_address
from pipeline.student import load_student

# What every Python process runs at its start, if it is on the path: notes each attempt to reach another machine.
WATCH = """
import os, sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        with open(os.environ["WATCHED"], "a") as log:
            log.write(f"{event} {arguments[-1]}\\n")
sys.addaudithook(watch)
"""


@pytest.fixture(scope="module")
def model(project: Path) -> Path:
    return project / "models/onnx"


@pytest.fixture(scope="module")
def service(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("serve")
    (folder / "sitecustomize.py").write_text(WATCH)
    variables = {"PYTHONPATH": f"{folder}:{Path.cwd()}", "WATCHED": str(folder / "watched")}
    with serve(folder, model=model, variables=variables) as running:
        yield running


def infer(service: Service, data: list[str], **more: object) -> dict[str, list[object]]:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(data)], "data": data}
    answer = service.post("/v2/models/tinybert/infer", {"id": "7", "inputs": [tensor], **more})
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == "7"
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def test_answers_are_those_of_evaluate_for_the_same_rows(service: Service, project: Path) -> None:
    queries, _ = read_split(project / "data/features", "test")
    student, temperature = load_student(project / "models/tinybert")
    expected_NC = softmax(run_batches(student, queries.ids, "fp32") / temperature, axis=1)
    predictions = service.predict(*queries.texts).json()["predictions"]
    assert [row["label"] for row in predictions] == [LABELS[i] for i in expected_NC.argmax(axis=1)]
    confidences = np.array([row["confidence"] for row in predictions])
    assert np.abs(confidences - expected_NC.max(axis=1)).max() < 0.05  # bytes instead of floats


def test_one_text_and_many_get_the_same_answers_and_top_k_of_them(service: Service) -> None:
    queries = texts(3)
    many = service.post("/v1/predict", {"texts": queries, "top_k": 99}).json()["predictions"]
    for query, of_many in zip(queries, many, strict=True):
        (alone,) = service.post("/v1/predict", {"text": query, "top_k": 2}).json()["predictions"]
        assert [row["label"] for row in alone["top"]] == [row["label"] for row in of_many["top"]][:2]
        assert alone["top"][0] == {"label": alone["label"], "confidence": alone["confidence"]}
        assert sorted(row["label"] for row in of_many["top"]) == LABELS
        assert sum(row["confidence"] for row in of_many["top"]) == pytest.approx(1)
        assert alone["accepted"] == (alone["confidence"] >= 0.6)
        assert alone["label"] in alone["label_set"]


def test_a_text_that_was_cut_says_so(service: Service) -> None:
    short, long = service.predict("lost my card", "lost my card " * 10).json()["predictions"]
    assert (short["truncated"], long["truncated"]) == (False, True)


def test_the_open_inference_protocol_gives_the_same_answers(service: Service) -> None:
    queries = texts(5)
    outputs = infer(service, queries)
    predictions = service.post("/v1/predict", {"texts": queries, "top_k": 4}).json()["predictions"]
    for name in ("label", "confidence", "accepted"):
        assert outputs[name] == [row[name] for row in predictions]
    rows = np.reshape(outputs["probabilities"], (5, 4))
    labels = service.get("/v1/labels").json()["labels"]
    for row, prediction in zip(rows, predictions, strict=True):
        assert dict(zip(labels, row, strict=True)) == {top["label"]: top["confidence"] for top in prediction["top"]}
    assert set(infer(service, queries, outputs=[{"name": "confidence"}])) == {"confidence"}
    assert infer(service, queries, outputs=[], parameters=None) == outputs
    described = service.get("/v2/models/tinybert").json()
    assert {tensor["name"]: tensor["shape"] for tensor in described["outputs"]}["probabilities"] == [-1, 4]
    assert service.get("/v2/models/tinybert/ready").json() == {"name": "tinybert", "ready": True}
    assert service.get("/v2/health/ready").json() == {"ready": True}
    assert [service.client.head(f"/v2/health/{name}").status_code for name in ("live", "ready")] == [200, 200]
    assert service.get("/v2/models/another").status_code == 404


@pytest.mark.parametrize(("shape", "status"), [([2], 200), ([2, 1], 200), ([1, 2], 400), ([3], 400), ([2, 2], 400)])
def test_a_shape_that_does_not_fit_is_refused(service: Service, shape: list[int], status: int) -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": shape, "data": ["a", "b"]}
    assert service.post("/v2/models/tinybert/infer", {"inputs": [tensor]}).status_code == status


def test_it_says_which_commit_and_model_are_running(service: Service, model: Path, project: Path) -> None:
    version = service.get("/version").json()
    assert version["commit"] == sh(Path(), "git", "rev-parse", "HEAD").strip()
    assert version["model_sha256"] == hashlib.sha256((model / "manifest.json").read_bytes()).hexdigest()
    assert service.get("/v1/labels").json()["model"] == service.predict("a").json()["model"] == version["model_sha256"][:12]
    assert version["metrics"] == json.loads((project / "metrics/export.json").read_text())
    assert service.get("/v2").json()["version"] == version["model_sha256"][:12]


def test_metrics_count_requests_outcomes_and_labels(service: Service) -> None:
    names = (
        "serve_texts_total",
        "serve_labels_total",
        "serve_texts_truncated_total",
        'serve_requests_total{method="POST",path="/v1/predict",status="200"}',
    )
    before = [service.counted(name) for name in names]
    predictions = service.predict(*texts(20), "lost " * 30).json()["predictions"]
    cut = sum(row["truncated"] for row in predictions)
    assert [service.counted(name) - was for name, was in zip(names, before, strict=True)] == [21, 21, cut, 1]
    assert service.counted('serve_request_seconds_count{path="/v1/predict"}') >= 1


def test_the_page_and_all_files_that_it_names_are_served(service: Service) -> None:
    page = service.get("/")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    for path in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
        assert service.get(path).status_code == 200, path
    assert "<script>" not in page.text  # the content security policy would stop it


def test_it_connects_to_nothing(service: Service) -> None:
    service.predict("lost my card")
    watched = service.log.parent / "watched"
    assert not watched.exists(), watched.read_text()
    environment = {"PYTHONPATH": str(service.log.parent), "WATCHED": str(watched)}
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 9))"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert watched.read_text().startswith("socket.connect")  # the watch sees what there is to see


def test_a_model_that_is_not_what_its_manifest_says_is_refused_in_one_line(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "onnx"
    shutil.copytree(model, folder)
    (folder / "model.pkl").write_bytes(b"")  # the other faults: tests/test_classifier.py
    command = [sys.executable, "-m", "pipeline.serve", "--model", str(folder), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert re.fullmatch(r"error: .+\n", done.stderr)
    assert f"{folder}/model.pkl: not in the manifest" in done.stderr


def test_a_port_that_is_taken_is_one_line_with_the_way_out_before_a_model_is_loaded(service: Service, tmp_path: Path) -> None:
    port = service.url.rpartition(":")[2]
    command = [sys.executable, "-m", "pipeline.serve", "--model", str(tmp_path / "none"), "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    told = f"error: 127.0.0.1:{port}: Address already in use: choose another port: `make serve PORT=..`, or --port\n"
    assert (done.returncode, done.stderr) == (1, told)


def test_a_host_that_is_not_this_machines_is_not_blamed_on_the_port() -> None:
    with pytest.raises(UserError, match=r"192\.0\.2\.1:8080: .+: choose another host: `make serve HOST=\.\.`, or --host$"):
        check_address("192.0.2.1", 8080)  # RFC 5737: for documents, no machine has it


def answers_as_evaluated(root: Path, folder: Path) -> float:
    """The share of the test split's rows to which the service gives the label that `evaluate` wrote into metrics/predictions.csv."""
    queries, _ = read_split(root / "data/features", "test")
    with (root / "metrics/predictions.csv").open(encoding="utf-8", newline="") as handle:
        predicted = {row["id"]: row["predicted"] for row in csv.DictReader(handle)}
    with serve(folder, model=root / "models/onnx") as service:
        answers = [
            prediction["label"]
            for start in range(0, len(queries), 256)
            for prediction in service.predict(*queries.texts[start : start + 256]).json()["predictions"]
        ]
    return float(np.mean([answer == predicted[name] for answer, name in zip(answers, queries.names, strict=True)]))


@pytest.mark.slow
def test_the_pipelines_own_model_answers_as_it_was_evaluated(clone: Path, first_run: Run, tmp_path: Path) -> None:
    assert answers_as_evaluated(clone, tmp_path) >= 0.95  # of 20 rows one may turn on int8's rounding
