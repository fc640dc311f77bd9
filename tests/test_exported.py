from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.tables import exported


@pytest.mark.parametrize(("accepted", "cell"), [(0.5, "90.0 [80.0, 95.0]"), (0.0, "none accepted")])
def test_the_accuracy_among_no_queries_is_no_figure(accepted: float, cell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = json.loads(exported.ABSTENTION.read_text(encoding="utf-8"))
    run["test"] |= {"accepted": accepted, "accepted_accuracy": 0.9, "accepted_accuracy_low": 0.8, "accepted_accuracy_high": 0.95}
    (tmp_path / "abstention.json").write_text(json.dumps(run))
    monkeypatch.setattr(exported, "ABSTENTION", tmp_path / "abstention.json")
    [row] = [line for line in exported.abstention().splitlines() if line.startswith("| accuracy among them")]
    assert row.split(" | ")[1] == f"{cell} |"


def test_none_of_few_texts_let_through_is_no_promise_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = json.loads(exported.ABSTENTION.read_text(encoding="utf-8"))
    run["out_of_scope"]["by_kind"] = {"spam": {"texts": 20, "let_through": 0.0}}
    (tmp_path / "abstention.json").write_text(json.dumps(run))
    monkeypatch.setattr(exported, "ABSTENTION", tmp_path / "abstention.json")
    assert exported.abstention().endswith("| of 20 `spam` | 0.0 [0.0, 16.1] |\n")
