from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from small_models import LABELS, TEMPERATURE, make_tokenizer, texts

from pipeline.decision import accepts, label_sets, probabilities
from pipeline.errors import UserError
from pipeline.inference import run_batches
from pipeline.manifest import record
from pipeline.onnx_session import multiplies_bytes, open_session, order_by_length, run_session
from pipeline.serving.classifier import Classifier
from pipeline.student import load_student
from pipeline.text import clean_text
from pipeline.tokens import encode

TEXTS = [*texts(30, seed=5), "", "  Lost\tmy\ncard ", "¿dónde?", "i lost \0my card", "\u202elost card", "💳💳", "card \ud83d", "x" * 5000]


@pytest.fixture
def folder(project: Path, tmp_path: Path) -> Path:
    shutil.copytree(project / "models/onnx", tmp_path / "onnx")
    return tmp_path / "onnx"


INT8_OR_ELSE = "int8" if multiplies_bytes() else "fp32"  # what is loaded here where the manifest says int8


def rewrite_manifest(folder: Path, **changes: object) -> None:
    """A manifest that vouches for the files as they are."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"] = {item.name: record(item).model_dump() for item in folder.iterdir() if item != path}
    path.write_text(json.dumps(manifest | changes))


def test_answers_are_the_checkpoints_calibrated_probabilities(project: Path, folder: Path) -> None:
    rewrite_manifest(folder, graph="fp32")
    model, temperature = load_student(project / "models/tinybert")
    clean = [text for text in TEXTS if text.isascii() and "\0" not in text]
    ids = [np.array(encoding.ids) for encoding in make_tokenizer().encode_batch(clean)]
    expected = softmax(run_batches(model, ids, "fp32") / temperature, axis=1)
    in_set = label_sets(expected, 0.1)
    for answer, p, labels in zip(Classifier.load(folder).answer(clean, top_k=99), expected, in_set, strict=True):
        order = np.argsort(-p)
        assert [label for label, _ in answer.top] == [LABELS[i] for i in order]
        assert [value for _, value in answer.top] == pytest.approx(p[order].tolist(), abs=1e-5)
        assert (answer.label, answer.confidence) == answer.top[0]
        assert answer.accepted == (p.max() >= 0.6)
        assert answer.label_set == tuple(LABELS[i] for i in order if labels[i])


def test_the_service_decides_by_the_rule_that_was_measured(folder: Path) -> None:
    whole = [text for text in TEXTS if "\ud83d" not in text]
    ids = encode(make_tokenizer(), whole)
    logits_NC = run_session(open_session((folder / "fp32.onnx").read_bytes(), 1), ids, order_by_length(ids))
    p_NC = probabilities(logits_NC.astype(np.float64), TEMPERATURE)
    threshold, label_threshold = float(np.sort(p_NC.max(axis=1))[9]), float(np.sort(p_NC.ravel())[99])  # what one has exactly
    rewrite_manifest(folder, graph="fp32", threshold=threshold, conformal={"coverage": 0.95, "threshold": label_threshold})
    answers = Classifier.load(folder).answer(whole)
    assert [answer.accepted for answer in answers] == accepts(p_NC, threshold).tolist()
    assert {answer.accepted for answer in answers} == {True, False}
    in_set = [set(np.array(LABELS)[labels]) for labels in label_sets(p_NC, label_threshold)]
    assert [set(answer.label_set) for answer in answers] == in_set


def test_some_are_accepted_and_some_sets_have_several_labels(project: Path) -> None:
    answers = Classifier.load(project / "models/onnx").answer(TEXTS)
    assert {answer.accepted for answer in answers} == {True, False}
    assert len({len(answer.label_set) for answer in answers}) > 1


def test_an_answer_depends_neither_on_batch_mates_nor_on_their_order(project: Path) -> None:
    classifier = Classifier.load(project / "models/onnx")
    together = classifier.answer(TEXTS, top_k=99)
    for text, answer in zip(TEXTS, together, strict=True):
        (alone,) = classifier.answer([text], top_k=99)
        assert alone.label == answer.label
        assert dict(alone.top) == pytest.approx(dict(answer.top), abs=1e-4)
    assert [answer.label for answer in classifier.answer(TEXTS[::-1])] == [answer.label for answer in together[::-1]]


def test_a_text_that_is_cut_says_so(project: Path) -> None:
    just_fits, too_long = " ".join(["card"] * 14), " ".join(["card"] * 15)
    answers = Classifier.load(project / "models/onnx").answer([just_fits, too_long])
    assert [answer.truncated for answer in answers] == [False, True]
    assert dict(answers[0].top) == pytest.approx(dict(answers[1].top))


def test_top_k_cuts_the_list_and_not_the_set(project: Path) -> None:
    classifier = Classifier.load(project / "models/onnx")
    assert [len(answer.top) for answer in classifier.answer(["card"], top_k=2)] == [2]
    sets = [[answer.label_set for answer in classifier.answer(TEXTS, top_k=k)] for k in (1, 4)]
    assert sets[0] == sets[1]
    assert classifier.answer([]) == []


@pytest.mark.parametrize("marks", ["\u0301\u0323", "\u0f73"])
def test_marks_that_are_piled_on_one_letter_take_no_time(project: Path, marks: str) -> None:
    classifier = Classifier.load(project / "models/onnx")
    started = time.process_time()
    classifier.answer(["a" + marks * (100_000 // len(marks))])
    assert time.process_time() - started < 1


def test_of_piled_marks_the_first_thirty_stay_and_all_other_text_stays_as_it_is() -> None:
    for text in ("e" + "\u0301" * 30, "👩‍👩‍👧‍👦" * 50, "\u0e01\u0e34\u0e49" * 50, "…" * 50):
        assert clean_text(text) == unicodedata.normalize("NFC", text)
    assert clean_text(("e" + "\u0301" * 50) * 2) == clean_text(("e" + "\u0301" * 30) * 2)


def pickle_beside(folder: Path) -> None:
    (folder / "model.pkl").write_bytes(b"")


def lose_graph(folder: Path) -> None:
    (folder / "int8.onnx").unlink()


def lose_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def break_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def unknown_format(folder: Path) -> None:
    rewrite_manifest(folder, format=2)


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / "int8.onnx").read_bytes())
    content[-1] ^= 1
    (folder / "int8.onnx").write_bytes(content)


def permute_labels(folder: Path) -> None:
    (folder / "labels.json").write_text(json.dumps(LABELS[::-1]))
    rewrite_manifest(folder)


def forget_a_label(folder: Path) -> None:
    (folder / "labels.json").write_text(json.dumps(LABELS[:-1]))
    rewrite_manifest(folder, labels=len(LABELS) - 1)


def other_tokenizer(folder: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.enable_truncation(9)
    tokenizer.save(str(folder / "tokenizer.json"))
    rewrite_manifest(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (pickle_beside, r"model\.pkl: not in the manifest: "),
        (lose_graph, r"int8\.onnx: missing: "),
        (lose_manifest, r"manifest\.json: no such file: is this a folder written by stage export\? If there is none, run `make repro`"),
        (break_manifest, r"manifest\.json: the file: invalid JSON"),
        (unknown_format, r"manifest\.json: format: 2: input should be 1: "),
        (flip_a_byte, r"int8\.onnx: sha256 is \w+, the manifest's is \w+: "),
        (permute_labels, rf"labels\.json: not the labels of the {INT8_OR_ELSE} graph, in its order: "),
        (forget_a_label, rf"labels\.json: not the labels of the {INT8_OR_ELSE} graph, in its order: "),
        (other_tokenizer, r"tokenizer\.json: cuts at 9 word pieces, not at 16: "),
    ],
)
def test_a_folder_that_is_not_what_export_wrote_is_refused(folder: Path, spoil: object, message: str) -> None:
    rewrite_manifest(folder, graph="int8")
    assert callable(spoil)
    spoil(folder)
    with pytest.raises(UserError, match=message + ".*dvc checkout models/onnx" if message.endswith(": ") else message):
        Classifier.load(folder)


def test_a_file_in_the_place_of_the_folder_is_one_line() -> None:
    with pytest.raises(UserError, match=r"params\.yaml/manifest\.json: no such file: is this a folder written by stage export"):
        Classifier.load(Path("params.yaml"))


@pytest.mark.parametrize(("graph", "exact", "loaded"), [("int8", True, "int8"), ("int8", False, "fp32"), ("fp32", True, "fp32")])
def test_int8_is_not_loaded_where_its_products_would_saturate(
    folder: Path, monkeypatch: pytest.MonkeyPatch, graph: str, exact: bool, loaded: str
) -> None:
    monkeypatch.setattr("pipeline.serving.classifier.multiplies_bytes", lambda: exact)
    rewrite_manifest(folder, graph=graph)
    assert Classifier.load(folder).graph == loaded


def test_a_manifest_of_our_own_making_is_accepted(folder: Path) -> None:
    rewrite_manifest(folder)
    assert Classifier.load(folder, threads=2).labels == tuple(LABELS)


def test_neither_torch_nor_transformers_nor_scipy_is_imported(folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from pipeline.serving.classifier import Classifier\n"
        f"answers = Classifier.load(Path({str(folder)!r})).answer(['lost card'])\n"
        "slow = {'torch', 'transformers', 'scipy', 'sklearn', 'pandas', 'pyarrow', 'onnx', 'matplotlib'}\n"
        "print(len(answers), sorted(slow & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("1 []\n", "")
