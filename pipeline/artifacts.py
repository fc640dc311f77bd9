"""The layout of every folder that crosses a stage, and how it comes into being: whole or not at all.

A folder or file is written beside its place under a ``.partial-`` name and renamed when it is complete. A run that was killed
leaves at most a ``.partial-`` entry, which git and DVC ignore and the next run removes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
TOKENIZER = "tokenizer"

# data/soft_targets: float16 log-probabilities, one row a row of the feature table of the same name
SOFT_TRAIN = "train.npy"
SOFT_AUGMENTED = "augmented.npy"

# models/teacher: one folder a member of the ensemble
BAG_OF_WORDS = "bag_of_words"
BASE_ENCODER = "base_encoder"
FINETUNED = "finetuned"

# models/tinybert: a stock transformers checkpoint and
CALIBRATION = "calibration.json"  # {"temperature": .., "max_tokens": ..}
TOKENIZER_FILE = "tokenizer.json"

# models/onnx: a graph a precision, the checkpoint's tokenizer, the labels and
MANIFEST = "manifest.json"  # pipeline/manifest.py

PREFIX = ".partial-"


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
    """Yields a path to write; it replaces ``path`` when the block ends without an error."""
    partial = _partial(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        partial.replace(path)
    finally:
        _remove(partial)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON that is the same bytes for the same value (keys keep their order)."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Reads what ``write_json`` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def _partial(path: Path) -> Path:
    return path.parent / (PREFIX + path.name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
