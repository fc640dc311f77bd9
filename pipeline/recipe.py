"""How the student is taught: what it sees, what it is asked for, how long; the stage `train` without its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import nn
from transformers import BertForSequenceClassification

from pipeline import artifacts
from pipeline.batching import LengthBuckets
from pipeline.distill import guide
from pipeline.errors import UserError
from pipeline.features import Queries
from pipeline.inference import run_batches
from pipeline.metrics import accuracy
from pipeline.params import Device, Params, Precision
from pipeline.pooled import load_encoder
from pipeline.runtime import is_main_process, share
from pipeline.student import StudentParams
from pipeline.training import Examples, Lesson, Loss, Schedule, fit, hard_loss, soft_loss
from pipeline.vocabulary import occurring_rows


class TrainParams(Params):
    """How `train` teaches the student."""

    student: StudentParams
    targets: Literal["soft", "hard"] = Field(description="soft: the teachers' log-probabilities; hard: the labels alone")
    distillation_temperature: float = Field(gt=0, le=20, description="softens teacher and student alike; unused with hard targets")
    epochs: int = Field(ge=1, description="passes over the training queries, each with `copies_per_epoch` augmented copies")
    hidden_weight: float = Field(
        ge=0,
        description="weight of the distance to the teacher's hidden states; 0: class probabilities alone (soft targets only)",
    )
    copies_per_epoch: int = Field(ge=0, description="augmented copies of each query seen in an epoch (soft targets only)")
    batch_size: int = Field(ge=1, description="queries per step")
    learning_rate: float = Field(gt=0, lt=1, description="peak learning rate")
    warmup_fraction: float = Field(ge=0, lt=1, description="share of the steps with rising learning rate; linear decay after")
    weight_decay: float = Field(ge=0, lt=1, description="AdamW's weight decay of matrices; never of embeddings, biases and norms")
    dropout: float = Field(ge=0, lt=1, description="hidden and attention dropout")
    calibration_temperature: float | None = Field(
        gt=0, description="null: fitted on validation; a number fixes it (needed after `prepare.refit`, from the run before)"
    )
    precision: Precision
    device: Device
    threads: int = Field(ge=1, le=256, description="CPU threads; another number gives other bits")
    seed: int = Field(ge=0, lt=2**32, description="seed of initial head, order and dropout")
    report_to: list[Literal["dvclive", "wandb"]] = Field(
        description="loggers of the epochs: dvclive, which draws the curves, and optionally wandb; the student does not depend on them"
    )

    @field_validator("report_to")
    @classmethod
    def _has_dvclive(cls, value: list[str]) -> list[str]:
        if "dvclive" not in value:
            raise ValueError("dvclive writes the curves, which are outputs of the stage: name it too")
        return value


def examples_of(
    queries: Queries, labels: np.ndarray, copies: Queries, soft_targets: Path, params: TrainParams
) -> tuple[Examples, LengthBuckets]:
    """What the student sees, and in which batches.

    Soft targets: an epoch is every training query and ``copies_per_epoch`` of its augmented copies, drawn anew. Hard targets:
    the training queries alone, since copies have no label.

    Raises:
        UserError: more copies per epoch than `featurize` made.
    """
    ids, targets, per_epoch = queries.ids, labels, 0
    if params.targets == "soft":
        targets, per_epoch = np.load(soft_targets / artifacts.SOFT_TRAIN), params.copies_per_epoch
    made = len(copies) // len(queries)
    if per_epoch > made:
        raise UserError(f"params.yaml: train.copies_per_epoch: {per_epoch}: only {made} were made: raise featurize.augmented_copies")
    if per_epoch:  # else nobody would ask for the hidden states of the copies, which take room and time
        ids, targets = [*ids, *copies.ids], np.concatenate([targets, np.load(soft_targets / artifacts.SOFT_AUGMENTED)])

    lengths = np.array([len(tokens) for tokens in ids])
    rows = epoch_rows(len(queries), made, per_epoch)
    return Examples(ids, targets), LengthBuckets(lengths, rows, params.batch_size, params.seed, share())


def epoch_rows(queries: int, made: int, per_epoch: int) -> Callable[[np.random.Generator], np.ndarray]:
    """What an epoch consists of, given a generator: the row of every query, and of some of its copies.

    Args:
        queries: how many; copy ``c`` of query ``i`` is row ``queries * (1 + c) + i``.
        made: copies of each.
        per_epoch: of these, drawn anew.
    """

    def draw(rng: np.random.Generator) -> np.ndarray:
        originals = np.arange(queries)
        drawn = rng.permuted(np.tile(np.arange(made), (queries, 1)), axis=1)[:, :per_epoch]
        return np.concatenate([originals, (queries * (1 + drawn) + originals[:, None]).ravel()])

    return draw


def teach_student(
    student: BertForSequenceClassification,
    lesson: Lesson,
    validation: Queries,
    validation_labels: np.ndarray,
    at_epoch_end: Callable[[int, float, float], None],
) -> None:
    """Trains the student in place.

    Args:
        student: what is to learn.
        lesson: what it is taught; the model is the student or has it as a part, see `beside_teacher`.
        validation: queries to judge by.
        validation_labels: their class indices, shape (N,).
        at_epoch_end: called with epoch (1-based), mean training loss and validation accuracy, all in the precision of the training.
    """

    def judge(epoch: int, loss: float) -> None:
        predicted = run_batches(student, validation.ids, lesson.schedule.precision).argmax(axis=1)
        at_epoch_end(epoch, loss, accuracy(validation_labels, predicted))

    with occurring_rows(student.bert, [*lesson.examples.ids, *validation.ids]):
        fit(lesson, judge)


def loss_of(params: TrainParams) -> Loss:
    """What the student is asked to answer: the teachers' probabilities or the labels."""
    return soft_loss(params.distillation_temperature) if params.targets == "soft" else hard_loss


def schedule(params: TrainParams) -> Schedule:
    """How long and how fast the student learns."""
    return Schedule(
        epochs=params.epochs,
        learning_rate=params.learning_rate,
        head_learning_rate=params.learning_rate,
        warmup_fraction=params.warmup_fraction,
        weight_decay=params.weight_decay,
        precision=params.precision,
        device=params.device,
        seed=params.seed,
    )


def beside_teacher(
    student: BertForSequenceClassification, kept: torch.Tensor | None, teacher: Path, examples: Examples, params: TrainParams
) -> tuple[nn.Module, Examples]:
    """What learns, and from which examples: with hidden states of the teacher, unless the params ask for labels or probabilities alone."""
    if params.targets == "hard" or not params.hidden_weight:
        return student, examples
    if is_main_process():
        print(f"teacher: hidden states of {len(examples)} texts", flush=True)
    encoder = load_encoder(teacher, params.device)
    guided, states = guide(student, encoder, kept, examples.ids, params.hidden_weight, params.precision)
    return guided, Examples(examples.ids, examples.targets, states.read)
