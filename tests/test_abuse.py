"""What nobody should send: generated from the schema and by hand, and far too much of it."""

from __future__ import annotations

import asyncio
import gzip
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import httpx
import pytest
from services import STANDIN, Service, serve, wait_until

PILE = "a" + "\u0301\u0323" * 49_999  # to put the marks in order takes time that grows with the square of their number
CONFIG = Path(__file__).parent / "schemathesis.toml"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serve(tmp_path_factory.mktemp("abuse"), program=STANDIN) as running:
        yield running
        check_log(running)


@pytest.fixture(scope="module")
def real(onnx_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service around a model, which a text may hurt."""
    with serve(tmp_path_factory.mktemp("real"), model=onnx_folder) as running:
        yield running
        check_log(running)


def check_log(service: Service) -> None:
    log = service.log.read_text()
    assert " ERROR " not in log
    assert "Traceback" not in log


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
        PILE,
    ],
    ids=[
        *("empty", "blank", "nul", "nul inside", "bidi", "emoji", "combining", "10,000 words", "one long word", "expands"),
        *("noncharacters", "combining of two kinds"),
    ],
)
def test_any_text_gets_an_answer(real: Service, text: str) -> None:
    answer = real.predict(text)
    assert answer.status_code == 200
    (prediction,) = answer.json()["predictions"]
    assert 0 <= prediction["confidence"] <= 1


def test_no_text_keeps_others_from_being_answered(real: Service) -> None:
    with ThreadPoolExecutor(1) as threads:
        piled = threads.submit(real.predict, *[PILE] * 4)
        while not piled.done():
            assert real.get("/v2/health/live").elapsed.total_seconds() < 1
    assert piled.result().status_code == 200


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
    answer = service.client.post("/v1/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in statuses, answer.text
    error = answer.json()["error"]
    assert len(error) < 200
    assert "\n" not in error


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"texts": ["a"], "top_k": 0}, "top_k"),
        ({"text": "a", "topk": 0}, "topk"),
        ({"texts": ["a", 1]}, "texts.1"),
        ({"text": 1}, "text"),
        ({}, "texts"),
        ([], "body"),
    ],
)
def test_what_does_not_fit_is_named_as_it_was_sent(service: Service, body: object, named: str) -> None:
    answer = service.post("/v1/predict", body)
    assert (answer.status_code, answer.json()["error"].partition(": ")[0]) == (422, named)


@pytest.mark.parametrize("escaped", [False, True], ids=["in UTF-8", "escaped"])
@pytest.mark.parametrize("character", ["x", "\0", "é", "€", "💳"])
def test_the_schema_and_the_service_count_the_same_characters_however_they_are_written(
    service: Service, character: str, escaped: bool
) -> None:
    longest = service.get("/openapi.json").json()["components"]["schemas"]["PredictText"]["properties"]["text"]["maxLength"]

    def status(*texts: str) -> int:
        body = json.dumps({"texts": texts}, ensure_ascii=escaped).encode()
        return service.client.post("/v1/predict", content=body, headers={"Content-Type": "application/json"}).status_code

    assert status(character * longest) == 200
    assert status(character * (longest + 1)) == 422
    assert status(*[character * longest] * 13) == 413  # no schema can tell how many bytes a body may have


TENSOR = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}
BODIES = {"/v1/predict": b'{"text": "a"}', "/v2/models/tinybert/infer": json.dumps({"inputs": [TENSOR]}).encode()}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", ""]
)
def test_what_a_foreign_page_can_send_without_asking_is_refused(service: Service, kind: str, path: str) -> None:
    answer = service.client.post(path, content=BODIES[path], headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()) == (415, {"error": "Content-Type: must be application/json"})
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", BODIES)
def test_a_compressed_body_is_refused_as_such(service: Service, path: str) -> None:
    head = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = service.client.post(path, content=gzip.compress(BODIES[path]), headers=head)
    assert (answer.status_code, answer.json()) == (415, {"error": "Content-Encoding: send the body as it is, not compressed"})


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd", "/static/", "/static/%00"]
)
def test_nothing_but_the_pages_files_is_served(service: Service, path: str) -> None:
    request = httpx.Request("GET", service.url, extensions={"target": path.encode()})
    assert service.client.send(request).status_code == 404


async def load(url: str, texts: int, rate: float, seconds: float) -> list[tuple[int, float]]:
    """Asks so many times a second whatever the answers (an open loop), and returns statuses and seconds."""
    body = json.dumps({"texts": ["My card was swallowed by the machine at the station, what can I do now?"] * texts}).encode()
    answers: list[tuple[int, float]] = []

    async def ask(client: httpx.AsyncClient) -> None:
        started = time.perf_counter()
        answer = await client.post("/v1/predict", content=body, headers={"Content-Type": "application/json"})
        answers.append((answer.status_code, time.perf_counter() - started))

    limits = httpx.Limits(max_connections=500, max_keepalive_connections=500)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client, asyncio.TaskGroup() as group:
        begin = time.perf_counter()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(begin + number / rate - time.perf_counter())
            group.create_task(ask(client))
    return answers


def probe(url: str, path: str, stop: threading.Event) -> list[float]:
    """Asks again and again, each time on a new connection as an orchestrator does, and returns seconds."""
    took = []
    while not stop.wait(0.2):
        started = time.perf_counter()
        with urlopen(url + path, timeout=60) as answer:
            assert answer.status == 200
        took.append(time.perf_counter() - started)
    return took


def p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98] if len(seconds) > 1 else seconds[0]


def test_ten_times_too_much_slows_nobody_who_is_let_in(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    seconds = request.config.getoption("--overload")
    if not seconds:
        pytest.skip("needs --overload SECONDS: `make abuse`")
    with serve(tmp_path, model=Path("models/onnx")) as service:
        texts = 64
        idle = [took for _, took in asyncio.run(load(service.url, texts, 2, 15))]
        capacity = 1 / statistics.median(idle)
        stop = threading.Event()
        with ThreadPoolExecutor(1) as threads:
            live = threads.submit(probe, service.url, "/v2/health/live", stop)
            answers = asyncio.run(load(service.url, texts, 10 * capacity, seconds))
            stop.set()
        ended = time.perf_counter()
        wait_until(lambda: service.predict(*["a"] * texts).elapsed.total_seconds() <= 2 * p99(idle))
        recovery = time.perf_counter() - ended
        admitted = [took for status, took in answers if status == 200]
        figures = {
            "requests": len(answers),
            "admitted": len(admitted),
            "capacity_per_s": round(capacity, 1),
            "idle_p99_ms": round(1000 * p99(idle), 1),
            "admitted_p99_ms": round(1000 * p99(admitted), 1),
            "live_max_ms": round(1000 * max(live.result()), 1),
            "recovery_s": round(recovery, 2),
        }
        print(json.dumps(figures))
    assert {status for status, _ in answers} == {200, 503}
    assert figures["admitted_p99_ms"] <= 2 * figures["idle_p99_ms"], figures
    assert figures["live_max_ms"] < 100, figures
    assert recovery < 5, figures
