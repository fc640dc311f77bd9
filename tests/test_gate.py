from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from services import STANDIN, Service, serve, wait_until

LIMIT = 2_000
KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    limits = f"--max-body-bytes {LIMIT} --max-in-flight 3 --max-waiting-texts 3 --body-timeout-s 1 --timeout-s 30 --workers 3"
    with serve(tmp_path_factory.mktemp("serve"), *limits.split(), program=STANDIN) as running:
        yield running


def send_raw(service: Service, head: str, *chunks: bytes, wait_s: float = 0) -> bytes:
    """Sends bytes as they are, and returns what comes until the service closes or nothing more comes for a while."""
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"POST /v1/predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n{head}\r\n\r\n".encode())
        for chunk in chunks:
            connection.sendall(chunk)
        time.sleep(wait_s)
        received = b""
        while b"}" not in received and (part := connection.recv(65536)):
            received += part
    return received


def test_a_body_over_the_limit_is_refused_and_the_refusal_can_be_read(service: Service) -> None:
    for size, status in ((LIMIT - 20, 200), (LIMIT + 1, 413), (5 * LIMIT, 413), (1_000 * LIMIT, 413)):
        try:
            answer = service.predict("x" * size)
        except httpx.TransportError:
            assert size == 1_000 * LIMIT  # beyond all measure the connection is closed on the sender
        else:
            assert (answer.status_code, "larger than 2000 bytes" in answer.text) == (status, status == 413)


def test_a_body_over_the_limit_that_came_in_chunks_or_is_promised_is_refused(service: Service) -> None:
    chunk = b"%x\r\n%s\r\n" % (1_000, b" " * 1_000)
    assert send_raw(service, "Transfer-Encoding: chunked", *[chunk] * 5, b"0\r\n\r\n").startswith(b"HTTP/1.1 413")
    assert send_raw(service, "Transfer-Encoding: chunked", *[chunk] * 17).startswith(b"HTTP/1.1 413")  # and never ends
    assert send_raw(service, "Content-Length: 9999999\r\nExpect: 100-continue").startswith(b"HTTP/1.1 413")
    assert send_raw(service, "Content-Length: 99999999999999999999999999", b"{}").startswith(
        (b"HTTP/1.1 413", b"HTTP/1.1 400", b"HTTP/1.1 408")
    )
    both = send_raw(service, "Content-Length: 10\r\nTransfer-Encoding: chunked", *[chunk] * 5, b"0\r\n\r\n")
    assert both.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))


def test_a_body_that_does_not_come_is_given_up_and_gives_its_slot_back(service: Service) -> None:
    late = send_raw(service, "Content-Length: 100", b"{")
    assert late.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in late.lower()
    assert service.counted("serve_requests_in_flight") == 0


@pytest.mark.parametrize("beginning", [b"", b"POST /v1/predict HTTP/1.1\r\nHost: te", b"GET /v2 HTTP/1.1\r\nHost: test\r\n\r\nGET /v2 HT"])
def test_a_head_that_does_not_come_is_given_up(service: Service, beginning: bytes) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        if beginning:
            connection.sendall(beginning)
        began, received = time.monotonic(), b""
        while part := connection.recv(65536):
            received += part
    assert 0.5 < time.monotonic() - began < 8  # --body-timeout-s 1; behind an answer, the 5 s that uvicorn keeps a connection
    assert received.count(b"HTTP/1.1 200") == beginning.count(b"\r\n\r\n")


def test_answers_that_nobody_reads_are_given_up_and_give_their_slot_back(service: Service) -> None:
    """The 400 answers are 17 MB, of which the buffers on the way hold a part; behind them the next request waits with its slot."""
    host, port = service.url.removeprefix("http://").split(":")
    body = json.dumps({"texts": [""] * 256})

    def no_more_is_done() -> bool:
        before = service.counted('serve_requests_total{method="POST"')
        time.sleep(2)
        return (service.counted('serve_requests_total{method="POST"'), service.counted("serve_requests_in_flight")) == (before, 0)

    head = f"POST /v1/predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(5)
        connection.connect((host, int(port)))
        unsent = (head + body).encode() * 400
        with contextlib.suppress(TimeoutError, ConnectionError):  # it reads the next only when the last is answered
            while unsent:
                unsent = unsent[connection.send(unsent) :]
        wait_until(no_more_is_done, told="a request that nobody waits for keeps its slot")
        received = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                received += part
    assert 1 <= received.count(b"HTTP/1.1 200") < 400
    assert service.predict("a").status_code == 200


def test_no_address_leads_elsewhere(service: Service) -> None:
    """Behind a proxy that ends TLS a redirection would lead to http://, and key and text after it."""
    paths = ("/v2/", "/v1/labels/", "/v2/health/live/", "/static")
    for answer in (*map(service.get, paths), service.post("/v1/predict/", {"text": "a"})):
        assert (answer.status_code, answer.headers.get("Location")) == (404, None)


