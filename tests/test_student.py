from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import build
from transformers import BertConfig, BertModel

from pipeline.errors import UserError
from pipeline.train import calibrate, check_calibration


@pytest.fixture
def folder(tmp_path: Path, small_bert: BertModel) -> Path:
    small_bert.save_pretrained(tmp_path / "teacher")
    (tmp_path / "vocab.txt").write_text("[PAD]\na\nb\n")
    (tmp_path / "pretrained").mkdir()
    return tmp_path


def test_a_subclone_has_the_asked_shape_the_intents_and_the_teachers_vectors(folder: Path, small_bert: BertModel) -> None:
    student = build(folder, "subclone")
    assert student.config.id2label == {0: "lost", 1: "pin?", 2: "Stop"}
    assert (student.config.num_hidden_layers, student.config.hidden_size, student.config.intermediate_size) == (2, 16, 20)
    values = set(small_bert.embeddings.word_embeddings.weight.detach().flatten().tolist())
    assert set(student.bert.embeddings.word_embeddings.weight.detach().flatten().tolist()) <= values


def test_a_student_from_scratch_shares_nothing_with_the_teacher(folder: Path, small_bert: BertModel) -> None:
    torch.manual_seed(0)  # of all draws, a few have two equal numbers
    values = set(small_bert.embeddings.word_embeddings.weight.detach().flatten().tolist()) - {0.0}
    assert values.isdisjoint(build(folder, "scratch").bert.embeddings.word_embeddings.weight.detach().flatten().tolist())


def test_a_shape_larger_than_the_teacher_is_one_line(folder: Path) -> None:
    with pytest.raises(UserError, match="hidden_size is 48, but the teacher has only 24: choose layers, hidden, heads"):
        build(folder, "subclone", hidden=48)


def test_a_pretrained_student_is_loaded_from_the_hubs_pickle_with_a_new_head(folder: Path) -> None:
    pretrained = BertModel(BertConfig(vocab_size=3, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))
    pretrained.config.save_pretrained(folder / "pretrained")
    torch.save({f"bert.{name}": value for name, value in pretrained.state_dict().items()}, folder / "pretrained/pytorch_model.bin")
    (folder / "pretrained/vocab.txt").write_text("[PAD]\na\nb\n")
    shape = {"layers": 1, "hidden": 8, "heads": 2, "intermediate": 8}
    with pytest.raises(UserError, match=r"train\.student\.layers: 2: the pre-trained student has 1"):
        build(folder, "pretrained", **shape | {"layers": 2})
    student = build(folder, "pretrained", **shape)
    assert torch.equal(student.bert.embeddings.word_embeddings.weight, pretrained.embeddings.word_embeddings.weight)
    assert student.classifier.out_features == 3
    (folder / "pretrained/vocab.txt").write_text("[PAD]\nc\nd\n")
    with pytest.raises(UserError, match="another vocabulary than the base encoder's"):
        build(folder, "pretrained", **shape)


def test_a_pretrained_student_that_was_not_fetched_is_one_line(folder: Path) -> None:
    with pytest.raises(UserError, match=r"no pre-trained student: set fetch\.student_encoder"):
        build(folder, "pretrained")


def test_calibration_after_a_refit_needs_a_temperature() -> None:
    check_calibration(1.5, in_train=True)
    check_calibration(None, in_train=False)
    with pytest.raises(UserError, match=r"train\.calibration_temperature: null: after prepare\.refit"):
        check_calibration(None, in_train=True)


def test_a_validation_split_without_an_error_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logits, labels = 6 * np.eye(3)[[0, 1, 2] * 5], np.array([0, 1, 2] * 5)
    assert 1 < calibrate(logits, labels, None) < 4
    told = "validation: no error in 15 queries, which only bounds the error rate at 18.1 % (95 % confidence)"
    assert capsys.readouterr().out.startswith(told)
    labels[0] = 1
    calibrate(logits, labels, None)
    assert calibrate(logits, labels, 1.5) == 1.5
    assert capsys.readouterr().out == ""
