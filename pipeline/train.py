"""Teaches the student, calibrates it on validation, and writes a checkpoint that stock ``transformers`` loads.

Reads   data/features, data/soft_targets, models/teacher (the encoder a student is cut out of), data/raw/student_encoder
Writes  models/tinybert; metrics/train.json, metrics/machine.json; plots/train (curves)
Run     python -m pipeline.train --features data/features --soft-targets data/soft_targets --teacher models/teacher
        --student-encoder data/raw/student_encoder --model models/tinybert --metrics metrics/train.json
        --machine metrics/machine.json --plots plots/train
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext

import numpy as np
from transformers import BertForSequenceClassification

from pipeline import artifacts
from pipeline.calibration import fit_temperature
from pipeline.command_line import read_paths
from pipeline.errors import UserError, exit_with_one_line
from pipeline.features import Queries, read_labels, read_queries, read_split
from pipeline.inference import run_batches
from pipeline.metrics import DECIMALS, accuracy, macro_f1
from pipeline.params import read_params
from pipeline.recipe import TrainParams, beside_teacher, examples_of, loss_of, schedule, teach_student
from pipeline.runtime import check_device, fix_runtime, is_main_process, machine_class, resolve_precision
from pipeline.student import build_student, save_student
from pipeline.trackers import check_trackers, track
from pipeline.training import Lesson


def check_calibration(fixed: float | None, in_train: bool) -> None:
    """Refuses to fit a temperature on rows that were trained on.

    Raises:
        UserError: the validation rows are training rows (``prepare.refit``) and no temperature is given.
    """
    if fixed is None and in_train:
        raise UserError(
            "params.yaml: train.calibration_temperature: null: after prepare.refit the validation rows are training rows; "
            "give the temperature of the run before (models/tinybert/calibration.json), and for evaluate.threshold and "
            "evaluate.label_threshold what it wrote to metrics/abstention.json"
        )


def calibrate(logits_NC: np.ndarray, labels_N: np.ndarray, fixed: float | None) -> float:
    """The temperature that is given, else the one that validation asks for; rows without an error are told, since they say little."""
    if fixed is not None:
        return fixed
    rows = len(labels_N)
    if accuracy(labels_N, logits_NC.argmax(axis=1)) == 1:
        at_most = 100 * (1 - 0.05 ** (1 / rows))  # of that many errors in truth, one draw in twenty would have none
        print(
            f"validation: no error in {rows} queries, which only bounds the error rate at {at_most:.1f} % (95 % confidence): temperature "
            "and thresholds are unreliable, see docs/own-data.md",
            flush=True,
        )
    return fit_temperature(logits_NC, labels_N)


def set_up(
    args: argparse.Namespace, labels: list[str], queries: Queries, labels_N: np.ndarray, params: TrainParams
) -> tuple[BertForSequenceClassification, Lesson]:
    """The student as it starts, and what it is taught."""
    copies, teacher = read_queries(args.features, artifacts.AUGMENTED), args.teacher / artifacts.FINETUNED
    examples, buckets = examples_of(queries, labels_N, copies, args.soft_targets, params)
    vocabulary = args.features / artifacts.TOKENIZER / artifacts.VOCABULARY
    student, kept = build_student(params.student, params.dropout, labels, teacher, args.student_encoder, vocabulary, queries.ids)
    learner, examples = beside_teacher(student, kept, teacher, examples, params)
    return student, Lesson(learner, student.classifier, examples, buckets, loss_of(params), schedule(params))


def main() -> None:
    """Reads features and targets, builds and trains the student, writes checkpoint, metrics and curves."""
    args = read_paths(
        __doc__, "--features", "--soft-targets", "--teacher", "--student-encoder", "--model", "--metrics", "--machine", "--plots"
    )
    params = read_params("train", TrainParams)
    check_device("train.device", params.device)
    if is_main_process():
        check_trackers(params.report_to)
    fix_runtime(params.threads, params.seed)
    params = params.model_copy(update={"precision": resolve_precision(params.precision, params.device)})

    labels = read_labels(args.features)
    queries, labels_N = read_split(args.features, "train")
    validation, validation_labels = read_split(args.features, "validation")
    in_train = validation.overlaps(queries)
    check_calibration(params.calibration_temperature, in_train)
    model, lesson = set_up(args, labels, queries, labels_N, params)
    if is_main_process():
        print(f"student: {model.num_parameters():,} parameters, {len(lesson.buckets)} steps an epoch", flush=True)
    told = track(params.report_to, params.model_dump(), args.plots) if is_main_process() else nullcontext(lambda *_: None)
    with told as log:
        teach_student(model, lesson, validation, validation_labels, log)
    if not is_main_process():
        return

    logits = run_batches(model, validation.ids, "fp32")
    temperature = calibrate(logits, validation_labels, params.calibration_temperature)
    with artifacts.whole_folder(args.model) as folder:
        save_student(model, args.features / artifacts.TOKENIZER / artifacts.TOKENIZER_FILE, temperature, folder)
    predicted = logits.argmax(axis=1)
    report = {
        "parameters": model.num_parameters(),
        "steps": len(lesson.buckets) * params.epochs,
        "padding_waste": round(lesson.buckets.padding_waste(), DECIMALS),
        "temperature": temperature,
        "validation_in_train": in_train,
        "validation_accuracy": round(accuracy(validation_labels, predicted), DECIMALS),
        "validation_macro_f1": round(macro_f1(validation_labels, predicted, len(labels)), DECIMALS),
    }
    artifacts.write_json(args.metrics, report)
    artifacts.write_json(args.machine, machine_class(params.threads, params.precision, params.device))
    print(f"student: validation accuracy {report['validation_accuracy']:.4f}, temperature {temperature}", flush=True)


if __name__ == "__main__":
    exit_with_one_line(main)
