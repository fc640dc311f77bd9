"""A stand-in for GitHub's API on 127.0.0.1: pull requests, their comments, issues; it keeps what was written to it."""

from __future__ import annotations

import json
import re
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from json_standin import JsonHandler, JsonServer, serving

REPOSITORY = "owner/intents"
TOKEN = "a-token-that-writes"
BOT = "github-actions[bot]"


class GitHub(JsonServer):
    """``pulls`` by number; ``comments`` by number of pull request or issue; ``writes``: method and path of what changed something."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.pulls: dict[int, dict[str, Any]] = {}
        self.comments: dict[int, list[dict[str, Any]]] = {}
        self.issues: list[dict[str, Any]] = []
        self.writes: list[str] = []
        self.last_id = 1000
        self.breaks_off_after: int | None = None  # bytes of an answer; 0: not even a head

    def open_pull_request(self, number: int, sha: str, branch: str, repository: str = REPOSITORY) -> None:
        self.pulls[number] = {"number": number, "head": {"sha": sha, "ref": branch, "repo": {"full_name": repository}}}

    def add_comment(self, number: int, body: str, user: str) -> dict[str, Any]:
        self.last_id += 1
        comment = {"id": self.last_id, "body": body, "user": {"login": user}, "html_url": f"{self.url}/comment/{self.last_id}"}
        self.comments.setdefault(number, []).append(comment)
        return comment


class Handler(JsonHandler):
    server: GitHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body: dict[str, Any] = json.loads(self.content() or b"{}")
        split = urlsplit(self.path)
        request = f"{self.command} {split.path.removeprefix(f'/repos/{REPOSITORY}/')}"
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.send(401, {"message": "Bad credentials"})
            return
        if len(body.get("body", "")) > 65_536:
            self.send(422, {"message": "body is too long (maximum is 65536 characters)"})
            return
        if self.command != "GET":
            self.server.writes.append(request)
        hub = self.server
        if hub.breaks_off_after is not None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1, 2, "[: hub.breaks_off_after])
            self.close_connection = True
        elif (match := re.fullmatch(r"GET pulls/(\d+)", request)) and int(match[1]) in hub.pulls:
            self.send(200, hub.pulls[int(match[1])])
        elif match := re.fullmatch(r"GET issues/(\d+)/comments", request):
            self.send_page(hub.comments.get(int(match[1]), []), split.query)
        elif match := re.fullmatch(r"POST issues/(\d+)/comments", request):
            self.send(201, hub.add_comment(int(match[1]), body["body"], BOT))
        elif match := re.fullmatch(r"PATCH issues/comments/(\d+)", request):
            comment = next(one for many in hub.comments.values() for one in many if one["id"] == int(match[1]))
            comment["body"] = body["body"]
            self.send(200, comment)
        elif request == "GET issues":
            state = parse_qs(split.query).get("state", ["open"])[0]
            self.send_page([issue for issue in hub.issues if state in ("all", issue["state"])], split.query)
        elif request == "POST issues":
            number = len(hub.issues) + 1
            page = f"{hub.url}/issue/{number}"
            hub.issues.append({"number": number, "state": "open", "user": {"login": BOT}, "html_url": page, **body})
            self.send(201, hub.issues[-1])
        else:
            self.send(404, {"message": "Not Found"})

    do_POST = do_PATCH = do_GET

    def send_page(self, entries: list[dict[str, Any]], query: str) -> None:
        values = parse_qs(query)
        size, page = min(int(values["per_page"][0]), 100), int(values["page"][0])
        self.send(200, entries[(page - 1) * size : page * size])


def serve_github() -> AbstractContextManager[GitHub]:
    return serving(GitHub())
