"""Teaches the student, calibrates it on validation, and writes a checkpoint that stock ``transformers`` loads.

Reads   data/features, data/soft_targets, models/teacher (the encoder a student is cut out of), data/raw/student_encoder
Writes  models/tinybert; metrics/train.json, metrics/machine.json; plots/train (curves)
Run     python -m pipeline.train --features data/features --soft-targets data/soft_targets --teacher models/teacher
        --student-encoder data/raw/student_encoder --model models/tinybert --metrics metrics/train.json
        --machine metrics/machine.json --plots plots/train
"""

from __future__ import annotations

from contextlib import nullcontext

from pipeline import artifacts
from pipeline.calibration import fit_temperature
from pipeline.command_line import read_paths
from pipeline.errors import UserError, exit_with_one_line
from pipeline.features import read_labels, read_queries, read_split
from pipeline.inference import run_batches
from pipeline.metrics import DECIMALS, accuracy, macro_f1
from pipeline.params import read_params
from pipeline.recipe import TrainParams, beside_teacher, examples_of, teach_student
from pipeline.runtime import check_device, fix_runtime, is_main_process, machine_class, resolve_precision
from pipeline.student import build_student, save_student
from pipeline.trackers import check_trackers, track


def check_calibration(fixed: float | None, in_train: bool) -> None:
    """Refuses to fit a temperature on rows that were trained on.

    Raises:
        UserError: the validation rows are training rows (``prepare.refit``) and no temperature is given.
    """
    if fixed is None and in_train:
        raise UserError(
            "params.yaml: train.calibration_temperature: null: after prepare.refit the validation rows are training rows; "
            "give the temperature of the run before (models/tinybert/calibration.json)"
        )


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
    queries, targets = read_split(args.features, "train")
    validation, validation_labels = read_split(args.features, "validation")
    in_train = validation.overlaps(queries)
    check_calibration(params.calibration_temperature, in_train)
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
    told = track(params.report_to, params.model_dump(), args.plots) if is_main_process() else nullcontext(lambda *_: None)
    with told as log:
        teach_student(model, learner, examples, buckets, validation, validation_labels, log, params)
    if not is_main_process():
        return

    logits = run_batches(model, validation.ids, "fp32")
    temperature = params.calibration_temperature or fit_temperature(logits, validation_labels)
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
    artifacts.write_json(args.machine, machine_class(params.threads, params.precision, params.device))
    print(f"student: validation accuracy {report['validation_accuracy']:.4f}, temperature {temperature}", flush=True)


if __name__ == "__main__":
    exit_with_one_line(main)
