from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.tables import results


def test_the_spread_of_seeds_is_told_of_the_dataset_it_was_measured_on_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"accuracy": {"mean": 0.855, "std": 0.006, "each": [0.861, 0.849]}, "macro_f1": {"mean": 0.85, "std": 0.007, "each": [0, 0]}}
    for dataset, times in (("data/sample/queries.csv", 1), ("mine.csv", 0)):
        run = {"command": "make seeds", "params": {"fetch": {"train": dataset}}, "models": {"tinybert": figures, "teacher": figures}}
        (tmp_path / "seeds.json").write_text(json.dumps(run))
        monkeypatch.setattr(results, "SEEDS", tmp_path / "seeds.json")
        monkeypatch.setattr(results, "PARAMS_FILE", tmp_path / "params.yaml")
        (tmp_path / "params.yaml").write_text("fetch: {train: data/sample/queries.csv}\ntrain: {targets: soft}\n")
        told = results.results_and_seeds()
        assert told.startswith(results.results())
        assert told.count("85.50 ± 0.60 and 85.00 ± 0.70 (student)") == times
