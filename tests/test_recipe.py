"""What the student sees and is asked for, by queries and copies that can be told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from transformers import BertConfig, BertForSequenceClassification, BertModel

from pipeline.batching import LengthBuckets
from pipeline.distill import GuidedStudent
from pipeline.errors import UserError
from pipeline.features import Queries
from pipeline.recipe import TrainParams, beside_teacher, examples_of, loss_of
from pipeline.training import Examples, hard_loss, soft_loss

QUERIES, MADE = 3, 4
GOOD = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["train"]


def asked(**changes: Any) -> TrainParams:
    return TrainParams.model_validate(GOOD | {"batch_size": 2, "precision": "fp32"} | changes)


def table(ids: list[np.ndarray]) -> Queries:
    return Queries([str(row) for row in range(len(ids))], [""] * len(ids), ids, None)


def examples(folder: Path, **changes: Any) -> tuple[Examples, LengthBuckets]:
    """Of query ``i`` and copy ``c`` of it, ids and soft targets tell ``i`` and ``c``; of the query itself, ``c`` is -1."""
    copies = [(query, copy) for copy in range(MADE) for query in range(QUERIES)]
    np.save(folder / "train.npy", np.array([(query, -1) for query in range(QUERIES)], dtype=np.float16))
    np.save(folder / "augmented.npy", np.array(copies, dtype=np.float16))
    queries = table([np.array([2, 10 + query, 19, 3]) for query in range(QUERIES)])
    variants = table([np.array([2, 10 + query, 20 + copy, 3]) for query, copy in copies])
    return examples_of(queries, np.arange(QUERIES), variants, folder, asked(**changes))


def epoch(buckets: LengthBuckets, number: int) -> list[int]:
    buckets.set_epoch(number)
    return [row for batch in buckets for row in batch]


def test_an_epoch_is_every_query_and_as_many_different_copies_of_it_as_asked_with_their_own_targets(tmp_path: Path) -> None:
    told, buckets = examples(tmp_path, copies_per_epoch=2)
    drawn = set()
    for number in range(8):
        seen = [(int(told.ids[row][1]) - 10, int(told.ids[row][2]) - 20) for row in epoch(buckets, number)]
        assert [tuple(told.targets[row]) for row in epoch(buckets, number)] == seen
        for query in range(QUERIES):
            copies = [copy for of, copy in seen if of == query]
            assert copies.count(-1) == 1
            assert len(copies) == len(set(copies)) == 1 + 2
        drawn |= set(seen)
    assert len(drawn) == QUERIES * (1 + MADE)  # anew each epoch


def test_the_seed_decides_which_copies_and_in_what_order(tmp_path: Path) -> None:
    first, again, other = (epoch(examples(tmp_path, copies_per_epoch=2, seed=seed)[1], 0) for seed in (1, 1, 2))
    assert first == again != other


def test_labels_are_of_the_queries_alone(tmp_path: Path) -> None:
    told, buckets = examples(tmp_path, targets="hard")
    assert [(told.ids[row][1] - 10, told.targets[row]) for row in sorted(epoch(buckets, 0))] == [(0, 0), (1, 1), (2, 2)]


def test_copies_that_no_epoch_shows_take_no_part(tmp_path: Path) -> None:
    told, buckets = examples(tmp_path, copies_per_epoch=0)
    assert (len(told), len(told.targets)) == (QUERIES, QUERIES)  # the teacher's hidden states are of all of them
    assert [tuple(told.targets[row]) for row in sorted(epoch(buckets, 0))] == [(query, -1) for query in range(QUERIES)]


def test_more_copies_than_were_made_are_one_line(tmp_path: Path) -> None:
    assert examples(tmp_path, copies_per_epoch=MADE)
    with pytest.raises(UserError, match=r"train\.copies_per_epoch: 5: only 4 were made: raise featurize\.augmented_copies"):
        examples(tmp_path, copies_per_epoch=MADE + 1)


@pytest.mark.parametrize(
    ("targets", "hidden_weight", "guided"), [("soft", 15.0, True), ("soft", 0.0, False), ("hard", 15.0, False), ("hard", 0.0, False)]
)
def test_hidden_states_are_learnt_where_they_weigh_and_targets_are_soft(
    small_bert: BertModel, tmp_path: Path, targets: str, hidden_weight: float, guided: bool
) -> None:
    small_bert.save_pretrained(tmp_path / "teacher")
    student = BertForSequenceClassification(BertConfig(**(small_bert.config.to_dict() | {"num_hidden_layers": 2, "num_labels": 2})))
    seen, _ = examples(tmp_path)
    learner, shown = beside_teacher(student, None, tmp_path / "teacher", seen, asked(targets=targets, hidden_weight=hidden_weight))
    if guided:
        assert isinstance(learner, GuidedStudent)
        assert (learner.student, learner.weight) == (student, hidden_weight)
        assert shown.batch([4, 0])["teacher_states"].shape == (4 + 4, 2, small_bert.config.hidden_size)
    else:
        assert (learner, shown) == (student, seen)


def test_of_several_processes_the_first_alone_prints(
    small_bert: BertModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small_bert.save_pretrained(tmp_path / "teacher")
    student = BertForSequenceClassification(BertConfig(**(small_bert.config.to_dict() | {"num_labels": 2})))
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, lines in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        beside_teacher(student, None, tmp_path / "teacher", examples(tmp_path)[0], asked(hidden_weight=1.0))
        assert capsys.readouterr().out.count("hidden states of") == lines


def test_the_teachers_are_softened_by_the_temperature_of_the_params() -> None:
    torch.manual_seed(0)
    logits, log_p = torch.randn(5, 7), torch.randn(5, 7).log_softmax(-1)
    asked_for, at_one = (loss_of(asked(distillation_temperature=temperature))(logits, log_p) for temperature in (3.0, 1.0))
    assert asked_for == soft_loss(3.0)(logits, log_p)
    assert asked_for != at_one
    labels = torch.zeros(5, dtype=torch.int64)
    assert loss_of(asked(targets="hard"))(logits, labels) == hard_loss(logits, labels)
