"""A dataset with every defect that an audit names, planted in rows that a list says; the audit must name those rows and no other."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from string import ascii_lowercase, digits
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from clones import sh
from matplotlib.figure import Figure
from sklearn.preprocessing import normalize
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel

from pipeline.artifacts import SPLITS
from pipeline.audit import cut, main
from pipeline.auditing import charts
from pipeline.auditing.defects import Defect, Defects, Query, in_raw_rows, in_splits, in_word_pieces
from pipeline.auditing.page import KINDS, PICTURES, write_page
from pipeline.auditing.reading import read_prepared, tokenize
from pipeline.errors import UserError
from pipeline.rows import Row, write_rows
from pipeline.suspects import out_of_fold, suspects

SUBJECTS = {
    "card_lost": "card purse wallet stolen lost gone missing vanished mislaid taken",
    "exchange": "rate dollars euros yen convert exchange currency foreign francs pounds",
    "new_pin": "pin code digits change forgot blocked reset secret wrong choose",
    "top_up": "account money add deposit salary fund cash savings load fill",
    "<b>odd & rare</b>": "animals zebra lion tiger giraffe elephant monkey parrot snake whale",
}
COMMON = list(SUBJECTS)[:4]
FILLERS = ["please", "today", "could", "somebody", "really", "kindly", "now", "again", "maybe", "quickly", "still", "anyway"]
MAX_TOKENS = 48
PERSONAL = {
    "card number": "4111 1111 1111 1111",
    "iban": "GB29 NWBK 6016 1331 9268 19",
    "mail address": "jo@example.org",
    "phone number": "+44 20 7946 0958",
}


class Planted(NamedTuple):
    """A dataset, and the places of what is wrong with it, by kind."""

    train: list[Row]
    test: list[Row]
    places: dict[str, list[str]]


class Author:
    """Writes sentences of five words of a subject and three fillers: no two share enough words to be near twins."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.written: set[frozenset[str]] = set()

    def sentence(self, intent: str) -> str:
        while True:
            words = [*self.rng.choice(SUBJECTS[intent].split(), 5, replace=False), *self.rng.choice(FILLERS, 3, replace=False)]
            if frozenset(words) not in self.written:
                self.written.add(frozenset(words))
                return " ".join(self.rng.permutation(words))


def plant() -> Planted:
    """240 training and 60 test rows without a fault, and among them the faults."""
    author = Author()
    train = [(author.sentence(intent), intent) for _ in range(60) for intent in COMMON]
    test = [(author.sentence(intent), intent) for _ in range(15) for intent in COMMON]
    clean_train, clean_test = list(train), list(test)
    places: dict[str, list[str]] = {kind: [] for kind in KINDS}

    def put(kind: str, text: str, intent: str, where: list[tuple[str, str]] = train) -> None:
        where.append((text, intent))
        places[kind].append(f"{'mine.csv' if where is train else 'test.csv'}:{len(where) + 1}")

    for shift in (1, 2, 3):
        for intent, other in zip(COMMON, COMMON[shift:] + COMMON[:shift], strict=True):
            put("label_error", author.sentence(intent), other)
    for text in ("   ", "NaN", "\u0000"):
        put("empty", text, "top_up")
    put("empty", " ", "top_up", test)
    for text, intent in clean_train[5:8]:
        put("duplicate", f"  {text.upper()}", intent)
    for first, second in (("card_lost", "top_up"), ("new_pin", "exchange")):
        text = author.sentence(first)
        put("conflicting", text, first)
        put("conflicting", text.title(), second)
    for text, intent in clean_test[:3]:
        put("also_in_test", text, intent)
    put("repeated_in_test", clean_test[5][0].upper(), clean_test[5][1], test)
    for index, kind in ((10, "twin_other_intent"), (11, "twin_across")):
        text, intent = clean_train[index]
        places[kind].append(f"mine.csv:{index + 2}")  # the pair is told at its training row
        test.append((f"{text} tomorrow", COMMON[COMMON.index(intent) - 1] if kind == "twin_other_intent" else intent))
    text, intent = clean_test[7]
    places["twin_inside"].append("test.csv:9")
    test.append((f"{text} tomorrow", intent))
    for number in PERSONAL.values():
        put("personal_data", f"{author.sentence('new_pin')} {number}", "new_pin")
    for _ in range(4):
        put("rare_intent", author.sentence("<b>odd & rare</b>"), "<b>odd & rare</b>")
    put("unknown_words", "bonjour voiture demain soleil card", "card_lost", test)
    put("unknown_characters", f"{author.sentence('top_up')} \U0001f984", "top_up")
    put("cut", " ".join(author.sentence("exchange") for _ in range(8)), "exchange")
    put("one_word", "card", "card_lost", test)
    return Planted(*([Row(line, *row) for line, row in enumerate(rows, start=2)] for rows in (train, test)), places)


