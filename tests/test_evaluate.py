from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.charts import read_table
from pipeline.evaluate import MODELS, write_plots, write_predictions

PIN = "pin for $1^{"  # not a formula
INTENTS = ["lost", PIN, "never seen"]
LABELS = np.array([0, 0, 1, 1])
LOG_P = np.log(np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]]))


def test_predictions_name_rows_and_hold_every_models_answer(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, ["a:2", "a:3", "a:4", "a:5"], LABELS, dict.fromkeys(MODELS, LOG_P), INTENTS)
    rows = read_table(path)
    assert rows[1] == {"id": "a:3", "label": "lost", "predicted": PIN, "confidence": "0.700000"} | dict.fromkeys(MODELS[1:], PIN)


def test_plot_data_is_sorted_and_complete_and_pictures_repeat(tmp_path: Path) -> None:
    report = {"tinybert": {"parameters": 3, "accuracy": 0.5, "accuracy_low": 0.1, "accuracy_high": 0.9}}
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        write_plots(folder, LABELS, LOG_P, report, INTENTS, bins=10)
    rows = read_table(tmp_path / "a/confusions.csv")
    assert [(row["intent"], row["predicted"], row["queries"]) for row in rows] == [("lost", PIN, "1"), (PIN, "lost", "1")]
    assert [row["intent"] for row in read_table(tmp_path / "a/f1_by_intent.csv")] == ["lost", PIN]
    assert sum(int(row["queries"]) for row in read_table(tmp_path / "a/reliability.csv")) == 4
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert {"f1_by_intent.png", "confusions.png", "reliability.png", "accuracy_by_size.png"} <= names
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
