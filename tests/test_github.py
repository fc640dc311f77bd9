"""The calls of GitHub's API, where GitHub does not answer as it should."""

from __future__ import annotations

import pytest
from github_standin import REPOSITORY, TOKEN, serve_github

from pipeline.errors import UserError
from pipeline.github import call


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a runner sets."""
    for name, value in {"API_URL": "http://127.0.0.1:1", "REPOSITORY": REPOSITORY, "TOKEN": TOKEN}.items():
        monkeypatch.setenv(f"GITHUB_{name}", value)


@pytest.mark.parametrize(("bytes_sent", "told"), [(0, "RemoteDisconnected"), (45, "IncompleteRead")])
def test_an_answer_that_breaks_off_is_one_line(monkeypatch: pytest.MonkeyPatch, bytes_sent: int, told: str) -> None:
    with serve_github() as github:
        monkeypatch.setenv("GITHUB_API_URL", github.url)
        github.breaks_off_after = bytes_sent
        with pytest.raises(UserError, match=rf"^GitHub: GET issues: no whole answer \({told}.*\): run the job again$"):
            call("GET", "issues")


def test_no_answer_and_a_refusal_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^GitHub: GET issues: no whole answer \(.*Connection refused.*\): run the job again$"):
        call("GET", "issues")
    with serve_github() as github:
        monkeypatch.setenv("GITHUB_API_URL", github.url)
        monkeypatch.setenv("GITHUB_TOKEN", "another")
        with pytest.raises(UserError, match=r"GitHub: GET issues: 401: .*Bad credentials.*: look at the job's permissions"):
            call("GET", "issues")
