"""Fits the teachers and writes what they think of every training query and augmented copy.

Reads   data/features, data/raw/encoder
Writes  models/teacher, data/soft_targets/{train,augmented}.npy (float16 log-probabilities of the product); metrics/teach.json
Run     python -m pipeline.teach --features data/features --encoder data/raw/encoder --teacher models/teacher
        --soft-targets data/soft_targets --metrics metrics/teach.json

Each teacher is at the same time a baseline of the results table.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pydantic import Field

from pipeline import artifacts
from pipeline.bag_of_words import BagOfWords, fit_linear
from pipeline.batching import LengthBuckets
from pipeline.command_line import read_paths
from pipeline.ensemble import PRODUCT, Ensemble
from pipeline.errors import exit_with_one_line
from pipeline.features import Queries, read_labels, read_queries, read_split
from pipeline.inference import run_batches
from pipeline.metrics import DECIMALS, accuracy
from pipeline.params import Device, Params, Precision, read_params
from pipeline.pooled import PooledClassifier, load_encoder
from pipeline.runtime import check_device, fix_runtime, resolve_precision
from pipeline.training import Examples, Lesson, Loss, Schedule, fit, hard_loss
from pipeline.vocabulary import occurring_rows

TEXTS_AT_ONCE = 50_000  # that are labelled


class LinearParams(Params):
    """A logistic regression."""

    inverse_regularization: float = Field(gt=0, description="inverse strength of the L2 penalty (C)")
    max_iterations: int = Field(ge=1, description="most iterations of L-BFGS")


class FinetuneParams(Params):
    """Fine-tuning of the base encoder."""

    epochs: int = Field(ge=1, description="passes over the training queries")
    batch_size: int = Field(ge=1, description="queries per step")
    learning_rate: float = Field(gt=0, lt=1, description="peak learning rate of the encoder")
    head_learning_rate: float = Field(gt=0, lt=1, description="peak learning rate of the new linear head")


class TeachParams(Params):
    """How `teach` fits the teachers."""

    bag_of_words: LinearParams
    base_encoder: LinearParams
    finetuned: FinetuneParams
    precision: Precision
    device: Device
    threads: int = Field(ge=1, le=256, description="CPU threads; another number gives other bits")
    seed: int = Field(ge=0, lt=2**32, description="seed of initial head, order and dropout")


def fit_bag_of_words(queries: Queries, labels: np.ndarray, params: TeachParams) -> BagOfWords:
    """Fits the TF-IDF baseline."""
    settings = params.bag_of_words
    return BagOfWords.fit(queries.texts, labels, settings.inverse_regularization, settings.max_iterations, params.seed)


def fit_base_encoder(encoder: Path, queries: Queries, labels: np.ndarray, classes: int, params: TeachParams) -> PooledClassifier:
    """Fits a logistic regression on the frozen encoder's normalised embeddings."""
    model = PooledClassifier(load_encoder(encoder), classes, normalize=True).to(torch.device(params.device))
    embeddings = run_batches(model, queries.ids, params.precision, output=model.embed)
    settings = params.base_encoder
    weight, bias = fit_linear(embeddings, labels, settings.inverse_regularization, settings.max_iterations, params.seed)
    model.head.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    return model


def fit_finetuned(
    encoder: Path, queries: Queries, targets: np.ndarray, classes: int, params: TeachParams, loss: Loss = hard_loss
) -> PooledClassifier:
    """Fine-tunes the encoder and a linear head on the labels, or on what else the loss takes for targets."""
    model = PooledClassifier(load_encoder(encoder), classes, normalize=False)
    lengths = np.array([len(tokens) for tokens in queries.ids])
    buckets = LengthBuckets(lengths, lambda _: np.arange(len(queries)), params.finetuned.batch_size, params.seed)
    with occurring_rows(model.encoder, queries.ids):
        fit(Lesson(model, model.head, Examples(queries.ids, targets), buckets, loss, finetuning(params)), _print_epoch)
    return model


def finetuning(params: TeachParams) -> Schedule:
    """How long and how fast the encoder is fine-tuned."""
    settings = params.finetuned
    return Schedule(
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        head_learning_rate=settings.head_learning_rate,
        warmup_fraction=0.1,
        weight_decay=0.01,
        precision=params.precision,
        device=params.device,
        seed=params.seed,
    )


def label(ensemble: Ensemble, queries: Queries, classes: int, precision: str) -> np.ndarray:
    """Log-probabilities of the ensemble's product, float16 of shape (N, classes); so many texts at a time that memory stays flat."""
    log_p_NC = np.zeros((len(queries), classes), dtype=np.float16)
    for start in range(0, len(queries), TEXTS_AT_ONCE):
        part = slice(start, start + TEXTS_AT_ONCE)
        some = Queries(queries.names[part], queries.texts[part], queries.ids[part], None)
        log_p_NC[part] = ensemble.log_probabilities(some, precision)[PRODUCT]
    return log_p_NC


def _print_epoch(epoch: int, loss: float) -> None:
    print(f"fine-tuned teacher: epoch {epoch}, training loss {loss:.4f}", flush=True)


def main() -> None:
    """Reads features, fits three teachers, writes them and their soft targets."""
    args = read_paths(__doc__, "--features", "--encoder", "--teacher", "--soft-targets", "--metrics")
    params = read_params("teach", TeachParams)
    check_device("teach.device", params.device)
    fix_runtime(params.threads, params.seed)
    params = params.model_copy(update={"precision": resolve_precision(params.precision, params.device)})

    queries, labels = read_split(args.features, "train")
    classes = len(read_labels(args.features))
    print(f"bag of words: fitting to {len(queries)} queries", flush=True)
    bag_of_words = fit_bag_of_words(queries, labels, params)
    print("base encoder: fitting a linear head to its frozen embeddings", flush=True)
    base_encoder = fit_base_encoder(args.encoder, queries, labels, classes, params)
    finetuned = fit_finetuned(args.encoder, queries, labels, classes, params).to(torch.device(params.device))
    ensemble = Ensemble(bag_of_words, base_encoder, finetuned)

    validation, validation_labels = read_split(args.features, "validation")
    opinions = ensemble.log_probabilities(validation, params.precision)
    right = {name: round(accuracy(validation_labels, log_p.argmax(axis=1)), DECIMALS) for name, log_p in opinions.items()}
    in_train = validation.overlaps(queries)
    report = {"validation_in_train": in_train} | {name: {"validation_accuracy": share} for name, share in right.items()}
    seen = " (of rows they learnt from)" if in_train else ""
    print(f"validation accuracy{seen}: " + ", ".join(f"{name} {share:.4f}" for name, share in right.items()), flush=True)

    with artifacts.whole_folder(args.soft_targets) as folder:
        copies = read_queries(args.features, artifacts.AUGMENTED)
        for file, texts in ((artifacts.SOFT_TRAIN, queries), (artifacts.SOFT_AUGMENTED, copies)):
            print(f"soft targets: labelling {len(texts)} texts", flush=True)
            np.save(folder / file, label(ensemble, texts, classes, params.precision))
    with artifacts.whole_folder(args.teacher) as folder:
        ensemble.save(folder)
    artifacts.write_json(args.metrics, report)


if __name__ == "__main__":
    exit_with_one_line(main)
