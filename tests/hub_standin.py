"""A stand-in for the Hugging Face hub on 127.0.0.1: the answers the client needs, and the ways in which a hub can fail."""

from __future__ import annotations

import hashlib
import json
import re
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from hub_uploads import Uploads
from json_standin import JsonHandler, JsonServer, serving

LARGE = 1000  # bytes from which on a file is "large": the hub then states its sha256


def entry(path: Path, root: Path) -> dict[str, object]:
    """How the hub lists a file or folder."""
    kind = "directory" if path.is_dir() else "file"
    oid = hashlib.sha1(str(path).encode(), usedforsecurity=False).hexdigest()
    return {"type": kind, "oid": oid, "size": path.stat().st_size if path.is_file() else 0, "path": str(path.relative_to(root))}


class Hub(JsonServer):
    """Serves ``folder/<owner>/<name>/<file>`` (models) and ``folder/datasets/<owner>/<name>/<file>`` at one revision."""

    def __init__(self, folder: Path, revision: str, mode: str) -> None:
        super().__init__(Handler)
        self.folder, self.revision, self.mode = folder, revision, mode
        self.asked: list[str] = []
        self.uploads = Uploads(folder, LARGE)

    def head(self, repository: str) -> str:
        """The commit that a repository is at: those that were published here have one of their own."""
        return self.uploads.heads.get(repository, self.revision)

    def has(self, repository: str, revision: str) -> bool:
        return revision == self.head(repository) or (revision == "main" and repository in self.uploads.heads)


class Handler(JsonHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.server.asked.append(path)
        body = self.content()
        token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        if self.server.mode == "silent":
            time.sleep(30)
            return
        if self.server.mode == "unavailable" or (self.server.mode == "broken files" and "/resolve/" in path):
            self.send_bytes(503, b"try later")
        elif path == "/":
            self.send_bytes(200, b"hello")
        elif written := self.server.uploads.answer(self.command, path, body, token, self.server.url):
            self.send(written.code, written.value)
        elif match := re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.send_file(*match.groups())
        elif match := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+))?(?:/(.*))?", path):
            self.send_api(*match.groups())
        else:
            self.send_bytes(404, b"", {"X-Error-Code": "EntryNotFound"})

    def send_file(self, repository: str, revision: str, name: str) -> None:
        file = self.server.folder / repository / name
        if not self.server.has(repository, revision):
            self.send_bytes(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif not file.is_file():
            self.send_bytes(404, b"", {"X-Error-Code": "EntryNotFound"})
        else:
            content = file.read_bytes()
            blob = b"blob %d\0" % len(content) + content  # as git names it
            small = len(content) < LARGE
            etag = hashlib.sha1(blob, usedforsecurity=False).hexdigest() if small else hashlib.sha256(content).hexdigest()
            if small and self.server.mode == "altered small files":
                content = content[:-1] + b"!"
            self.send_bytes(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": self.server.head(repository)})

    def send_api(self, kind: str, repository: str, what: str | None, revision: str | None, below: str | None) -> None:
        folder = self.server.folder / ("datasets" if kind == "datasets" else "") / repository
        if not folder.is_dir() or not self.server.has(repository, revision or self.server.head(repository)):
            self.send_bytes(404, b"{}", {"X-Error-Code": "RevisionNotFound" if folder.is_dir() else "RepoNotFound"})
            return
        listed = (folder / (below or "")).rglob("*") if "recursive=true" in self.path.lower() else (folder / (below or "")).glob("*")
        if what in ("tree", "paths-info"):
            self.send(200, [entry(path, folder) for path in sorted(listed)])
        else:
            info = {
                "id": repository,
                "sha": self.server.head(repository),
                "private": self.server.uploads.private.get(repository, False),
                "gated": False,
                "disabled": False,
                "tags": [],
                "downloads": 0,
            }
            info["siblings"] = [{"rfilename": str(path.relative_to(folder))} for path in sorted(folder.rglob("*")) if path.is_file()]
            self.send(200, info)

    do_HEAD = do_POST = do_PUT = do_GET

    def send(self, code: int, value: Any) -> None:
        self.send_bytes(code, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send_bytes(self, code: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def serve(folder: Path, revision: str, mode: str = "healthy") -> AbstractContextManager[Hub]:
    return serving(Hub(folder, revision, mode))
