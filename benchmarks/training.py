"""How fast and how well the student is taught, beside the ordinary ways, in one run on the features of the last `dvc repro`.

Run     python -m benchmarks.training [--repetitions 5] [--full] [--record]

Without --full: queries a second of one epoch over few queries, the contenders interleaved, medians and their range; each contender has its
own way of learning:

distilled   the stage `train`: batches of like length, soft targets and the teacher's hidden states out of a file, precision of the params
ordinary    the same student, cut out of the fine-tuned teacher too, and batch size; `Trainer` on labels, every query padded to 128
            word pieces, fp32: what the examples do
encoder     the base encoder, a mean over its last states and a linear head, on labels: the fine-tuned teacher, as `teach` trains it
linear      TF-IDF of words and LinearSVC

With --full each is also trained to its end in a process of its own, the distilled one by its stages, teachers included: seconds, accuracy
on the validation split (the test split is not touched) and peak memory. So is, where SetFit is installed, the base encoder as SetFit
fine-tunes it; its queries a second are the texts of its pairs, over that whole training. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import LinearSVC
from torch import nn
from transformers import BertForSequenceClassification

from benchmarks.processes import run_measured
from benchmarks.results import add_record, tell
from pipeline import artifacts
from pipeline.batching import LengthBuckets
from pipeline.errors import UserError, exit_with_one_line
from pipeline.features import Queries, read_labels, read_queries, read_split
from pipeline.inference import run_batches
from pipeline.lock import read_stages
from pipeline.metrics import accuracy
from pipeline.params import read_params
from pipeline.pooled import PooledClassifier, load_encoder
from pipeline.recipe import TrainParams, beside_teacher, schedule
from pipeline.runtime import fix_runtime, machine_class, resolve_precision
from pipeline.student import build_student
from pipeline.tables.performance import TRAINING, training_table
from pipeline.teach import TeachParams, finetuning
from pipeline.training import Examples, Lesson, fit, hard_loss, soft_loss
from pipeline.vocabulary import occurring_rows

FEATURES, SOFT = Path("data/features"), Path("data/soft_targets")
TEACHER, ENCODER = Path("models/teacher"), Path("data/raw/encoder")
PADDED = 128  # word pieces, what examples pad to
ORDINARY_EPOCHS = 10
QUERIES = 512  # in the timed epoch; with the copies, `1 + copies_per_epoch` times as many
SETFIT = "setfit"
ROWS = {
    "distilled": "TinyBERT, distilled",
    "ordinary": "TinyBERT of the same start, labels, padded to 128, fp32",
    "encoder": "MiniLM-L6, labels",
    SETFIT: "MiniLM-L6, labels, SetFit",
    "linear": "TF-IDF of words + LinearSVC",
}


class PaddedExamples(Examples):
    """Queries that all have the same length, whatever they say."""

    def batch(self, rows: list[int]) -> dict[str, torch.Tensor]:
        """As of any examples, with padding up to ``PADDED`` word pieces."""
        inputs = super().batch(rows)
        for name in ("input_ids", "attention_mask"):
            inputs[name] = nn.functional.pad(inputs[name], (0, PADDED - inputs[name].shape[1]))
        return inputs


def start(params: TrainParams, queries: Queries) -> tuple[BertForSequenceClassification, torch.Tensor | None]:
    """The student as it starts, and the teacher's dimensions that it kept."""
    labels, vocabulary = read_labels(FEATURES), FEATURES / artifacts.TOKENIZER / artifacts.VOCABULARY
    pretrained = Path("data/raw/student_encoder")
    return build_student(params.student, params.dropout, labels, TEACHER / artifacts.FINETUNED, pretrained, vocabulary, queries.ids)


class Contender(NamedTuple):
    """A lesson, and what stands around it in the stage."""

    lesson: Lesson
    around: Callable[[], AbstractContextManager[None]] = nullcontext

    def run(self, epochs: int, at_epoch_end: Callable[[int, float], None]) -> None:
        """Trains on."""
        with self.around():
            fit(replace(self.lesson, schedule=replace(self.lesson.schedule, epochs=epochs)), at_epoch_end)

    def rate(self) -> float:
        """Trains two epochs; queries/s of the second."""
        ends: list[float] = []
        self.run(2, lambda epoch, mean: ends.append(time.perf_counter()))
        return len(self.lesson.examples) / (ends[1] - ends[0])


