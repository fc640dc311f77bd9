from __future__ import annotations

from pathlib import Path

import pytest
from clones import sh
from small_runs import commit

from pipeline.clone import clone, committed_head
from pipeline.revisions import git


def test_a_kept_clone_follows_a_head_that_is_of_no_branch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, kept = tmp_path / "source", tmp_path / "kept"
    (source / ".dvc").mkdir(parents=True)
    (source / ".dvc/config").touch()
    commit(source, "first")
    monkeypatch.chdir(source)
    clone(committed_head(), kept)
    sh(source, "git", "checkout", "--quiet", "--detach")
    (source / "second").touch()
    commit(source, "second")
    clone(committed_head(), kept)
    assert git(kept, "rev-parse", "HEAD") == git(source, "rev-parse", "HEAD")
    assert (kept / "second").exists()
