from __future__ import annotations

from pathlib import Path

from pipeline.artifacts import write_json
from pipeline.reference import count_scorings


def test_every_new_lock_is_one_more_scoring_of_the_test_split(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    assert count_scorings("a", result) == 1
    write_json(result, {"lock_sha256": "a", "test_scorings": 1})
    assert count_scorings("a", result) == 1
    assert count_scorings("b", result) == 2
