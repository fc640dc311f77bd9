from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import artifacts


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "models" / "student"
    with artifacts.whole_folder(target) as folder:
        (folder / "a").write_text("first")
        assert not target.exists()
    with pytest.raises(RuntimeError), artifacts.whole_folder(target) as folder:
        (folder / "a").write_text("second")
        raise RuntimeError
    assert (target / "a").read_text() == "first"
    assert [path.name for path in target.parent.iterdir()] == ["student"]


def test_a_folder_replaces_the_old_one_and_what_a_killed_run_left(tmp_path: Path) -> None:
    target, left = tmp_path / "out", tmp_path / ".partial-out"
    for path in (target, left):
        path.mkdir()
        (path / "stale").write_text("x")
    with artifacts.whole_folder(target) as folder:
        (folder / "fresh").write_text("y")
    assert [path.name for path in target.iterdir()] == ["fresh"]
    assert not left.exists()


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "metrics" / "a.json"
    artifacts.write_json(target, {"b": 1, "a": "é"})
    assert target.read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": "é"\n}\n'
    with pytest.raises(RuntimeError), artifacts.whole_file(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert artifacts.read_json(target) == {"b": 1, "a": "é"}
    assert list(target.parent.iterdir()) == [target]
