from __future__ import annotations

import shutil
import tempfile

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

from pipeline.batching import LengthBuckets, pad
from pipeline.distill import HiddenStates, guide
from pipeline.errors import UserError
from pipeline.subclone import layer_ends, subclone
from pipeline.training import Examples, Lesson, Schedule, fit, hard_loss

IDS = [np.array([2, 7, 9, 3]), np.array([2, 30, 3]), np.array([2, 11, 12, 13, 14, 3])]
LABELS = np.array([0, 1, 0])


def student_of(teacher: BertModel, **shape: int) -> tuple[BertForSequenceClassification, torch.Tensor]:
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_labels": 2}
    student = BertForSequenceClassification(BertConfig(**(teacher.config.to_dict() | shape | rates)))
    return student, subclone(teacher, student.bert, IDS)


def test_a_student_of_four_layers_follows_the_first_third_fifth_and_last_of_six() -> None:
    assert layer_ends(6, 4) == [1, 3, 5, 6]
    assert layer_ends(6, 6) == [1, 2, 3, 4, 5, 6]
    assert layer_ends(6, 1) == [6]


def test_the_file_gives_back_what_the_teacher_computes_for_any_rows(small_bert: BertModel) -> None:
    states = HiddenStates(small_bert, [1, 3], IDS, "fp32")
    wanted = small_bert.eval()(**pad(IDS[2:]), output_hidden_states=True).hidden_states
    read = states.read([2, 0, 2])
    assert read.shape == (6 + 4 + 6, 2, small_bert.config.hidden_size)
    for layer, index in ((1, 0), (3, 1)):
        torch.testing.assert_close(read[:6, index].float(), wanted[layer][0], atol=2e-3, rtol=1e-3)
        assert states.variance_L[index] == pytest.approx(states.read([0, 1, 2])[:, index].float().var().item(), rel=5e-3)
    assert torch.equal(read[:6], read[10:])


def test_too_little_room_for_the_file_is_one_line_before_any_work(small_bert: BertModel, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tempfile.gettempdir()
    usage, needed = shutil.disk_usage(folder), (4 + 3 + 6) * 2 * small_bert.config.hidden_size * 2
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed))
    states = HiddenStates(small_bert, [1, 3], IDS, "fp32")
    assert states.read(range(3)).numel() * 2 == needed
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
    monkeypatch.setattr(small_bert, "forward", None)
    with pytest.raises(UserError, match=rf"{folder}: the teacher's hidden states take 0\.0 MB there, 0\.0 are free: .*set TMPDIR"):
        HiddenStates(small_bert, [1, 3], IDS, "fp32")


def test_a_clone_of_the_same_shape_is_no_distance_from_its_teacher(small_bert: BertModel) -> None:
    student, kept = student_of(small_bert)
    guided, states = guide(student, small_bert, kept, IDS, 1.0, "fp32")
    outputs = guided(**pad(IDS), teacher_states=states.read(range(3)))
    assert outputs.loss.item() == pytest.approx(0, abs=1e-6)
    assert torch.equal(outputs.logits, student(**pad(IDS)).logits)


def test_padding_does_not_count_and_the_weight_scales(small_bert: BertModel) -> None:
    student, kept = student_of(small_bert, num_hidden_layers=2, hidden_size=16)
    guided, states = guide(student, small_bert, kept, IDS, 1.0, "fp32")
    alone, padded = pad(IDS[:1]), {key: value[:1] for key, value in pad(IDS).items()}
    assert padded["input_ids"].shape[1] > alone["input_ids"].shape[1]
    single = guided(**alone, teacher_states=states.read([0])).loss
    torch.testing.assert_close(guided(**padded, teacher_states=states.read([0])).loss, single)
    guided.weight = 3.0
    torch.testing.assert_close(guided(**alone, teacher_states=states.read([0])).loss, 3 * single)


def test_training_brings_the_student_nearer_and_leaves_the_teacher_as_it_was(small_bert: BertModel) -> None:
    torch.manual_seed(0)
    student, kept = student_of(small_bert, num_hidden_layers=2, hidden_size=16)
    before = {name: value.clone() for name, value in small_bert.state_dict().items()}
    guided, states = guide(student, small_bert, kept, IDS, 1.0, "fp32")
    far = guided(**pad(IDS), teacher_states=states.read(range(3))).loss.item()
    schedule = Schedule(60, 3e-3, 3e-2, warmup_fraction=0.1, weight_decay=0.0, precision="fp32", device="cpu", seed=0)
    buckets = LengthBuckets(np.array([4, 3, 6]), lambda _: np.arange(3), 3, 0)
    fit(Lesson(guided, student.classifier, Examples(IDS, LABELS, states.read), buckets, hard_loss, schedule), lambda *_: None)
    assert guided(**pad(IDS), teacher_states=states.read(range(3))).loss.item() < 0.5 * far
    assert student(**pad(IDS)).logits.argmax(1).tolist() == LABELS.tolist()
    assert all(torch.equal(value, before[name]) for name, value in small_bert.state_dict().items())
    assert not small_bert.training
