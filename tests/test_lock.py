from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.lock import check_output, differing, flatten, parse_lock, read_lock
from pipeline.reporting.lockfile import stage_changes


def test_the_lock_of_this_repository_can_be_read() -> None:
    lock = read_lock(Path("dvc.lock"))
    assert list(lock) == ["fetch", "prepare", "featurize", "teach", "train", "evaluate", "export"]
    assert stage_changes(lock, lock) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "stages: input should be a valid dictionary"),
        (b"[]", "stages: input should be a valid dictionary"),
        (b"a: [", "while parsing a flow node"),
        (b"stages: {train: {}}", "stages.train.cmd: missing"),
        (b"\xff", "unacceptable character"),
    ],
)
def test_what_is_no_lock_is_a_value_error_or_a_line(content: bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^{told}"):
        parse_lock(content)
    (tmp_path / "dvc.lock").write_bytes(content)
    with pytest.raises(UserError, match=rf"dvc\.lock: not a valid dvc\.lock: {told}"):
        read_lock(tmp_path / "dvc.lock")


def test_a_lock_that_a_merge_left_in_conflict_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    lock, model = tmp_path / "dvc.lock", tmp_path / "model"
    model.mkdir()
    lock.write_text("schema: '2.0'\nstages:\n<<<<<<< HEAD\n  fetch:\n    cmd: x\n=======\n>>>>>>> other\n")
    with pytest.raises(UserError, match=r"dvc\.lock: in conflict: run `python -m pipeline\.resolve_lock`"):
        check_output(model, lock)
    lock.unlink()
    with pytest.raises(UserError, match=r"dvc\.lock: no such file: "):
        check_output(model, lock)


def test_null_is_not_absent() -> None:
    assert flatten({"a": {"b": None, "c": []}}) == {"a.b": None, "a.c": []}
    assert differing({"a": None}, {}) == ["a"]
