"""What the service counts for Prometheus, and the line it logs for a request. No text of a query gets into either."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.serving.classifier import Answer
from pipeline.serving.refusals import refuse

GONE = 499  # nginx's code for a client that did not wait for its answer
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}  # counted by name; any other is "other"
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)

log = logging.getLogger("serve")


class Metrics:
    """Counters of one service, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()  # as many series again, of no use here
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # CPU seconds, resident memory, open files
        self.requests = Counter("serve_requests", "Requests answered", ["method", "path", "status"], registry=self.registry)
        self.seconds = Histogram("serve_request_seconds", "From head to last byte", ["path"], buckets=SECONDS, registry=self.registry)
        self.in_flight = Gauge("serve_requests_in_flight", "Requests with a body at the moment", registry=self.registry)
        self.texts_waiting = Gauge("serve_texts_waiting", "Texts with the model at the moment", registry=self.registry)
        self.stuck = Gauge("serve_threads_stuck", "Inference threads given up", registry=self.registry)
        self.texts = Counter("serve_texts", "Texts answered: accepted, or a person is needed", ["outcome"], registry=self.registry)
        self.labels = Counter("serve_labels", "Texts answered, by the label given", ["label"], registry=self.registry)
        self.truncated = Counter("serve_texts_truncated", "Texts cut to the model's length", registry=self.registry)

    def count(self, answers: Sequence[Answer]) -> None:
        """Counts what the model said."""
        for answer in answers:
            self.texts.labels("accepted" if answer.accepted else "needs_person").inc()
            self.labels.labels(answer.label).inc()
            self.truncated.inc(answer.truncated)


class Observe:
    """Times, counts and logs every request; turns what nobody caught into a 500 and a trace without its message.

    Paths are counted by name only if they are known: a stranger can neither make up a thousand series nor write into the log.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self.app = app
        self.metrics = metrics
        self.paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, note_status)
        except Exception as error:  # noqa: BLE001  # a defect of ours: uvicorn would log its message, which may quote a text
            log.error("%s at %s", type(error).__name__, _where(error))
            if not status:
                await refuse(500, "internal error: see the log")(scope, receive, note_status)
        self._note(scope, status or GONE, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        path, method = self._path(scope["path"]), scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.requests.labels(method, path, str(status)).inc()
        self.metrics.seconds.labels(path).observe(seconds)
        log.info("%s %s %d %.1f ms", method, path, status, 1000 * seconds)

    def _path(self, path: str) -> str:
        return path if path in self.paths else "/static/" if path.startswith("/static/") else "other"


def _where(error: Exception) -> str:
    """Files and lines of a traceback, innermost first."""
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
