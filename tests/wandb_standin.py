"""A stand-in for the server of Weights & Biases on 127.0.0.1: takes runs, as far as `wandb sync` and `wandb.login` ask for it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from json_standin import JsonHandler, JsonServer, serving

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


@contextmanager
def serve() -> Iterator[Standin]:
    with serving(Standin()) as server:
        yield server
