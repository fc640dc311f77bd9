from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_models import LABELS, WORDS

from pipeline.drift import FEWEST, main, read_arguments, read_new
from pipeline.drifting.page import draw, write_page
from pipeline.drifting.profiles import Profile
from pipeline.errors import UserError

STRANGE = ("bonjour", "voiture", "demain", "soleil", "merci")


def sentences(count: int, seed: int, words: Sequence[str] = WORDS, most: int = 12) -> list[str]:
    draw_from = random.Random(seed)
    return [" ".join(draw_from.choices(words, k=draw_from.randint(1, most))) for _ in range(count)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    for split, count, seed in (("train", 900, 1), ("test", 400, 2)):
        pq.write_table(pa.table({"text": sentences(count, seed)}), folder / f"{split}.parquet")
    (folder / "labels.json").write_text(json.dumps(LABELS))
    return folder


def run(texts: list[str], onnx_folder: Path, prepared: Path, folder: Path, *options: str, code: int) -> str:
    path = folder / "new.csv"
    path.write_text("".join(f"{text}\n" for text in ["text", *texts]))
    words = [sys.executable, "-m", "pipeline.drift", str(path), "--model", str(onnx_folder), "--data", str(prepared)]
    done = subprocess.run([*words, "--output", str(folder / "report"), *options], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def report(folder: Path) -> dict[str, object]:
    value: dict[str, object] = json.loads((folder / "report/report.json").read_text())
    return value


def test_queries_like_those_before_are_no_drift(onnx_folder: Path, prepared: Path, tmp_path: Path) -> None:
    told = run(sentences(300, seed=3), onnx_folder, prepared, tmp_path, code=0)
    assert told.count("no drift") == 4
    assert report(tmp_path)["drift"] is False
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.json", "report.png", "report.html"}


def test_longer_queries_of_strange_words_are_a_drift_and_the_report_says_of_what(onnx_folder: Path, prepared: Path, tmp_path: Path) -> None:
    told = run(sentences(300, 4, [*WORDS, *STRANGE], most=40), onnx_folder, prepared, tmp_path, code=1)
    drifted = {check["name"]: check["drift"] for check in report(tmp_path)["checks"]}  # type: ignore[attr-defined]
    assert drifted["words"]
    assert drifted["unknown"]
    assert "words: " in told
    assert re.search(r"^unknown: .*DRIFT$", told, re.MULTILINE)


def test_new_queries_are_compared_with_those_that_the_model_has_not_seen(onnx_folder: Path, prepared: Path, tmp_path: Path) -> None:
    """A word that train lacks is no news where as many of the held-out queries have it."""

    def with_zebras(texts: list[str]) -> list[str]:
        return [" ".join([*text.split()[:-1], "zebra"]) if row % 2 else text for row, text in enumerate(texts)]

    shutil.copytree(prepared, tmp_path / "data")
    pq.write_table(pa.table({"text": with_zebras(sentences(400, seed=2))}), tmp_path / "data/test.parquet")
    run(with_zebras(sentences(300, seed=3)), onnx_folder, tmp_path / "data", tmp_path, code=0)
    assert report(tmp_path)["reference"] == {"train": 900, "held_out": 400}
    effect = {check["name"]: check["effect"] for check in report(tmp_path)["checks"]}  # type: ignore[attr-defined]
    assert effect["unknown"] < 0.1


def test_a_user_can_ask_for_more_than_luck(onnx_folder: Path, prepared: Path, tmp_path: Path) -> None:
    run(sentences(300, 4, most=40), onnx_folder, prepared, tmp_path, "--least-effect", "1", code=0)


@pytest.mark.parametrize(
    ("texts", "options", "told"),
    [
        (["card"] * 49, [], "new.csv: usable texts: 49; give at least 50"),
        (["card"] * 60, ["--text-column", "message"], "column 'message' is missing"),
        (["card"] * 60, ["--data", "nowhere"], "nowhere/train.parquet: no such file"),
        (["card"] * 60, ["--model", "nowhere"], "nowhere"),
    ],
)
def test_an_error_is_neither_drift_nor_none(
    texts: list[str], options: list[str], told: str, onnx_folder: Path, prepared: Path, tmp_path: Path
) -> None:
    output = run(texts, onnx_folder, prepared, tmp_path, *options, code=2)
    assert output.startswith("error: ")
    assert output.count("\n") == 1
    assert told in output
    assert not (tmp_path / "report").exists()


def test_data_of_another_run_than_the_models_is_an_error(onnx_folder: Path, prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path / "data")
    (tmp_path / "data/labels.json").write_text(json.dumps(["change_pin", "lost_card"]))
    told = run(["card"] * 60, onnx_folder, tmp_path / "data", tmp_path, code=2)
    wanted = f"not the intents of {onnx_folder}: run `dvc repro`, or name folders of one run"
    assert told == f"error: {tmp_path / 'data/labels.json'}: {wanted}\n"


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--most", "10"), "--most 10: must be 50 or more"),
        (("--seed", "-1"), "--seed -1: must be 0 or more"),
        (("--significance", "0"), "--significance 0: must be 0.0001 or more, and less than 1"),
        (("--significance", "nan"), "--significance nan: must be 0.0001 or more, and less than 1"),
        (("--least-effect", "10"), "--least-effect 10: must be between 0 and 1"),
    ],
)
def test_an_option_that_cannot_be_is_told_before_the_work(
    option: tuple[str, str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["drift", "new.csv", *option])
    with pytest.raises(SystemExit, match="2"):
        read_arguments()
    assert capsys.readouterr().err.endswith(f"error: {told}\n")


@pytest.mark.parametrize("output", ["file", "file/report"])
def test_an_output_that_cannot_be_a_folder_is_told_before_the_work(output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["drift", "missing.csv", "--model", "missing", "--output", str(tmp_path / output)])
    with pytest.raises(UserError, match=f"{tmp_path / 'file'}: is a file: give a folder for the output"):
        main()


def test_of_many_queries_some_are_drawn_and_rows_without_a_text_are_counted(tmp_path: Path) -> None:
    (tmp_path / "new.jsonl").write_text("".join(json.dumps({"text": str(i) if i % 4 else None}) + "\n" for i in range(400)))
    texts, rows, missing = read_new(tmp_path / "new.jsonl", "text", most=100, seed=1)
    assert (len(texts), rows, missing) == (100, 400, 100)
    assert texts == sorted(set(texts), key=int)
    assert max(map(int, texts)) > 350


def test_texts_are_written_as_those_that_the_model_learnt_from(tmp_path: Path) -> None:
    composed = "Überweisung für das Café"
    lines = [json.dumps({"text": unicodedata.normalize("NFD", composed)}) + "\n"] * FEWEST
    (tmp_path / "new.jsonl").write_text("".join(lines))
    assert set(read_new(tmp_path / "new.jsonl", "text", most=100, seed=1)[0]) == {composed}


def test_a_file_of_another_kind_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unsupported file type: give a "):
        read_new(tmp_path / "new.xlsx", "text", 100, 1)


def test_the_page_needs_nothing_beside_itself_and_runs_nothing_of_a_label(tmp_path: Path) -> None:
    profile = Profile(*(np.array([1.0, 2.0, 3.0]) for _ in range(3)), intents=np.array([0, 0, 1]))
    told = {
        "drift": True,
        "source": "<img src=x onerror=alert(1)>.csv",
        "rows": 3,
        "without_text": 1,
        "queries": 3,
        "reference": {"train": 3, "held_out": 3},
        "significance": 0.01,
        "least_effect": 0.1,
        "checks": [{"name": name, "effect": 0.2, "p": 0.1, "adjusted_p": 0.4, "drift": False} for name in Profile._fields],
        "needs_person": {"reference": 0.1, "new": 0.2},
        "intents": [{"intent": "<script>alert(1)</script> $x^", "reference": 0.1, "new": 0.9}],
    }
    draw(profile, profile, told, tmp_path / "a.png")
    draw(profile, profile, told, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    write_page(told, tmp_path / "a.png", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; $x^" in page
    assert re.findall(r"<img [^>]*src=\"([^\"]{5})", page) == ["data:"]
    assert not re.search(r"https?://|<link|url\(", page)


def test_of_more_rows_than_are_compared_each_is_as_likely_and_their_order_stays(tmp_path: Path) -> None:
    count, most, draws = 9000, 300, 40  # more than a part of a file, of which there is one after the other
    (tmp_path / "new.csv").write_text("text\n" + "".join(f"{number:05}\n" for number in range(count)))
    kept = []
    for seed in range(draws):
        texts, rows, missing = read_new(tmp_path / "new.csv", "text", most, seed)
        assert (len(set(texts)), rows, missing) == (most, count, 0)
        assert texts == sorted(texts)
        kept += [int(text) for text in texts]
    by_third = np.histogram(kept, bins=3, range=(0, count))[0]
    expected = draws * most / 3
    assert abs(by_third - expected).max() < 4 * np.sqrt(expected * 2 / 3)  # four standard deviations of the binomial law
    assert read_new(tmp_path / "new.csv", "text", most, 1)[0] == read_new(tmp_path / "new.csv", "text", most, 1)[0]
