"""Teaches the student, calibrates it on validation, and writes a checkpoint that stock ``transformers`` loads.

Reads   data/features, data/soft_targets, models/teacher (the encoder a student is cut out of), data/raw/student_encoder
Writes  models/tinybert; metrics/train.json, metrics/machine.json; plots/train (curves)
Run     python -m pipeline.train --features data/features --soft-targets data/soft_targets --teacher models/teacher
        --student-encoder data/raw/student_encoder --model models/tinybert --metrics metrics/train.json
        --machine metrics/machine.json --plots plots/train
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from dvclive.live import Live
from pydantic import Field
from torch import nn
from transformers import BertForSequenceClassification

from pipeline import artifacts
from pipeline.batching import LengthBuckets
from pipeline.calibration import fit_temperature
from pipeline.charts import draw_curves
from pipeline.command_line import read_paths
from pipeline.distill import guide
from pipeline.errors import UserError, exit_with_one_line
from pipeline.features import Queries, read_labels, read_queries, read_split
from pipeline.inference import run_batches
from pipeline.metrics import DECIMALS, accuracy, macro_f1
from pipeline.params import Params, Precision, read_params
from pipeline.pooled import load_encoder
from pipeline.runtime import fix_runtime, machine_class, resolve_precision
from pipeline.student import StudentParams, build_student, save_student
from pipeline.training import Examples, Schedule, fit, hard_loss, soft_loss
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
    batch_size: int = Field(ge=1, description="queries a step")
    learning_rate: float = Field(gt=0, lt=1, description="peak learning rate")
    warmup_fraction: float = Field(ge=0, lt=1, description="share of the steps with rising learning rate; linear decay after")
    weight_decay: float = Field(ge=0, lt=1, description="of matrices; never of embeddings, biases and norms")
    dropout: float = Field(ge=0, lt=1, description="hidden and attention dropout")
    calibration_temperature: float | None = Field(
        gt=0, description="null: fitted on validation; a number fixes it (needed after `prepare.refit`, from the run before)"
    )
    precision: Precision
    threads: int = Field(ge=1, le=256, description="CPU threads; another number gives other bits")
    seed: int = Field(ge=0, description="seed of initial head, order and dropout")


def examples_of(
    queries: Queries, labels: np.ndarray, copies: Queries, soft_targets: Path, params: TrainParams
) -> tuple[Examples, LengthBuckets]:
    """What the student sees, and in which batches.

    Soft targets: an epoch is every training query and ``copies_per_epoch`` of its augmented copies, drawn anew. Hard targets:
    the training queries alone, since copies have no label.

    Raises:
        UserError: more copies an epoch than `featurize` made.
    """
    ids, targets, per_epoch = queries.ids, labels, 0
    if params.targets == "soft":
        ids, per_epoch = [*queries.ids, *copies.ids], params.copies_per_epoch
        targets = np.concatenate([np.load(soft_targets / file) for file in (artifacts.SOFT_TRAIN, artifacts.SOFT_AUGMENTED)])
    made = len(copies) // len(queries)
    if per_epoch > made:
        raise UserError(f"params.yaml: train.copies_per_epoch: {per_epoch}: only {made} were made: raise featurize.augmented_copies")

    def rows_of_epoch(rng: np.random.Generator) -> np.ndarray:
        originals = np.arange(len(queries))
        drawn = rng.permuted(np.tile(np.arange(made), (len(queries), 1)), axis=1)[:, :per_epoch]
        return np.concatenate([originals, (len(queries) * (1 + drawn) + originals[:, None]).ravel()])

    lengths = np.array([len(tokens) for tokens in ids])
    return Examples(ids, targets), LengthBuckets(lengths, rows_of_epoch, params.batch_size, params.seed)


def teach_student(
    student: BertForSequenceClassification,
    learner: nn.Module,
    examples: Examples,
    buckets: LengthBuckets,
    validation: Queries,
    validation_labels: np.ndarray,
    live: Live,
    params: TrainParams,
) -> None:
    """Trains the student in place, as itself or as a part of ``learner``, logging loss and validation accuracy once an epoch."""

    def log_epoch(epoch: int, loss: float) -> None:
        right = accuracy(validation_labels, run_batches(student, validation.ids, params.precision).argmax(axis=1))
        live.step = epoch
        live.log_metric("loss", round(loss, DECIMALS))
        live.log_metric("validation_accuracy", round(right, DECIMALS))
        live.make_summary()
        print(f"student: epoch {epoch} of {params.epochs}, training loss {loss:.4f}, validation accuracy {right:.4f}", flush=True)

    schedule = Schedule(
        epochs=params.epochs,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        head_learning_rate=params.learning_rate,
        warmup_fraction=params.warmup_fraction,
        weight_decay=params.weight_decay,
        precision=params.precision,
        seed=params.seed,
    )
    loss = soft_loss(params.distillation_temperature) if params.targets == "soft" else hard_loss
    with occurring_rows(student.bert, [*examples.ids, *validation.ids]):
        fit(learner, student.classifier, examples, buckets, loss, schedule, log_epoch)


def beside_teacher(
    student: BertForSequenceClassification, kept: torch.Tensor | None, teacher: Path, examples: Examples, params: TrainParams
) -> tuple[nn.Module, Examples]:
    """What learns, and from which examples: with hidden states of the teacher, unless the params ask for labels or probabilities alone."""
    if params.targets == "hard" or not params.hidden_weight:
        return student, examples
    print(f"teacher: hidden states of {len(examples)} texts", flush=True)
    guided, states = guide(student, load_encoder(teacher), kept, examples.ids, params.hidden_weight, params.precision)
    return guided, Examples(examples.ids, examples.targets, states)


@contextmanager
def curves(plots: Path) -> Iterator[Live]:
    """Yields a DVCLive logger; when the block ends, its curves are written to ``plots`` and drawn."""
    with tempfile.TemporaryDirectory() as scratch:
        with Live(scratch, dvcyaml=None, save_dvc_exp=False) as live:
            yield live
        with artifacts.whole_folder(plots) as folder:
            for curve in sorted((Path(scratch) / "plots" / "metrics").glob("*.tsv")):
                shutil.copyfile(curve, folder / curve.name)
            draw_curves(folder)


def calibrate(logits_NC: np.ndarray, labels_N: np.ndarray, fixed: float | None, in_train: bool) -> float:
    """The temperature of the student's confidences: fitted on validation logits, or fixed.

    Raises:
        UserError: the validation rows were trained on (``prepare.refit``) and no temperature is given.
    """
    if fixed is not None:
        return fixed
    if in_train:
        raise UserError(
            "params.yaml: train.calibration_temperature: null: after prepare.refit the validation rows are training rows; "
            "give the temperature of the run before (models/tinybert/calibration.json)"
        )
    return fit_temperature(logits_NC, labels_N)


def main() -> None:
    """Reads features and targets, builds and trains the student, writes checkpoint, metrics and curves."""
    args = read_paths(
        __doc__, "--features", "--soft-targets", "--teacher", "--student-encoder", "--model", "--metrics", "--machine", "--plots"
    )
    params = read_params("train", TrainParams)
    fix_runtime(params.threads, params.seed)
    params = params.model_copy(update={"precision": resolve_precision(params.precision)})

    labels = read_labels(args.features)
    queries, targets = read_split(args.features, "train")
    validation, validation_labels = read_split(args.features, "validation")
    in_train = not set(validation.names).isdisjoint(queries.names)
    calibrate(np.zeros((1, 2)), np.zeros(1, dtype=np.int64), params.calibration_temperature, in_train)  # refuse before hours of work
    examples, buckets = examples_of(queries, targets, read_queries(args.features, artifacts.AUGMENTED), args.soft_targets, params)
    tokenizer = args.features / artifacts.TOKENIZER
    model, kept = build_student(
        params.student,
        params.dropout,
        labels,
        args.teacher / artifacts.FINETUNED,
        args.student_encoder,
        tokenizer / "vocab.txt",
        queries.ids,
    )
    learner, examples = beside_teacher(model, kept, args.teacher / artifacts.FINETUNED, examples, params)
    print(f"student: {model.num_parameters():,} parameters, {len(buckets)} steps an epoch", flush=True)
    with curves(args.plots) as live:
        teach_student(model, learner, examples, buckets, validation, validation_labels, live, params)

    logits = run_batches(model, validation.ids, "fp32")
    temperature = calibrate(logits, validation_labels, params.calibration_temperature, in_train)
    with artifacts.whole_folder(args.model) as folder:
        save_student(model, tokenizer / "tokenizer.json", temperature, folder)
    predicted = logits.argmax(axis=1)
    report = {
        "parameters": model.num_parameters(),
        "steps": len(buckets) * params.epochs,
        "padding_waste": round(buckets.padding_waste(), DECIMALS),
        "temperature": temperature,
        "validation_in_train": in_train,
        "validation_accuracy": round(accuracy(validation_labels, predicted), DECIMALS),
        "validation_macro_f1": round(macro_f1(validation_labels, predicted, len(labels)), DECIMALS),
    }
    artifacts.write_json(args.metrics, report)
    artifacts.write_json(args.machine, machine_class(params.threads, params.precision))
    print(f"student: validation accuracy {report['validation_accuracy']:.4f}, temperature {temperature}", flush=True)


if __name__ == "__main__":
    exit_with_one_line(main)
