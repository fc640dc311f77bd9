"""What the stand-in hub does with uploads: who asks, repositories, large files apart, and commits that are whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

TOKEN = "hf_of_the_stand_in"
USER = "someone"


class Answer(NamedTuple):
    code: int
    value: object


@dataclass
class Uploads:
    """The state behind the endpoints that write.

    Attributes:
        folder: where the hub's files lie, as ``<owner>/<name>/<file>``.
        large: bytes from which on a file goes apart.
        heads: commit of each repository that was made here.
        stop_at: a part of a path; requests for it are refused, or hang where ``hang`` is set.
    """

    folder: Path
    large: int
    heads: dict[str, str] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    received: list[str] = field(default_factory=list)  # hashes of large files, as often as they were sent
    stop_at: str | None = None
    hang: bool = False

    def answer(self, method: str, path: str, body: bytes, token: str | None, url: str) -> Answer | None:
        """The answer to a request, or None if it is none of those that write."""
        if self.stop_at and self.stop_at in path:
            time.sleep(60 if self.hang else 0)
            return Answer(400, {"error": "told to stop here"})
        if method == "PUT" and path.startswith("/large/"):  # the address is the right to write, as with signed URLs
            return self.take(path.removeprefix("/large/"), body)
        if path == "/api/validate-yaml":
            return validate(json.loads(body)["content"])
        if path.endswith(".git/info/lfs/objects/batch"):
            return self.batch(json.loads(body), url)
        return self.answer_somebody(path, body, token, url)

    def answer_somebody(self, path: str, body: bytes, token: str | None, url: str) -> Answer | None:
        """The answer to a request that depends on who asks."""
        if path in ("/api/whoami-v2", "/api/repos/create"):
            if token != TOKEN:
                return Answer(401, {"error": "Invalid credentials"})
            return Answer(200, {"name": USER, "type": "user"}) if path == "/api/whoami-v2" else self.create(json.loads(body), url)
        match = re.fullmatch(r"/api/models/([^/]+)/([^/]+)/(preupload|commit)/main", path)
        if match is None:
            return None
        owner, name, what = match.groups()
        if token != TOKEN or owner != USER:
            return Answer(403, {"error": "Forbidden"})
        return self.preupload(json.loads(body)) if what == "preupload" else self.commit(f"{owner}/{name}", body, url)

    def take(self, sha256: str, content: bytes) -> Answer:
        assert hashlib.sha256(content).hexdigest() == sha256
        self.objects[sha256] = content
        self.received.append(sha256)
        return Answer(200, {})

    def create(self, wanted: dict[str, Any], url: str) -> Answer:
        repository = f"{wanted.get('organization') or USER}/{wanted['name']}"
        if not repository.startswith(USER + "/"):
            return Answer(403, {"error": "You don't have the rights to create a model under this namespace"})
        if repository in self.heads:
            return Answer(409, {"error": "You already created this model repo", "url": f"{url}/{repository}"})
        (self.folder / repository).mkdir(parents=True)
        (self.folder / repository / ".gitattributes").write_text("*.safetensors filter=lfs\n")
        self.private[repository] = wanted.get("visibility") == "private"
        self._advance(repository, "initial commit")
        return Answer(200, {"url": f"{url}/{repository}"})

    def preupload(self, wanted: dict[str, Any]) -> Answer:
        modes = [
            {"path": file["path"], "uploadMode": "lfs" if file["size"] >= self.large else "regular", "shouldIgnore": False}
            for file in wanted["files"]
        ]
        return Answer(200, {"files": modes})

    def batch(self, wanted: dict[str, Any], url: str) -> Answer:
        assert wanted["operation"] == "upload"
        objects = [
            {"oid": file["oid"], "size": file["size"]}
            | ({} if file["oid"] in self.objects else {"actions": {"upload": {"href": f"{url}/large/{file['oid']}"}}})
            for file in wanted["objects"]
        ]
        return Answer(200, {"transfer": "basic", "objects": objects})

    def commit(self, repository: str, body: bytes, url: str) -> Answer:
        lines = [json.loads(line) for line in body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit", self.heads[repository]) != self.heads[repository]:
            return Answer(412, {"error": "A commit has happened since. Please refresh and try again."})
        new: dict[str, bytes | None] = {}
        for line in lines[1:]:
            path = line["value"]["path"]
            if line["key"] == "file":
                new[path] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "lfsFile":
                new[path] = self.objects[line["value"]["oid"]]
            else:
                assert line["key"] == "deletedFile"
                new[path] = None
        for path, content in new.items():
            place = self.folder / repository / path
            if content is None:
                place.unlink()
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
        oid = self._advance(repository, header["summary"])
        return Answer(200, {"success": True, "commitOid": oid, "commitUrl": f"{url}/{repository}/commit/{oid}"})

    def _advance(self, repository: str, message: str) -> str:
        self.messages.append(message)
        before = self.heads.get(repository, "")
        self.heads[repository] = hashlib.sha1(f"{before}{message}{time.time_ns()}".encode(), usedforsecurity=False).hexdigest()
        return self.heads[repository]


def validate(card: str) -> Answer:
    """What the hub checks of a card's metadata: YAML, and of the figures their shape."""
    problems: list[str] = []
    try:
        metadata = yaml.safe_load(card.split("---\n")[1])
        for model in metadata["model-index"]:
            for result in model["results"]:
                assert {"task", "dataset", "metrics"} <= result.keys()
                assert {"type", "name"} <= result["dataset"].keys()
                assert all({"type", "value"} <= metric.keys() for metric in result["metrics"])
    except (yaml.YAMLError, IndexError, KeyError, AssertionError) as error:
        problems = [f"metadata: {error!r}"]
    return Answer(400 if problems else 200, {"errors": [{"message": text} for text in problems], "warnings": []})
