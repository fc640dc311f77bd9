"""The service as a process of its own on a free port of 127.0.0.1, asked over HTTP."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

OURS = (sys.executable, "-m", "pipeline.serve")
STANDIN = (sys.executable, str(Path(__file__).parent / "model_standin.py"))  # the service around a model that sleeps and hangs when told to


class Service(NamedTuple):
    """A running service."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    client: httpx.Client  # a new connection for each request

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.client.get(path, **more)

    def post(self, path: str, body: Any, **more: Any) -> httpx.Response:
        return self.client.post(path, json=body, **more)

    def predict(self, *texts: str, **more: Any) -> httpx.Response:
        return self.post("/v1/predict", {"texts": texts}, **more)

    def counted(self, name: str) -> float:
        """The sum of a metric's samples whose lines start so."""
        lines = self.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def wait_until(condition: Callable[[], bool], seconds: float = 30, told: str = "", pause_s: float = 0.05) -> None:
    """Fails when that takes longer; `told` is what it then says."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {told}"
        time.sleep(pause_s)


@contextmanager
def serve(
    folder: Path,
    *options: str,
    program: tuple[str, ...] = OURS,
    variables: dict[str, str] | None = None,
    model: Path | None = None,
    root: Path | None = None,
) -> Iterator[Service]:
    """Starts a service in ``root`` (by default the repository's), whose log goes to ``folder``, and ends it."""
    log = folder / "serve.log"
    environment = os.environ | {"PYTHONPATH": str(root or Path.cwd())} | (variables or {})
    command = [*program, "--port", "0", "--model", str(model or folder), *options]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=root)
    try:
        url = _await_url(process, log)
        with httpx.Client(base_url=url, timeout=60, limits=httpx.Limits(max_keepalive_connections=0)) as client:
            yield Service(url, process, log, client)
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()


def _await_url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 120
    while not (found := re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return found[1]
