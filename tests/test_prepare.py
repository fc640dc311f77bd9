from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.cleaning import drop_ambiguous, drop_empty
from pipeline.errors import UserError
from pipeline.prepare import check_intents, describe, hold_out
from pipeline.rows import Row, write_rows
from pipeline.text import clean_text

NAMES: dict[str, str | None] = {"train": "mine.csv", "test": "test.csv"}


def rows(*pairs: tuple[str, str]) -> list[Row]:
    return [Row(line, text, intent) for line, (text, intent) in enumerate(pairs, start=2)]


def prepare(folder: Path, train: list[Row], test: list[Row] | None = None, code: int = 0, **params: object) -> dict[str, Any]:
    """Runs the stage as DVC does; returns its metrics and what it printed, or its error."""
    raw = folder / "raw"
    raw.mkdir(exist_ok=True)
    write_rows(raw / "train.csv", train)
    if test is not None:
        write_rows(raw / "test.csv", test)
    (raw / "source.json").write_text(json.dumps({"train": "mine.csv", "test": "test.csv" if test is not None else None}))
    section = {"test_fraction": 0.2, "validation_fraction": 0.1, "refit": False, "mask_personal_data": False, "seed": 1} | params
    (folder / "params.yaml").write_text(yaml.safe_dump({"prepare": section}))
    command = [sys.executable, "-m", "pipeline.prepare", "--dataset", "raw", "--prepared", "prepared", "--metrics", "data.json"]
    done = subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(Path.cwd())}, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    if code:
        assert done.stderr.count("\n") == 1
        return {"error": done.stderr}
    report: dict[str, Any] = json.loads((folder / "data.json").read_text())
    return report | {"printed": done.stdout}


def ids(folder: Path, split: str) -> set[str]:
    return set(pq.read_table(folder / f"prepared/{split}.parquet")["id"].to_pylist())


TWENTY = rows(*((f"question {letter} about {intent}", intent) for intent in ("card", "pin") for letter in "abcdefghijklmnopqrst"))


def test_texts_are_composed_and_spaces_and_control_characters_become_one_space() -> None:
    assert clean_text(" Cafe\u0301\t is\u0000 \r\n open ") == "Café is open"


def test_empty_texts_are_dropped_and_counted_but_an_empty_label_is_an_error() -> None:
    nothing = rows(("  ", "a"), ("NaN", "b"), ("\u0000", ""), ("\u200b\ufeff", "a"), ("\ufe0f", "a"), ("\ue000", "a"))
    kept, dropped = drop_empty([Row(1, "hi", "a"), *nothing], "mine.csv")
    assert ([row.line for row in kept], dropped) == ([1], 6)
    with pytest.raises(UserError, match=r"mine\.csv:3: the intent is empty"):
        drop_empty(rows(("hi", "a"), ("ho", " ")), "mine.csv")


def test_labels_that_look_alike_are_one() -> None:
    written = ("top up", "top\u200b up", "\ufefftop up", "top \u200b up", "to\u00adp up", "to\x7fp up", "Top up")
    kept, _ = drop_empty(rows(*((str(row), intent) for row, intent in enumerate(written))), "mine.csv")
    assert [row.intent for row in kept] == ["top up"] * 6 + ["Top up"]


def test_repeated_conflicting_and_test_texts_leave_train_and_are_counted() -> None:
    train = rows(("same", "a"), ("Same", "a"), ("torn", "a"), ("TORN", "b"), ("\ufeffin te\u00adst", "a"), ("alone", "b"))
    kept, dropped = drop_ambiguous(train, rows(("In Test", "a")))
    assert [row.text for row in kept] == ["same", "alone"]
    assert dropped == Counter(duplicate=1, conflicting=2, also_in_test=1)


@pytest.mark.parametrize(
    "written",
    [
        "a family 👪❤ card",
        "A family 👪❤ card",
        "a family \u200b 👪❤ card",
        "\ufeffa fam\u00adily 👪❤\ufe0f card",
        "a family \ue000 👪\u200d❤ card \u200b",
    ],
)
def test_texts_are_the_same_whatever_nobody_sees(written: str) -> None:
    same = rows((clean_text(written), "a"), ("a family ❤ card", "a"), ("a family 👪❤ card!", "a"))
    assert drop_ambiguous(same, rows(("a family 👪❤ card", "a")))[1] == Counter(also_in_test=1)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (rows(("a", "x"), ("b", "x"), ("c", "x")), [], "mine.csv: intents left after cleaning: 1 (x): a classifier needs at least 2"),
        ([], [], "intents left after cleaning: none: "),
        (rows(("a", "x"), ("b", "x"), ("c", "x"), ("d", "y")), [], "intent 'y': rows after cleaning: 1; at least 3 are needed"),
        (rows(("a", "x"), ("b", "x"), ("c", "y")), rows(("q", "x")), "intent 'y': rows after cleaning: 1; at least 2 are needed"),
        (rows(("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")), rows(("q", "z")), "test.csv:2: intent 'z' does not occur in mine.csv"),
    ],
)
def test_labels_that_cannot_be_learned_are_named(train: list[Row], test: list[Row], message: str) -> None:
    with pytest.raises(UserError) as error:
        check_intents(train, test, NAMES)
    assert message in str(error.value)