def all_rows(lengths: np.ndarray, batch_size: int, seed: int) -> LengthBuckets:
    """The batches of an epoch over all examples."""
    return LengthBuckets(lengths, lambda _: np.arange(len(lengths)), batch_size, seed)


def distilled(params: TrainParams) -> Contender:
    """As the stage `train` does it."""
    queries, _ = read_split(FEATURES, "train")
    copies, part = read_queries(FEATURES, artifacts.AUGMENTED), queries.ids[:QUERIES]
    rows = np.concatenate([np.arange(len(part)) + copy * len(queries) for copy in range(params.copies_per_epoch)])
    ids = [*part, *(copies.ids[row] for row in rows)]
    soft = [np.load(SOFT / artifacts.SOFT_TRAIN)[: len(part)], np.load(SOFT / artifacts.SOFT_AUGMENTED)[rows]]
    student, kept = start(params, queries)
    learner, examples = beside_teacher(student, kept, TEACHER / artifacts.FINETUNED, Examples(ids, np.concatenate(soft)), params)
    buckets = all_rows(np.array([len(tokens) for tokens in ids]), params.batch_size, params.seed)
    loss, words = soft_loss(params.distillation_temperature), partial(occurring_rows, student.bert, [*queries.ids, *copies.ids])
    return Contender(Lesson(learner, student.classifier, examples, buckets, loss, schedule(params)), words)


def ordinary(params: TrainParams, count: int | None = QUERIES) -> Contender:
    """The ordinary way, on the first queries or all."""
    queries, labels = read_split(FEATURES, "train")
    student, _ = start(params, queries)
    examples = PaddedExamples(queries.ids[:count], labels[:count])
    buckets = all_rows(np.full(len(examples), PADDED), params.batch_size, params.seed)  # all alike: any order
    plan = replace(schedule(params), epochs=ORDINARY_EPOCHS, precision="fp32")
    return Contender(Lesson(student, student.classifier, examples, buckets, hard_loss, plan))


def encoder(params: TrainParams, count: int | None = QUERIES) -> Contender:
    """The base encoder on the labels of the first queries or all."""
    queries, labels = read_split(FEATURES, "train")
    model = PooledClassifier(load_encoder(ENCODER), len(read_labels(FEATURES)), normalize=False)
    part, teach = queries.ids[:count], read_params("teach", TeachParams).model_copy(update={"precision": params.precision})
    buckets = all_rows(np.array([len(tokens) for tokens in part]), teach.finetuned.batch_size, teach.seed)
    lesson = Lesson(model, model.head, Examples(part, labels[:count]), buckets, hard_loss, finetuning(teach))
    return Contender(lesson, partial(occurring_rows, model.encoder, queries.ids))


def linear() -> Callable[[], float]:
    """A function that fits a support vector machine and returns queries/s, over all training queries: a few would not fill its second."""
    queries, labels = read_split(FEATURES, "train")

    def run() -> float:
        started = time.perf_counter()
        fit_machine(queries.texts, labels)
        return len(queries) / (time.perf_counter() - started)

    return run


def fit_machine(texts: list[str], labels: np.ndarray) -> Pipeline:
    """TF-IDF of word 1- to 2-grams and a linear support vector machine."""
    machine = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LinearSVC())
    return machine.fit(texts, labels)


def train_fully(contender: str, params: TrainParams) -> dict[str, float]:
    """Trains one of the ordinary contenders to its end; returns its accuracy on validation, and SetFit's queries/s."""
    queries, labels = read_split(FEATURES, "train")
    validation, truth = read_split(FEATURES, "validation")
    rate = {}
    if contender == SETFIT:
        from benchmarks import contrastive  # noqa: PLC0415 (needs what is in no lock)

        model, rate["queries_per_second"] = contrastive.train(ENCODER, queries.texts, labels, params.seed)
        predicted = np.asarray(model.predict(validation.texts))
    elif contender == "linear":
        predicted = fit_machine(queries.texts, labels).predict(validation.texts)
    else:
        learner = (ordinary if contender == "ordinary" else encoder)(params, None)
        learner.run(learner.lesson.schedule.epochs, lambda epoch, mean: None)
        predicted = run_batches(learner.lesson.model, validation.ids, "fp32").argmax(axis=1)
    return {"validation_accuracy": accuracy(truth, predicted), **rate}