def write_encoder(folder: Path) -> None:
    """A BERT with random weights that knows every letter and digit, and words of the subjects as such; it cares little for their order."""
    folder.mkdir(parents=True)
    words = sorted({word for subject in SUBJECTS.values() for word in subject.split()} | set(FILLERS) - set(ascii_lowercase))
    signs = [*ascii_lowercase, *digits, *"+@."]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *signs, *(f"##{sign}" for sign in signs), *words]
    tokenizer = Tokenizer(WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(pieces), hidden_size=128, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    model = BertModel(config, add_pooling_layer=False)
    model.embeddings.position_embeddings.weight.data.zero_()
    model.save_pretrained(folder)


def write_params(root: Path, **prepare: object) -> None:
    section = {"test_fraction": 0.2, "validation_fraction": 0.1, "refit": False, "mask_personal_data": False, "seed": 1} | prepare
    features = {"max_tokens": MAX_TOKENS, "augmented_copies": 0, "seed": 1}
    (root / "params.yaml").write_text(yaml.safe_dump({"prepare": section, "featurize": features}))


def run(root: Path, command: str, *options: str, code: int = 0) -> str:
    return sh(root, sys.executable, "-m", f"pipeline.{command}", *options, code=code, variables={"PYTHONPATH": str(Path.cwd())})


def audit_here(root: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """In this process."""
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", ["audit", *options])
    main()


def prepare(root: Path, train: list[Row], test: list[Row]) -> None:
    raw = root / "data/raw/dataset"
    raw.mkdir(parents=True, exist_ok=True)
    write_rows(raw / "train.csv", train)
    write_rows(raw / "test.csv", test)
    (raw / "source.json").write_text(json.dumps({"train": "mine.csv", "test": "test.csv"}))
    run(root, "prepare", "--dataset", "data/raw/dataset", "--prepared", "data/prepared", "--metrics", "data.json")


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant()


@pytest.fixture(scope="module")
def project(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `fetch` and `prepare` ran, and the audit."""
    root = tmp_path_factory.mktemp("project")
    write_params(root)
    write_encoder(root / "data/raw/encoder")
    prepare(root, planted.train, planted.test)
    (root / "told.txt").write_text(run(root, "audit", "--counts", "counts.json"))
    return root


@pytest.fixture(scope="module")
def audit(project: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((project / "build/audit/audit.json").read_text(encoding="utf-8"))
    return report


def test_every_kind_of_defect_is_planted(planted: Planted) -> None:
    assert [kind for kind in KINDS if not planted.places[kind]] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_planted_row_is_found_and_no_other(kind: str, planted: Planted, audit: dict[str, Any]) -> None:
    assert sorted(row["place"] for row in audit["found"][kind]) == sorted(planted.places[kind])
    assert audit["defects"][kind] == len(planted.places[kind])


def test_a_suspect_is_told_with_the_intent_that_its_words_are_of(planted: Planted, audit: dict[str, Any]) -> None:
    for row in audit["found"]["label_error"]:
        subject = next(intent for intent in COMMON if len(set(row["text"].split()) & set(SUBJECTS[intent].split())) == 5)
        assert row["detail"].startswith(f"perhaps {subject}: probability ")
        assert row["intent"] != subject
    assert audit["suspects"]["rows"] == len(planted.places["label_error"])
    assert sum(count for *_, count in audit["pairs"]) == len(planted.places["label_error"])


def test_a_repeated_row_names_the_row_that_it_repeats(audit: dict[str, Any]) -> None:
    details = {kind: [row["detail"] for row in audit["found"][kind]] for kind in KINDS}
    assert details["duplicate"] == [f"the same as mine.csv:{line}" for line in (7, 8, 9)]
    assert details["also_in_test"] == [f"the same as test.csv:{line}" for line in (2, 3, 4)]
    assert details["repeated_in_test"] == ["the same as test.csv:7, exchange"]
    assert re.fullmatch(r"also top_up at mine\.csv:\d+", details["conflicting"][0])
    assert details["twin_inside"][0].startswith("0.89 like test.csv:")
    assert details["unknown_words"] == ["4 of 5 words: bonjour voiture demain soleil"]
    assert details["unknown_characters"] == ["not in the vocabulary: \U0001f984"]


def test_personal_data_is_named_and_counted_and_leaves_no_copy_in_the_report(project: Path, audit: dict[str, Any]) -> None:
    assert [row["detail"] for row in audit["found"]["personal_data"]] == [f"{kind}: 1" for kind in PERSONAL]
    counted = json.loads((project / "data.json").read_text())["personal_data"]
    assert counted == {"masked": False, "mail_address": 1, "iban": 1, "card_number": 1, "phone_number": 1}
    for file in ("audit.json", "index.html"):
        text = (project / "build/audit" / file).read_text(encoding="utf-8")
        assert [number for number in PERSONAL.values() if number in text] == []


def some_training_queries() -> list[Query]:
    author = Author()
    return [Query(f"mine.csv:{line}", "train", author.sentence(intent), intent) for line in range(2, 14) for intent in COMMON]


@pytest.mark.parametrize(("kind", "number"), list(PERSONAL.items()))
def test_no_detail_tells_the_personal_data_of_a_held_out_row_of_words_that_training_does_not_have(kind: str, number: str) -> None:
    found = in_splits([*some_training_queries(), Query("test.csv:2", "test", f"bonjour voiture {number}", "top_up")])
    (row,) = found["unknown_words"]
    assert "bonjour voiture" in row.detail
    assert [word for word in re.findall(r"\w+", number.lower()) if word in row.detail.split()] == []
    assert row.detail.endswith(kind.rsplit(maxsplit=1)[-1])


@pytest.mark.parametrize("number", ["020 7946 0958", *PERSONAL.values()])
def test_no_detail_tells_the_personal_data_of_a_near_twin_whatever_its_intent_is_called(number: str) -> None:
    """A number is no phone number behind the word order, which in the detail is the name of an intent."""
    texts = [f"{number} is what {ending} yesterday said about the delivery of my new purse" for ending in ("you", "they")]
    queries = [
        Query(f"test.csv:{line}", "test", text, intent) for line, (text, intent) in enumerate(zip(texts, ("top_up", "order"), strict=True))
    ]
    (row,) = in_splits([*some_training_queries(), *queries])["twin_other_intent"]
    assert re.fullmatch(r"0\.\d\d like test\.csv:1 \(test, order\): \[[a-zA-Z ]+\] is what they yesterday .*", row.detail)
    assert number not in row.text + row.detail


def test_no_detail_tells_the_personal_data_beside_a_character_that_the_encoder_does_not_know(project: Path) -> None:
    query = Query("test.csv:2", "test", "call +442079460958\U0001f984 or \U0001f984", "top_up")
    (row,) = in_word_pieces([query], tokenize(project / "data/raw/encoder", [query]), MAX_TOKENS)["unknown_characters"]
    assert row.detail == "not in the vocabulary: [phone number] \U0001f984"


def test_a_row_of_many_near_twins_is_told_once_with_the_nearest_three() -> None:
    same = "where is my new card that was sent to me last week"
    texts = [same, *(f"{same}{' x' * (i > 2)} {i}{i}" for i in range(5))]
    queries = [Query(f"mine.csv:{line}", "train", text, "card_lost") for line, text in enumerate(texts, start=2)]
    rows = in_splits(queries)["twin_inside"]
    assert {row.place: row.times for row in rows} == {"mine.csv:2": 5, "mine.csv:3": 4, "mine.csv:4": 3, "mine.csv:5": 2, "mine.csv:6": 1}
    assert rows[0].place == "mine.csv:2"
    assert re.findall(r"mine\.csv:\d", rows[0].detail) == ["mine.csv:3", "mine.csv:4", "mine.csv:5"]
    assert rows[0].detail.endswith(" and 2 more")
    assert [row.place for row in rows if "more" in row.detail] == ["mine.csv:2", "mine.csv:3"]


def test_a_row_of_many_conflicting_rows_names_three_of_them() -> None:
    intents = [*["top_up"] * 3, *["exchange"] * 4]
    queries = [Query(f"mine.csv:{line}", "train", "the same words", intent) for line, intent in enumerate(intents, start=2)]
    details = [row.detail for row in in_raw_rows(queries, [])["conflicting"]]
    assert details[:3] == ["also exchange at mine.csv:5, exchange at mine.csv:6, exchange at mine.csv:7 and 1 more"] * 3
    assert details[3:] == ["also top_up at mine.csv:2, top_up at mine.csv:3, top_up at mine.csv:4"] * 4


def test_what_is_the_same_but_for_what_nobody_sees_is_told_as_the_same() -> None:
    train = [Query("mine.csv:2", "train", "where is\u200b my card", "card_lost"), Query("mine.csv:3", "train", "\ufeffone", "top_up")]
    train.append(Query("mine.csv:4", "train", "ONE", "exchange"))
    test = [Query(f"test.csv:{line}", "test", text, "card_lost") for line, text in ((2, "where is my card"), (3, "where is my\u200b card"))]
    found = in_raw_rows(train, test)
    assert [row.detail for row in found["also_in_test"]] == ["the same as test.csv:2"]
    assert [row.detail for row in found["conflicting"]] == ["also exchange at mine.csv:4", "also top_up at mine.csv:3"]
    assert [row.detail for row in found["repeated_in_test"]] == ["the same as test.csv:2, card_lost"]
    assert in_splits([*some_training_queries(), *test])["twin_inside"] == []


def test_prepare_counts_the_pairs_of_near_twins_that_the_audit_names(project: Path, audit: dict[str, Any]) -> None:
    counted = json.loads((project / "data.json").read_text())
    pairs = {split: tuple(counted[split][f"pairs_of_near_twins_{intent}_intent"] for intent in ("same", "other")) for split in SPLITS}
    inside_test = audit["defects"]["twin_inside"] + audit["defects"]["repeated_in_test"]
    assert pairs == {"train": (0, 0), "validation": (0, 0), "test": (inside_test, 0)}


def test_pairs_are_counted_as_pairs_and_shown_by_row(tmp_path: Path) -> None:
    for name in PICTURES:
        (tmp_path / f"{name}.png").write_bytes(b"")
    defects: Defects = {kind: [] for kind in KINDS} | {"twin_across": [Defect("mine.csv:2", "top_up", "a text", "its twins", 5)]}
    write_page("mine.csv", "", {}, defects, tmp_path, tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<a href='#twin_across'>Pairs of near-duplicates across splits</a><td class=number>5</tr>" in page
    assert "<summary>1 rows with 5 pairs</summary>" in page


def test_intents_that_begin_alike_have_a_bar_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(charts, "save", lambda figure, path: drawn.append(figure))
    alike = [f"{'a_very_long_name_of_an_intent' * 2}_{i}" for i in range(3)]
    charts.draw_balance([Query("mine.csv:2", "train", "text", intent) for intent in alike], tmp_path / "x.png")
    charts.draw_suspects(np.array([0.1, 0.9]), np.array([0]), [(alike[0], alike[1], 2), (alike[0], alike[2], 1)], tmp_path / "x.png")
    bars = [{bar.get_window_extent().y0 for bar in axis.patches} for axis in (drawn[0].axes[0], drawn[1].axes[1])]
    assert [len(places) for places in bars] == [3, 2]
    assert [len(axis.get_yticklabels()) for axis in (drawn[0].axes[0], drawn[1].axes[1])] == [3, 2]


def test_the_counts_hold_no_text(planted: Planted, project: Path) -> None:
    counts = (project / "counts.json").read_text(encoding="utf-8")
    assert "found" not in json.loads(counts)
    assert [row.text for row in (*planted.train, *planted.test) if len(row.text.split()) > 1 and row.text in counts] == []


def test_the_page_needs_nothing_beside_itself_and_runs_nothing_of_a_row(project: Path) -> None:
    page = (project / "build/audit/index.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "&lt;b&gt;odd &amp; rare&lt;/b&gt;" in page
    assert set(re.findall(r"<img [^>]*src=\"([^\"]{5})", page)) == {"data:"}
    assert not re.search(r"https?://|<link|<script|url\(", page)
    assert set(re.findall(r"href='#(\w+)'", page)) == set(KINDS) == set(re.findall(r"<h3 id=(\w+)>", page))


def test_the_summary_is_printed_and_the_pictures_are_there(project: Path) -> None:
    told = (project / "told.txt").read_text()
    assert "\ndefects: suspected label errors: 12, the same text under two intents: " in told
    assert re.search(r"rows of 5 intents: 12 labels \(\d\.\d %\) are suspect", told)
    names = {path.name for path in (project / "build/audit").iterdir()}
    assert names == {"index.html", "audit.json", *(f"{name}.png" for name in ("balance", "lengths", "vocabulary", "twins", "suspects"))}


def test_masked_rows_are_compared_as_masked_and_what_only_a_number_tells_apart_is_the_same(planted: Planted, tmp_path: Path) -> None:
    write_params(tmp_path, mask_personal_data=True)
    numbers = ["4111 1111 1111 1111", "5555 5555 5555 4444"]
    train = [*planted.train[:240], *(Row(242 + i, f"my card {number} is lost", "card_lost") for i, number in enumerate(numbers))]
    prepare(tmp_path, train, [Row(2, "call +44 20 7946 0958", "top_up")])
    report = json.loads((tmp_path / "data.json").read_text())
    assert report["dropped"]["duplicate"] == 1
    assert report["personal_data"] == {"masked": True, "mail_address": 0, "iban": 0, "card_number": 2, "phone_number": 1}
    prepared = {
        split: pq.read_table(tmp_path / f"data/prepared/{split}.parquet")["text"].to_pylist() for split in ("train", "validation", "test")
    }
    assert prepared["test"] == ["call [phone number]"]
    assert [text for split in ("train", "validation") for text in prepared[split] if "1" in text or "[" in text] == [
        "my card [card number] is lost"
    ]


def test_without_a_run_there_is_one_line_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path)
    with pytest.raises(UserError, match=r"^data/raw/dataset/source\.json: no such file: run `make repro`, or `dvc pull data/raw/dataset`$"):
        audit_here(tmp_path, monkeypatch)


def test_after_a_refit_the_validation_rows_are_judged_as_such(
    planted: Planted, audit: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(tmp_path, refit=True)
    write_encoder(tmp_path / "data/raw/encoder")
    prepare(tmp_path, planted.train, planted.test)
    audit_here(tmp_path, monkeypatch)
    again = json.loads((tmp_path / "build/audit/audit.json").read_text(encoding="utf-8"))
    assert again["rows"] == audit["rows"]
    assert again["found"]["label_error"] == audit["found"]["label_error"]


@pytest.mark.parametrize(("ids", "kept"), [([2, 7, 3], [2, 7, 3]), ([2, 7, 8, 3], [2, 7, 8, 3]), ([2, 7, 8, 9, 3], [2, 7, 8, 3])])
def test_word_pieces_are_cut_before_the_last(ids: list[int], kept: list[int]) -> None:
    assert cut(ids, 4) == kept


@pytest.mark.parametrize("output", ["notes.txt", "notes.txt/march"])
def test_an_output_folder_that_is_a_file_is_named_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"^notes\.txt: is a file: give a folder for the output$"):
        audit_here(tmp_path, monkeypatch, "--output", output)


def test_folders_that_are_missing_or_do_not_belong_together_are_named(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "data", tmp_path / "data")
    dataset, prepared = tmp_path / "data/raw/dataset", tmp_path / "data/prepared"
    queries, intents = read_prepared(prepared, dataset)
    assert len(intents) == 5
    (dataset / "source.json").write_text(json.dumps({"train": "mine.csv", "test": None}))
    with pytest.raises(UserError, match=r"test\.parquet: row test\.csv:\d+ is of no file in .*dataset: run `dvc repro prepare`"):
        read_prepared(prepared, dataset)
    (prepared / "test.parquet").unlink()
    with pytest.raises(UserError, match=r"test\.parquet: no such file: run `make repro`, or `dvc pull"):
        read_prepared(prepared, dataset)
    with pytest.raises(UserError, match=r"nowhere/tokenizer\.json: no such file"):
        tokenize(tmp_path / "nowhere", queries)


def exchanged_labels(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities and labels of 600 rows of classes that lie far apart, 40 of them under another's label; and the true classes."""
    rng = np.random.default_rng(seed)
    truth = np.arange(600) % 6
    embeddings = normalize(np.eye(6, 20)[truth] + rng.normal(0, 0.05, (600, 20)))  # of unit length, as those of the encoder
    labels = truth.copy()
    exchanged = rng.choice(600, 40, replace=False)
    labels[exchanged] = (truth[exchanged] + rng.integers(1, 6, 40)) % 6
    return out_of_fold(embeddings, labels, 6, seed=1), labels, truth


@pytest.mark.parametrize("seed", range(3))
def test_exchanged_labels_are_all_suspected_and_the_rest_believed_where_classes_lie_far_apart(seed: int) -> None:
    probabilities, labels, truth = exchanged_labels(seed)
    found = suspects(probabilities, labels)
    assert sorted(found.rows.tolist()) == np.flatnonzero(labels != truth).tolist()
    assert found.suggested.tolist() == truth[found.rows].tolist()


def test_the_published_threshold_misses_exchanged_labels_even_there() -> None:
    """Why ours is lower."""
    probabilities, labels, truth = exchanged_labels(1)
    found = set(suspects(probabilities, labels, sureness=1.0).rows.tolist())
    assert found < set(np.flatnonzero(labels != truth).tolist())


def test_the_surer_another_class_must_be_the_fewer_are_suspects_and_the_widest_margin_comes_first() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    logits = 2 * np.eye(4)[labels] + rng.normal(0, 1, (200, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    strict, loose = (suspects(probabilities, labels, sureness) for sureness in (1.0, 0.5))
    assert 0 < len(strict.rows) < len(loose.rows)
    assert set(strict.rows) < set(loose.rows)
    margin = probabilities[loose.rows, loose.suggested] - probabilities[loose.rows, labels[loose.rows]]
    assert (np.diff(margin) <= 0).all()
    assert (loose.suggested != labels[loose.rows]).all()


def test_the_class_that_is_suggested_is_one_that_the_models_are_sure_of() -> None:
    labels = np.repeat([0, 1, 2], 10)
    probabilities = np.repeat([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.25, 0.3, 0.45]], 10, axis=0)
    probabilities[0] = 0.1, 0.5, 0.4  # rather 1, but less so than rows of 1 are; 2 as much as rows of 2 are
    probabilities[1] = 0.1, 0.7, 0.2
    found = suspects(probabilities, labels)
    assert (found.rows.tolist(), found.suggested.tolist()) == ([1], [1])


def test_labels_without_a_fault_give_no_suspect() -> None:
    labels = np.arange(60) % 3
    found = suspects(out_of_fold(np.eye(3)[labels], labels, 3, seed=1), labels)
    assert (found.rows.tolist(), found.suggested.tolist()) == ([], [])


def test_out_of_fold_means_that_no_model_has_seen_the_row_it_judges() -> None:
    """Embeddings that tell each row and nothing else: who has seen a row knows its label, who has not can only guess."""
    labels = np.random.default_rng(0).permutation(np.arange(200) % 4)
    probabilities = out_of_fold(np.eye(200) * 50, labels, 4, seed=1)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(200))
    assert (probabilities.argmax(axis=1) == labels).mean() < 0.45


def test_an_intent_of_two_rows_is_in_all_that_a_model_learns_from() -> None:
    labels = np.array([0] * 20 + [1] * 20 + [2] * 2)
    probabilities = out_of_fold(np.eye(3)[labels], labels, 3, seed=1)
    assert (probabilities > 0).all()
    assert probabilities.argmax(axis=1).tolist() == labels.tolist()
    assert (out_of_fold(np.eye(3)[labels], labels, 3, seed=1) == probabilities).all()
