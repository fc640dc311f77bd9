"""Reads what stage `prepare` wrote, for what stands beside the stages."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import artifacts
from pipeline.errors import UserError


def read_texts(folder: Path, split: str) -> list[str]:
    """The texts of a split.

    Raises:
        UserError: there is no such table.
    """
    texts: list[str] = read_columns(folder, split, ["text"])["text"].to_pylist()
    return texts


def read_labelled(folder: Path, split: str) -> tuple[list[str], list[str]]:
    """The texts of a split, and the names of their labels.

    Raises:
        UserError: there is no such table.
    """
    rows = read_columns(folder, split, ["text", "label"])
    names = artifacts.read_json(folder / artifacts.LABELS)
    return rows["text"].to_pylist(), [names[i] for i in rows["label"].to_pylist()]


def read_columns(folder: Path, split: str, columns: list[str]) -> pa.Table:
    """Columns of the table of a split.

    Raises:
        UserError: there is no such table.
    """
    path = folder / artifacts.split_table(split)
    if not path.exists():
        raise UserError(f"{path}: no such file: run `make repro`, or `dvc pull {folder}`")
    return pq.read_table(path, columns=columns)