def in_full(contender: str) -> dict[str, float]:
    """Trains a contender to its end in processes of its own: seconds, accuracy on validation, peak memory in MiB, SetFit's queries/s."""
    with tempfile.TemporaryDirectory(dir="build") as scratch:
        commands = [[sys.executable, "-m", "benchmarks.training", "--contender", contender, "--result", f"{scratch}/result.json"]]
        if contender == "distilled":
            commands = [stage_command("teach", scratch), stage_command("train", scratch)]
        seconds, peak_mib = 0.0, 0.0
        for command in commands:
            done = run_measured(command, sys.stderr)
            if done.code:
                raise UserError(f"{' '.join(command)}: failed: run `dvc repro` first")
            seconds, peak_mib = seconds + done.seconds, max(peak_mib, done.peak_mib)
        told = artifacts.read_json(Path(scratch) / "result.json")
        kept = {key: told[key] for key in ("validation_accuracy", "queries_per_second") if key in told}
        return {"seconds": round(seconds, 1), "peak_rss_mib": int(peak_mib), **kept}


def stage_command(stage: str, scratch: str) -> list[str]:
    """The command of dvc.yaml, with what it writes put elsewhere."""
    words: list[str] = read_stages()[stage]["cmd"].split()
    places = {"metrics/train.json": f"{scratch}/result.json", "metrics/teach.json": f"{scratch}/teach.json"}
    moved = ("models/", "data/soft_targets", "metrics/", "plots/")
    return [sys.executable, *(places.get(word, f"{scratch}/{word}") if word.startswith(moved) else word for word in words[1:])]


def prepare() -> TrainParams:
    """The params of the stage `train`, their precision resolved, threads and seed set.

    Raises:
        UserError: no `dvc repro` left what the student learns from.
    """
    if not (SOFT / artifacts.SOFT_TRAIN).exists():
        raise UserError(f"{SOFT}: no such folder: run `make repro`")
    params = read_params("train", TrainParams)
    params = params.model_copy(update={"precision": resolve_precision(params.precision, params.device)})
    fix_runtime(params.threads, params.seed)
    return params


def main() -> None:
    """Measures interleaved, then in full if asked to; or, as a contender of its own, trains once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5, metavar="N", help="timed epochs a contender (5)")
    parser.add_argument("--full", action="store_true", help="train each to its end as well")
    add_record(parser, TRAINING)
    parser.add_argument("--contender", choices=[name for name in ROWS if name != "distilled"], help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.record and not args.full:
        raise UserError("--record: the table has each contender trained to its end: add --full")
    Path("build").mkdir(exist_ok=True)
    params = prepare()
    if args.contender:
        artifacts.write_json(args.result, train_fully(args.contender, params))
        return
    taught = distilled(params)
    padding_waste = taught.lesson.buckets.padding_waste()
    runs = {"distilled": taught.rate, "ordinary": ordinary(params).rate, "encoder": encoder(params).rate, "linear": linear()}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for repetition in range(args.repetitions):
        for name, run in runs.items():
            rates[name].append(round(run(), 1))
            print(f"repetition {repetition + 1}: {name}: {rates[name][-1]:.1f} queries/s", file=sys.stderr, flush=True)
    contenders = [name for name in ROWS if name != SETFIT or (args.full and importlib.util.find_spec(SETFIT))]
    full = {name: in_full(name) for name in contenders} if args.full else {}
    if SETFIT in full:
        rates[SETFIT] = [round(full[SETFIT].pop("queries_per_second"), 1)]
    ratios = [round(ours / theirs, 2) for ours, theirs in zip(rates["distilled"], rates["ordinary"], strict=True)]
    result = {
        "training_queries_per_second": statistics.median(rates["distilled"]),
        "speedup_vs_padded_trainer": ratios,
        "padding_waste": round(padding_waste, 4),
        "contenders": {name: {"title": ROWS[name], "queries_per_second": rates[name], "full": full.get(name)} for name in contenders},
        "repetitions": args.repetitions,
        "machine": machine_class(params.threads, params.precision, params.device),
    }
    tell(result, training_table, args.record)


if __name__ == "__main__":
    exit_with_one_line(main)
