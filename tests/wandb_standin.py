"""A stand-in for the server of Weights & Biases on 127.0.0.1: takes runs, as far as `wandb sync` and `wandb.login` ask for it.

And what reads a `.wandb` file: records of wandb's own protocol in the frames of LevelDB's log format
(https://github.com/google/leveldb/blob/main/doc/log_format.md); a header of 7 bytes comes first.
"""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from json_standin import JsonHandler, JsonServer, serving
from wandb.proto import wandb_internal_pb2

BLOCK, HEADER, LAST = 32768, 7, (1, 4)  # FULL and LAST end a record
PROJECT = {"id": "p", "name": "tinybert-intents", "entity": {"id": "e", "name": "me"}}


class Standin(JsonServer):
    """What was sent to it, by GraphQL operation, by file of the run's stream, and by uploaded file."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.operations: dict[str, list[dict[str, Any]]] = {}
        self.streamed: dict[str, list[str]] = {}
        self.uploaded: dict[str, bytes] = {}

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        self.operations.setdefault(operation, []).append(variables)
        if operation == "Viewer":
            return {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        if operation == "UpsertBucket":
            bucket = {"id": "b", "name": variables["name"], "displayName": variables["displayName"], "project": PROJECT}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in variables["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        return {}


class _Handler(JsonHandler):
    server: Standin

    def do_POST(self) -> None:
        content = self.content()
        if self.headers.get("Content-Encoding") == "gzip":
            content = gzip.decompress(content)
        reply: dict[str, Any] = {}
        if self.path == "/graphql":
            asked = json.loads(content)
            reply = {"data": self.server.answer(asked.get("operationName") or "", asked.get("variables") or {})}
        elif self.path.endswith("/file_stream"):
            for name, part in json.loads(content).get("files", {}).items():
                self.server.streamed.setdefault(name, []).extend(part["content"])
        elif self.path.startswith("/upload/"):
            self.server.uploaded[self.path.removeprefix("/upload/")] = content
        self.send(200, reply)

    do_PUT = do_POST


def serve() -> AbstractContextManager[Standin]:
    return serving(Standin())


def read_records(path: Path) -> list[wandb_internal_pb2.Record]:
    return [wandb_internal_pb2.Record.FromString(content) for content in _frames(path.read_bytes())]


def _frames(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    at, whole = HEADER, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:  # the rest of a block that no frame's header fits in
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        whole += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in LAST:
            yield whole
            whole = b""