def test_holding_out_takes_the_share_of_each_intent_at_least_one_and_never_all() -> None:
    few = [*TWENTY, Row(90, "x", "rare"), Row(91, "y", "rare")]
    rest, held = hold_out(few, 0.1, seed=0)
    assert Counter(row.intent for row in held) == {"card": 2, "pin": 2, "rare": 1}
    assert sorted(rest + held) == sorted(few)


def test_a_row_that_comes_goes_or_moves_leaves_the_others_in_their_splits() -> None:
    many = rows(*((f"{intent} question {i}", intent) for intent in "abcdefgh" for i in range(40)))

    def held_texts(of: list[Row]) -> set[str]:
        rest, test = hold_out(of, 0.2, seed=1)
        return {f"test {row.text}" for row in test} | {f"validation {row.text}" for row in hold_out(rest, 0.1, seed=1)[1]}

    before = held_texts(many)
    assert held_texts(many[::-1]) == before
    for changed in ([*many, Row(900, "one more", "a")], many[1:], [many[0]._replace(intent="b"), *many[1:]]):
        moved = {text.partition(" ")[2] for text in held_texts(changed) ^ before}
        assert len(moved) <= 6
        assert all(text[0] in "abo" for text in moved)  # of the intents with more or fewer rows


def test_split_is_disjoint_stratified_and_identical_for_same_seed(tmp_path: Path) -> None:
    report = prepare(tmp_path, TWENTY)
    parts = [ids(tmp_path, split) for split in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40
    assert [report[split]["rows"] for split in ("train", "validation", "test")] == [28, 4, 8]
    assert all(report[split]["fewest_per_intent"] > 0 for split in ("train", "validation", "test"))
    first = {path.name: path.read_bytes() for path in (tmp_path / "prepared").iterdir()}
    prepare(tmp_path, TWENTY)
    assert {path.name: path.read_bytes() for path in (tmp_path / "prepared").iterdir()} == first
    prepare(tmp_path, TWENTY, seed=2)
    assert ids(tmp_path, "test") != parts[2]


def test_an_official_test_split_stays_as_it_is_and_refit_trains_on_validation_too(tmp_path: Path) -> None:
    test = rows(("what about pins", "pin"), ("what about pins", "pin"), ("", "card"))
    report = prepare(tmp_path, TWENTY, test, refit=True)
    assert report["test"]["rows"] == 2
    assert report["dropped"]["empty_in_test"] == 1
    assert ids(tmp_path, "test") == {"test.csv:2", "test.csv:3"}
    assert ids(tmp_path, "validation") < ids(tmp_path, "train")
    assert report["train"]["rows"] == 40


def test_what_later_stages_need_after_a_refit_is_told_before_the_expensive_ones(tmp_path: Path) -> None:
    needed = "train.calibration_temperature, evaluate.threshold, evaluate.label_threshold"
    assert f"a run without it: {needed}\n" in prepare(tmp_path, TWENTY, refit=True)["printed"]
    printed = prepare(tmp_path, TWENTY)["printed"]
    assert "refit" not in printed
    assert "near-duplicates: comparing 40 texts with one another" in printed


def test_an_official_test_split_without_a_text_is_no_reason_to_hold_out_rows(tmp_path: Path) -> None:
    assert "test.csv: none of the 2 rows has a text" in prepare(tmp_path, TWENTY, rows(("", "pin"), (" ", "card")), code=1)["error"]


def test_words_are_counted_as_the_audit_counts_them() -> None:
    told = describe({"train": pa.table({"text": ["Top-up, please"], "label": [0]})}, ["top_up"])["train"]
    assert (told["median_words"], told["most_words"], told["different_words"]) == (3, 3, 3)


def test_near_twins_of_test_texts_in_train_are_counted(tmp_path: Path) -> None:
    test = rows(("about card question a", "card"), ("about card question b", "pin"), ("quite another thing", "pin"))
    report = prepare(tmp_path, TWENTY, test, refit=True)
    assert report["test"]["near_twins_in_train_same_intent"] == 1
    assert report["test"]["near_twins_in_train_other_intent"] == 1


def test_two_labels_with_three_rows_each_and_odd_names_are_enough(tmp_path: Path) -> None:
    odd = ['a "quoted", name', "| *émoji* 🙂 <b>"]
    report = prepare(tmp_path, rows(*((f"text {i} of {name}", name) for name in odd for i in range(3))))
    assert [report[split]["rows"] for split in ("train", "validation", "test")] == [2, 2, 2]
    assert json.loads((tmp_path / "prepared/labels.json").read_text(encoding="utf-8")) == sorted(odd)


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    prepare(tmp_path, TWENTY)
    before = (tmp_path / "prepared/train.parquet").read_bytes()
    assert "a classifier needs at least 2" in prepare(tmp_path, TWENTY[:20], code=1)["error"]
    assert (tmp_path / "prepared/train.parquet").read_bytes() == before
