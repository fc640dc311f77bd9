"""What HTTP costs, and how much the service bears.

Run     python -m benchmarks.service [--quick] [--record] [--model models/onnx] [--data data/prepared]

The service is a process of its own, held to one core where there are more; this process asks it over kept-alive connections from another.
First one request at a time, interleaved with the bare classifier in this process: the difference is the overhead. Then as many
connections as each step says, each with its next request as soon as it has an answer: saturation is the step with the most answers a
second. A request is one query of the test split. A figure is the median over repetitions; beside it the lowest and the highest.

Prints a table, then one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.results import add_record, tell
from pipeline.errors import UserError, exit_with_one_line
from pipeline.lock import folder_md5
from pipeline.prepared import read_texts
from pipeline.runtime import machine_class
from pipeline.serving.classifier import Classifier
from pipeline.tables.performance import SERVICE, service_table

CONNECTIONS = (1, 2, 4, 8, 16, 32)
PATIENCE_S = 120
SECONDS = 5.0  # that each number of connections is kept busy
HEAD = "POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"


class Load(NamedTuple):
    """What came back under a number of connections."""

    taken_ms: np.ndarray  # of every answer
    answers_per_second: float
    refused: int  # requests that got another status than 200


def request(text: str) -> bytes:
    """A query as bytes on the wire."""
    body = json.dumps({"text": text, "top_k": 1}).encode()
    return HEAD.format(length=len(body)).encode() + body


@contextmanager
def running_service(model: Path) -> Iterator[int]:
    """Starts the service on a free port, on a core of its own if there is one, and ends it.

    Raises:
        UserError: it does not start.
    """
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "pipeline.serve", "--model", str(model), "--port", "0"]
        settings = {name: value for name, value in os.environ.items() if not name.startswith("SERVE_")}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=settings)
        try:
            port = await_port(process, log.fileno())
            cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
            if len(cores) > 1:
                for task in Path(f"/proc/{process.pid}/task").iterdir():
                    os.sched_setaffinity(int(task.name), {cores[0]})
                os.sched_setaffinity(0, {cores[1]})
            yield port
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def await_port(process: subprocess.Popen[bytes], log: int) -> int:
    """The port that the service says it listens on."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        told = os.pread(log, 1 << 20, 0).decode()
        found = re.search(r"running on http://127\.0\.0\.1:(\d+)", told)
        if found:
            return int(found[1])
        if process.poll() is not None:
            raise UserError(f"the service exited: {told.strip().splitlines()[-1] if told.strip() else 'no output'}")
        time.sleep(0.05)
    raise UserError(f"the service did not report its port within {PATIENCE_S} s: run `make serve` to see its log")


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, content: bytes) -> int:
    """Sends a request, reads the whole answer, tells its status."""
    writer.write(content)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = re.search(r"content-length: (\d+)", head)
    await reader.readexactly(int(length[1]) if length else 0)
    return int(head.split()[1])


async def put_load(port: int, contents: list[bytes], connections: int, seconds: float) -> Load:
    """Keeps a number of connections busy for a while."""
    taken, refused, following = [], 0, cycle(contents)
    deadline = time.perf_counter() + seconds

    async def keep_asking() -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (started := time.perf_counter()) < deadline:
            status = await ask(reader, writer, next(following))
            taken.append(1000 * (time.perf_counter() - started))
            refused += status != 200
        writer.close()
        await writer.wait_closed()

    started = time.perf_counter()
    await asyncio.gather(*(keep_asking() for _ in range(connections)))
    return Load(np.array(taken), (len(taken) - refused) / (time.perf_counter() - started), refused)


async def compare_alone(port: int, texts: list[str], classifier: Classifier) -> np.ndarray:
    """Milliseconds over HTTP and of the bare classifier, interleaved text by text, shape (2, texts)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    taken_2N = np.empty((2, len(texts)))
    for n, text in enumerate(texts):
        content = request(text)
        started = time.perf_counter()
        status = await ask(reader, writer, content)
        if status != 200:
            raise UserError(f"the service returned HTTP {status}: run `make serve` to see its log")
        between = time.perf_counter()
        classifier.answer([text], top_k=1)
        taken_2N[:, n] = 1000 * (between - started), 1000 * (time.perf_counter() - between)
    writer.close()
    await writer.wait_closed()
    return taken_2N


def summarize(alone_R2N: np.ndarray, loads: list[list[Load]], steps: Sequence[int]) -> dict[str, Any]:
    """All that was measured.

    Args:
        alone_R2N: what `compare_alone` returned, repetition by repetition.
        loads: of every repetition, what each step brought.
        steps: numbers of connections.
    """
    rate_RS = np.array([[load.answers_per_second for load in row] for row in loads])
    p50_RS, p99_RS = (np.array([[np.quantile(load.taken_ms, q) for load in row] for row in loads]) for q in (0.5, 0.99))
    refused_S = np.array([[load.refused for load in row] for row in loads]).sum(axis=0)
    http_R, bare_R = np.median(alone_R2N, axis=2).T
    return {
        "requests_per_second": round(float(np.median(rate_RS, axis=0).max())),
        "idle_p50_ms": round(float(np.median(http_R)), 4),
        "bare_p50_ms": round(float(np.median(bare_R)), 4),
        "connections": {
            str(step): {
                "answers_per_second": rate_RS[:, s].round(1).tolist(),
                "p50_ms": p50_RS[:, s].round(3).tolist(),
                "p99_ms": p99_RS[:, s].round(3).tolist(),
                "refused": int(refused_S[s]),
            }
            for s, step in enumerate(steps)
        },
        "refused": int(refused_S.sum()),
        "repetitions": len(loads),
        "n": alone_R2N.shape[2],
        "machine": machine_class(threads=1, precision="fp32"),
    }


def main() -> None:
    """Starts the service, asks it, prints."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.service", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=Path("models/onnx"), help="folder written by stage `export`")
    parser.add_argument("--data", type=Path, default=Path("data/prepared"), help="folder written by stage `prepare`")
    parser.add_argument("--repetitions", type=int, default=3, help="repetitions of each measurement (default: 3)")
    parser.add_argument("--quick", action="store_true", help="two short repetitions with 1 and 2 connections alone: does it run?")
    add_record(parser, SERVICE)
    args = parser.parse_args()
    texts = read_texts(args.data, "test")
    classifier = Classifier.load(args.model)
    repetitions, seconds, steps = (2, 0.3, CONNECTIONS[:2]) if args.quick else (args.repetitions, SECONDS, CONNECTIONS)
    texts = texts[:50] if args.quick else texts
    contents = [request(text) for text in texts]

    with running_service(args.model) as port:
        asyncio.run(put_load(port, contents, connections=1, seconds=seconds / 5))  # warm
        alone_R2N = np.array([asyncio.run(compare_alone(port, texts, classifier)) for _ in range(repetitions)])
        loads = [[asyncio.run(put_load(port, contents, step, seconds)) for step in steps] for _ in range(repetitions)]

    tell(summarize(alone_R2N, loads, steps) | {"model": folder_md5(args.model)}, service_table, args.record)


if __name__ == "__main__":
    exit_with_one_line(main)