def test_an_id_that_is_no_text_is_refused(service: Service) -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}
    body = json.dumps({"id": "\ud800", "inputs": [tensor]})
    answer = service.client.post("/v2/models/tinybert/infer", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def test_more_requests_than_may_be_in_flight_are_refused_at_once_and_health_is_answered(service: Service) -> None:
    with ThreadPoolExecutor(3) as threads:
        slow = [threads.submit(service.predict, "sleep 1.5") for _ in range(3)]
        wait_until(lambda: service.counted("serve_requests_in_flight") == 3)
        refused = service.predict("sleep 1")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert "try again" in refused.json()["error"]
        assert service.get("/v2/health/live").json() == {"live": True}
        assert not any(future.done() for future in slow)
        assert [future.result().status_code for future in slow] == [200] * 3
    assert service.predict("sleep 0").status_code == 200


def test_more_texts_than_may_wait_are_refused_but_a_request_that_is_alone_is_not(service: Service) -> None:
    assert service.predict(*["a"] * 10).status_code == 200
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(service.predict, "sleep 1.5", "a")
        wait_until(lambda: service.counted("serve_texts_waiting") == 2)
        assert service.predict("a").status_code == 200
        assert service.predict("a", "a", "a").status_code == 503
        assert slow.result().status_code == 200


def test_a_hung_inference_is_given_up_and_its_slot_recovered(tmp_path: Path) -> None:
    with serve(tmp_path, "--timeout-s", "2", "--workers", "3", program=STANDIN) as service:
        for _ in range(2):
            with ThreadPoolExecutor(3) as threads:
                statuses = [answer.status_code for answer in threads.map(service.predict, ["hang"] * 3)]
            assert statuses == [504] * 3  # every thread hangs
            assert service.predict("a").status_code == 200
            assert service.counted("serve_texts_waiting") == 0
        assert service.counted("serve_threads_stuck") == 6
        assert service.get("/v2/health/live").status_code == 200
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(service.predict, ["hang"] * 2))
        live = service.get("/v2/health/live")
        assert service.get("/v2/health/ready").status_code == 503
        assert (live.status_code, live.json()) == (503, {"live": False})  # whoever watches it may start it anew


def test_a_defect_is_a_500_and_a_line_that_quotes_nothing(service: Service) -> None:
    answer = service.predict("fail")
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error: see the log"})
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    log = service.log.read_text()
    assert "ValueError at model_standin.py:" in log
    assert "SECRET" not in log


def test_no_text_gets_into_log_or_metrics(service: Service) -> None:
    service.predict("unsure")
    service.client.get("/v1/predict/My-card-is-lost?text=My-card-is-lost")
    service.client.post("/v1/predict?text=My-card-is-lost", content="My-card-is-lost")
    service.client.request("MY-CARD", "/")
    everything = service.log.read_text() + service.get("/metrics").text
    assert 'outcome="needs_person"' in everything
    assert "unsure" not in everything
    assert "card" not in everything.lower()


def test_every_answer_has_safe_headers(service: Service) -> None:
    for answer in (service.get("/"), service.get("/nothing"), service.predict(), service.predict("x" * 3_000)):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_with_an_api_key_only_health_page_and_schema_are_open(tmp_path: Path) -> None:
    with serve(tmp_path, program=STANDIN, variables={"SERVE_API_KEY": KEY}) as service:
        for path in ("/v1/labels", "/v2/models/tinybert", "/v2/models/tinybert/ready", "/metrics", "/version"):
            assert service.get(path).status_code == 401, path
            assert service.get(path, headers={"X-API-Key": KEY}).status_code == 200, path
        for key in ("", KEY[:-1], KEY + "0", "schlüssel"):
            assert service.predict("a", headers={"X-API-Key": key.encode()}).status_code == 401
        assert service.predict("a", headers={"X-API-Key": KEY}).status_code == 200
        for path in ("/", "/v2", "/v2/health/live", "/v2/health/ready", "/openapi.json", "/static/index.html"):
            assert service.get(path).status_code == 200, path
        for path in ("/", "/nowhere", "/static/index.html"):  # a body that nobody reads must not hold a slot
            assert service.post(path, {}).status_code == 401, path
        schema = service.get("/openapi.json").json()
        assert schema["paths"]["/v1/predict"]["post"]["security"]
    assert KEY not in service.log.read_text()


def test_told_to_end_under_load_it_answers_all_that_it_took(tmp_path: Path) -> None:
    """Clients that go elsewhere once it says that it is not ready lose nothing."""
    statuses: list[int] = []
    stop = threading.Event()

    def ask(service: Service) -> None:
        with httpx.Client(base_url=service.url, timeout=30) as client:
            while not stop.is_set():
                statuses.append(client.post("/v1/predict", json={"text": "sleep 0.02"}).status_code)

    with serve(tmp_path, "--drain-s", "1.5", "--workers", "4", program=STANDIN) as service, ThreadPoolExecutor(9) as threads:
        clients = [threads.submit(ask, service) for _ in range(8)]
        wait_until(lambda: len(statuses) >= 40)
        last = threads.submit(service.predict, "sleep 4")  # still at work when the drain is over
        time.sleep(0.5)
        service.process.terminate()
        wait_until(lambda: service.get("/v2/health/ready").status_code == 503)
        stop.set()
        for client in clients:
            client.result()
        assert service.get("/v2/health/live").headers["Connection"] == "close"
        assert last.result().status_code == 200
        service.process.wait(20)
    assert set(statuses) == {200}
    assert service.log.read_text().count("POST /v1/predict 200") == len(statuses) + 1
