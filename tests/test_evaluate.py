from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from small_models import make_tokenizer, write_split

from pipeline.abstention import Thresholds
from pipeline.batching import Ids
from pipeline.csv_files import read_table
from pipeline.errors import UserError
from pipeline.evaluate import MODELS, EvaluateParams, choose, read_out_of_scope, write_plots, write_predictions, write_risk_coverage

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


def test_the_risk_coverage_plot_is_data_and_a_picture_that_repeats(tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        write_risk_coverage(folder, np.exp(LOG_P), LABELS, np.exp(LOG_P[:2]), Thresholds(0.75, 0.1), target=0.9)
    rows = read_table(tmp_path / "a/risk_coverage.csv")
    assert rows[0] == {"threshold": "0.800000", "accepted": "0.500000", "accuracy": "1.000000", "out_of_scope": "0.500000"}
    assert [row["accepted"] for row in rows] == ["0.500000", "0.750000", "1.000000"]
    assert (tmp_path / "a/risk_coverage.png").read_bytes() == (tmp_path / "b/risk_coverage.png").read_bytes()


def test_texts_of_no_intent_are_tokenized_as_queries_are(tmp_path: Path) -> None:
    make_tokenizer().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "other.csv").write_text('text,kind\nhelp,chat\n"my, my",chat\nqwzx,gibberish\nMY CARD,shouting\n\n')
    ids, kinds = read_out_of_scope(tmp_path / "other.csv", tmp_path / "tokenizer.json")
    assert kinds == ["chat", "chat", "gibberish", "shouting"]
    words = make_tokenizer().get_vocab()
    assert ids[3].tolist() == [words["[CLS]"], words["my"], words["card"], words["[SEP]"]]
    (tmp_path / "other.csv").write_text("text,sort\nhelp,chat\n")
    with pytest.raises(UserError, match=r"other\.csv:1: column 'kind' is missing"):
        read_out_of_scope(tmp_path / "other.csv", tmp_path / "tokenizer.json")


@pytest.mark.parametrize("refit", [False, True])
def test_thresholds_are_chosen_on_rows_that_train_has_not_seen(tmp_path: Path, refit: bool) -> None:
    params = EvaluateParams.model_validate(yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["evaluate"])
    write_split(tmp_path, "train", range(40 if refit else 20))
    write_split(tmp_path, "validation", range(20, 40))

    def sure(ids: Ids) -> np.ndarray:
        log_p_NC = np.full((len(ids), 4), np.log(0.01))
        log_p_NC[np.arange(len(ids)), np.arange(20, 20 + len(ids)) % 4] = np.log(0.97)
        return log_p_NC

    if refit:
        with pytest.raises(UserError, match=r"evaluate\.threshold: null"):
            choose(sure, tmp_path, params)
    else:
        assert choose(sure, tmp_path, params) == Thresholds(0.0, 0.97)
