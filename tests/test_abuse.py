"""What nobody should send, against the real service: generated from the schema and by hand, and far too much of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from services import STANDIN, Service, serve

CONFIG = Path(__file__).parent / "schemathesis.toml"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serve(tmp_path_factory.mktemp("abuse"), program=STANDIN) as running:
        yield running


def test_generated_requests_find_no_fault(service: Service, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    examples = str(request.config.getoption("--examples"))
    command = [
        Path(sys.executable).parent / "schemathesis",
        "--config-file",
        CONFIG,
        "run",
        f"{service.url}/openapi.json",
        "--checks",
        "all",
    ]
    done = subprocess.run([*command, "--max-examples", examples, "--no-color"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "No issues found" in done.stdout


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\0",
        "a\0b",
        "\u202e" + "evil" * 9,
        "👩‍👩‍👧‍👦" * 50,
        "e" + "\u0301" * 5_000,
        "word " * 10_000,
        "x" * 100_000,
        "\ufdfa" * 9_000,
        "\ufffe\uffff",
    ],
    ids=["empty", "blank", "nul", "nul inside", "bidi", "emoji", "combining", "10,000 words", "one long word", "expands", "noncharacters"],
)
def test_any_text_gets_an_answer(service: Service, text: str) -> None:
    answer = service.predict(text)
    assert answer.status_code == 200
    (prediction,) = answer.json()["predictions"]
    assert 0 <= prediction["confidence"] <= 1


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (b"", {422}),
        (b"\xff\xfe", {400}),
        (b'{"text": "\xff"}', {400}),
        (b'{"text": "\xed\xa0\x80"}', {422}),  # a surrogate in what pretends to be UTF-8
        (rb'{"text": "\ud800"}', {422}),
        (b"[" * 100_000, {400}),
        (b'{"text":' * 50_000, {400}),
        (b"[" * 400_000 + b"]" * 400_000, {400}),
        (b'{"text": "a", "text": 1}', {422}),
        (b'{"text": "a", "top_k": 1e999}', {422}),
        (b'{"text": "a", "top_k": NaN}', {422}),
        (b'{"text": "a", "top_k": ' + b"9" * 5_000 + b"}", {400, 422}),
        (b'{"text": "a", "top_k": true}', {422}),
        (b'{"text": "a", "texts": ["a"]}', {422}),
        (b'{"text": {"text": "a"}}', {422}),
        (json.dumps({"texts": ["a"] * 257}).encode(), {422}),
        (json.dumps({"text": "a" * 100_001}).encode(), {422}),
    ],
    ids=lambda value: f"{len(value)} bytes: {value[:20]!r}" if isinstance(value, bytes) else "",
)
def test_what_is_no_request_is_refused_in_one_line_that_quotes_none_of_it(service: Service, body: bytes, statuses: set[int]) -> None:
    answer = httpx.post(f"{service.url}/v1/predict", content=body, headers={"Content-Type": "application/json"}, timeout=60)
    assert answer.status_code in statuses, answer.text
    error = answer.json()["error"]
    assert len(error) < 200
    assert "\n" not in error


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", ""]
)
def test_what_a_foreign_page_can_send_without_asking_is_refused(service: Service, kind: str) -> None:
    answer = httpx.post(f"{service.url}/v1/predict", content=b'{"text": "a"}', headers={"Content-Type": kind})
    assert answer.status_code == 422
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd", "/static/", "/static/%00"]
)
def test_nothing_but_the_pages_files_is_served(service: Service, path: str) -> None:
    request = httpx.Request("GET", service.url, extensions={"target": path.encode()})
    with httpx.Client() as client:
        assert client.send(request).status_code == 404


def test_the_service_lives_on_and_wrote_no_trace(service: Service) -> None:
    assert service.predict("a").status_code == 200
    log = service.log.read_text()
    assert " ERROR " not in log
    assert "Traceback" not in log
