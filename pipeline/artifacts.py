"""The layout of every folder that crosses a stage, and how it comes into being: whole or not at all.

A folder or file is written beside its place under a ``.partial-`` name and renamed when it is complete. A run that was killed
leaves at most a ``.partial-`` entry, which git and DVC ignore and the next run removes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import UserError

SAMPLE = "data/sample/queries.csv"  # our own queries, columns text and intent
STUDENT = "tinybert"  # among the models of metrics and tables

# data/raw/dataset: rows as they came, under canonical column names
RAW_TRAIN = "train.csv"
RAW_TEST = "test.csv"  # absent when no test file was given
RAW_SOURCE = "source.json"  # {"train": name of the source, "test": name or null}

# data/raw/encoder, data/raw/student_encoder: files as they came and
ENCODER_SOURCE = "source.json"  # {"name": .., "repository": .., "revision": .., "licence": ..}, or {"name": null}

# data/prepared, data/features: one table a split
SPLITS = ("train", "validation", "test")
LABELS = "labels.json"  # the intents, in the order of the class indices
AUGMENTED = "augmented.parquet"
TOKENIZER = "tokenizer"  # a folder with the next two
TOKENIZER_FILE = "tokenizer.json"
VOCABULARY = "vocab.txt"

# data/soft_targets: float16 log-probabilities, one row a row of the feature table of the same name
SOFT_TRAIN = "train.npy"
SOFT_AUGMENTED = "augmented.npy"

# models/teacher: one folder a member of the ensemble
BAG_OF_WORDS = "bag_of_words"
BASE_ENCODER = "base_encoder"
FINETUNED = "finetuned"

# models/tinybert: a stock transformers checkpoint and
CALIBRATION = "calibration.json"  # {"temperature": .., "max_tokens": ..}

# models/onnx: a graph a precision, the checkpoint's tokenizer, the labels and
MANIFEST = "manifest.json"  # pipeline/manifest.py

# metrics/predictions.csv: the student's columns; each further column is another model's answers
PREDICTION_COLUMNS = ("id", "label", "predicted", "confidence")

PREFIX = ".partial-"


def models_of(header: Iterable[str]) -> dict[str, str]:
    """The models whose answers the predictions hold, and the column of each."""
    return {STUDENT if name == "predicted" else name: name for name in header if name == "predicted" or name not in PREDICTION_COLUMNS}


def split_table(split: str) -> str:
    """File name of a split's table."""
    return f"{split}.parquet"


def graph_file(precision: str) -> str:
    """File name of a graph, by its precision (``fp32`` or ``int8``)."""
    return f"{precision}.onnx"


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder to fill; it replaces ``path`` when the block ends without an error."""
    partial, old = _partial(path), path.parent / f"{PREFIX}old-{path.name}"
    _remove(partial)
    _remove(old)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            path.rename(old)
        partial.rename(path)
    finally:
        _remove(partial)
        _remove(old)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a path to write; it replaces ``path``, for good, when the block ends without an error."""
    partial = _partial(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)
    finally:
        _remove(partial)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON that is the same bytes for the same value (keys keep their order)."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Reads what ``write_json`` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def check_folder(path: Path) -> None:
    """Makes sure that a folder is there or can be made.

    Raises:
        UserError: it, or what it would lie in, is a file.
    """
    there = next(place for place in (path, *path.parents) if place.exists())
    if not there.is_dir():
        raise UserError(f"{there}: is a file: give a folder for the output")


def _sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk: else a power cut can leave the new name on an empty file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _partial(path: Path) -> Path:
    return path.parent / (PREFIX + path.name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
