"""How a BANKING77 model does where it cannot remember: test queries without a near twin in train, and our own queries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from pipeline import artifacts
from pipeline.artifacts import SAMPLE, STUDENT
from pipeline.csv_files import read_table
from pipeline.ensemble import Ensemble
from pipeline.features import Queries, read_labels
from pipeline.inference import run_batches
from pipeline.metrics import DECIMALS
from pipeline.near_twins import TWIN, nearest_by_jaccard
from pipeline.student import load_student
from pipeline.tokens import encode


def have_twins(texts: Sequence[str], labels_N: np.ndarray, train: Sequence[str], train_labels_M: np.ndarray) -> np.ndarray:
    """Whether the training text that is most like a text is a near twin of the same label, as ``prepare`` counts them.

    Returns:
        Booleans of shape (N,).
    """
    nearest_N, similarity_N = nearest_by_jaccard(texts, train)
    twins_N: np.ndarray = (similarity_N >= TWIN) & (train_labels_M[nearest_N] == labels_N)
    return twins_N


def without_twins(folder: Path, predictions: list[dict[str, str]]) -> dict[str, Any]:
    """Accuracy of every model on the test queries that have no near twin of the same label in train (see ``have_twins``).

    Args:
        folder: a checkout in which the pipeline ran.
        predictions: rows of its ``metrics/predictions.csv``.
    """
    train, test = (pq.read_table(folder / "data" / "prepared" / artifacts.split_table(split)) for split in ("train", "test"))
    texts, labels = ([table[column].to_pylist() for table in (test, train)] for column in ("text", "label"))
    twins_N = have_twins(texts[0], np.array(labels[0]), texts[1], np.array(labels[1]))
    is_twin = dict(zip(test["id"].to_pylist(), twins_N, strict=True))
    rows = [row for row in predictions if not is_twin[row["id"]]]
    return {
        "queries": len(rows),
        "accuracy": {
            model: round(sum(row[column] == row["label"] for row in rows) / len(rows), DECIMALS)
            for model, column in artifacts.models_of(rows[0]).items()
        },
    }


def agreement_with_our_labels(folder: Path) -> dict[str, Any]:
    """Accuracy of every model on the repository's own queries, none of which it has seen."""
    rows = read_table(folder / SAMPLE)
    model = folder / "models" / STUDENT
    texts = [row["text"] for row in rows]
    ids = encode(Tokenizer.from_file(str(model / artifacts.TOKENIZER_FILE)), texts)
    intents = read_labels(folder / "data" / "features")
    labels_N = np.array([intents.index(row["intent"]) for row in rows])
    queries = Queries([str(line) for line in range(len(rows))], texts, ids, labels_N)
    ensemble = Ensemble.load(folder / "models" / "teacher", folder / "data" / "raw" / "encoder")
    scores = {STUDENT: run_batches(load_student(model)[0], ids, "fp32")} | ensemble.log_probabilities(queries, "fp32")
    return {
        "queries": len(rows),
        "accuracy": {name: round(float((values.argmax(axis=1) == labels_N).mean()), DECIMALS) for name, values in scores.items()},
    }
