"""Reads what `featurize` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline import artifacts


@dataclass(frozen=True)
class Queries:
    """N queries: ids that name their rows, texts, word-piece ids, and class indices of shape (N,), or None for augmented copies."""

    names: list[str]
    texts: list[str]
    ids: list[np.ndarray]
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.ids)

    def overlaps(self, others: Queries) -> bool:
        """Whether a row is in both, as validation rows are in train after ``prepare.refit``."""
        return not set(self.names).isdisjoint(others.names)


def read_queries(features: Path, file: str) -> Queries:
    """Reads a feature table by its file name."""
    table = pq.read_table(features / file)
    labels = table["label"].to_numpy().astype(np.int64) if "label" in table.column_names else None
    ids = [np.asarray(row, dtype=np.int64) for row in table["input_ids"].to_pylist()]
    return Queries(table["id"].to_pylist(), table["text"].to_pylist(), ids, labels)


def read_split(features: Path, split: str) -> tuple[Queries, np.ndarray]:
    """Reads a labelled split: queries and class indices of shape (N,)."""
    queries = read_queries(features, artifacts.split_table(split))
    if queries.labels is None:
        raise AssertionError(f"{split} has labels")
    return queries, queries.labels


def read_labels(features: Path) -> list[str]:
    """The intents, in the order of the class indices."""
    labels: list[str] = artifacts.read_json(features / artifacts.LABELS)
    return labels
