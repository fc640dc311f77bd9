"""The few calls of GitHub's REST API that workflows need, by the standard library alone: the job that holds the token installs nothing.

What a runner sets itself is read from the environment: GITHUB_API_URL, GITHUB_SERVER_URL, GITHUB_REPOSITORY, GITHUB_RUN_ID,
GITHUB_EVENT_PATH, GITHUB_OUTPUT; the workflow adds GITHUB_TOKEN. https://docs.github.com/en/rest
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import UserError

TIMEOUT_SECONDS = 30
PAGE = 100  # entries, the most a page can have
BOT = "github-actions[bot]"  # who writes with a workflow's own token

# The artifact that the workflow `pipeline` hands to the workflow `comment`
NUMBER = "number"  # of the pull request
REPORT = "report.md"
MARKER = "<!-- tinybert-intents report -->"  # the report's first line


def setting(name: str) -> str:
    """A variable of the environment.

    Raises:
        UserError: it is missing or empty.
    """
    value = os.environ.get(name, "")
    if not value:
        raise UserError(f"{name}: not set: a GitHub workflow sets it; elsewhere export it first")
    return value


def event() -> dict[str, Any]:
    """What set the workflow off, as GitHub tells it: to be trusted, unlike an artifact."""
    payload: dict[str, Any] = json.loads(Path(setting("GITHUB_EVENT_PATH")).read_text(encoding="utf-8"))
    return payload


def run_url() -> str | None:
    """The page of the present run; None outside a workflow."""
    parts = [os.environ.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    return "{}/{}/actions/runs/{}".format(*parts) if all(parts) else None


def set_output(name: str, value: object) -> None:
    """Hands a value of one line on to the next steps."""
    with Path(setting("GITHUB_OUTPUT")).open("a", encoding="utf-8") as handle:
        handle.write(f"{name}={value}\n")


def call(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Asks the API about this repository; ``path`` is what follows ``/repos/<owner>/<name>/``.

    Raises:
        UserError: GitHub refused, or did not answer.
    """
    request = urllib.request.Request(
        f"{setting('GITHUB_API_URL')}/repos/{setting('GITHUB_REPOSITORY')}/{path}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"Accept": "application/vnd.github+json", "Authorization": f"Bearer {setting('GITHUB_TOKEN')}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(300).decode(errors="replace")
        raise UserError(f"GitHub: {method} {path}: {error.code}: {said}: look at the job's permissions, or run it again") from None
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"GitHub: {method} {path}: no whole answer ({error!r}): run the job again") from None


def pages(path: str) -> Iterator[dict[str, Any]]:
    """The entries of a list, page by page."""
    mark = "&" if "?" in path else "?"
    number = 1
    while True:
        entries = call("GET", f"{path}{mark}per_page={PAGE}&page={number}")
        yield from entries
        if len(entries) < PAGE:
            return
        number += 1
