from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

from pipeline.batching import LengthBuckets, pad
from pipeline.distill import GuidedStudent
from pipeline.subclone import layer_ends, subclone
from pipeline.training import Examples, Schedule, fit, hard_loss

IDS = [np.array([2, 7, 9, 3]), np.array([2, 30, 3]), np.array([2, 11, 12, 13, 14, 3])]
LABELS = np.array([0, 1, 0])


def student_of(teacher: BertModel, **shape: int) -> tuple[BertForSequenceClassification, torch.Tensor]:
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_labels": 2}
    student = BertForSequenceClassification(BertConfig(**(teacher.config.to_dict() | shape | rates)))
    return student, subclone(teacher, student.bert, IDS)


def test_a_student_of_four_layers_follows_the_first_third_fifth_and_last_of_six() -> None:
    assert layer_ends(6, 4) == [1, 3, 5, 6]
    assert layer_ends(6, 6) == [1, 2, 3, 4, 5, 6]


def test_a_clone_of_the_same_shape_is_no_distance_from_its_teacher(small_bert: BertModel) -> None:
    student, kept = student_of(small_bert)
    guided = GuidedStudent(student, small_bert, kept, weight=1.0)
    outputs = guided(**pad(IDS))
    assert outputs.loss.item() == pytest.approx(0, abs=1e-9)
    assert torch.equal(outputs.logits, student(**pad(IDS)).logits)


def test_padding_does_not_count_and_the_weight_scales(small_bert: BertModel) -> None:
    student, kept = student_of(small_bert, num_hidden_layers=2, hidden_size=16)
    guided = GuidedStudent(student, small_bert, kept, weight=1.0)
    alone, padded = pad(IDS[:1]), pad(IDS)
    assert padded["input_ids"].shape[1] > alone["input_ids"].shape[1]
    first = {key: value[:1] for key, value in padded.items()}
    torch.testing.assert_close(guided(**first).loss, guided(**alone).loss)
    single = guided(**alone).loss
    guided.weight = 3.0
    torch.testing.assert_close(guided(**alone).loss, 3 * single)


def test_training_brings_the_student_nearer_and_leaves_the_teacher_as_it_was(small_bert: BertModel) -> None:
    torch.manual_seed(0)
    student, kept = student_of(small_bert, num_hidden_layers=2, hidden_size=16)
    guided = GuidedStudent(student, small_bert, kept, weight=1.0)
    before = {name: value.clone() for name, value in small_bert.state_dict().items()}
    far = guided(**pad(IDS)).loss.item()
    schedule = Schedule(60, 3, 3e-3, 3e-2, warmup_fraction=0.1, weight_decay=0.0, precision="fp32", seed=0)
    buckets = LengthBuckets(np.array([4, 3, 6]), lambda _: np.arange(3), 3, 0)
    fit(guided, student.classifier, Examples(IDS, LABELS), buckets, hard_loss, schedule, lambda *_: None)
    assert guided(**pad(IDS)).loss.item() < 0.5 * far
    assert student(**pad(IDS)).logits.argmax(1).tolist() == LABELS.tolist()
    assert all(torch.equal(value, before[name]) for name, value in small_bert.state_dict().items())
    assert not small_bert.training
