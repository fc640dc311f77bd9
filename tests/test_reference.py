from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.artifacts import write_json
from pipeline.reference import count_scorings, differences, over_seeds


def test_every_new_lock_is_one_more_scoring_of_the_test_split(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    assert count_scorings(["a", "b"], result) == 2
    write_json(result, {"lock_sha256": "a", "test_scorings": 1})
    assert count_scorings(["a"], result) == 1
    assert count_scorings(["b", "c"], result) == 3
    write_json(result, {"lock_sha256": "b", "lock_sha256_per_seed": ["b", "c"], "test_scorings": 3})
    assert count_scorings(["b", "c", "d"], result) == 4


def test_spread_is_that_of_a_sample_and_a_model_that_all_seeds_share_has_none() -> None:
    assert over_seeds("tinybert", [0.5, 0.7]) == {"mean": 0.6, "std": pytest.approx(0.1414, abs=1e-4), "each": [0.5, 0.7]}
    assert over_seeds("teacher", [0.5, 0.5, 0.5]) == {"mean": 0.5, "std": 0.0, "each": [0.5]}


def test_the_student_is_compared_with_each_other_model_on_the_same_queries() -> None:
    rows = [
        {"id": str(i), "label": "a" if i % 2 else "b", "predicted": "a" if i % 2 else "b", "confidence": "1", "worst": "a", "equal": "a"}
        for i in range(40)
    ]
    for row in rows:
        row["equal"] = row["predicted"]
    told = differences(rows)
    assert told["equal"]["accuracy"] == {"change": 0.0, "low": 0.0, "high": 0.0, "mcnemar_p": 1.0}
    assert told["worst"]["accuracy"]["change"] == 0.5
    assert told["worst"]["accuracy"]["mcnemar_p"] == pytest.approx(2 * 0.5**20)
    assert "mcnemar_p" not in told["worst"]["macro_f1"]
