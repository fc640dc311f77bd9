"""Parts of the training rows: what is learnt from, its augmented copies, further texts without labels, and what is judged by."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from pipeline import artifacts
from pipeline.augment import augment
from pipeline.features import Queries, read_labels, read_split

FOLDS, INNER, SEED = 3, 3, 42
STUDIES = {  # the parts by which recipes are compared; both deal out the same rows
    "folds": [f"fold{number}" for number in range(FOLDS)],
    "thirds": [f"third{number}" for number in range(FOLDS)],
}
COPIES, MORE_COPIES = 12, 4  # of a training query; of a text without a label
SAMPLE = Path("data/sample/queries.csv")


@dataclass(frozen=True)
class Fold:
    """A part of the rows.

    Attributes:
        name: ``fold0``.. (judged by a third of the rows, learns from the others), ``third0``.. (learns from a third, judged by the
            others), ``full`` (all training rows, judged by the official test) or ``shots5_0``.. (so many an intent, likewise).
        train: what is learnt from.
        copies: `COPIES` variants of each; copy ``c`` of row ``i`` stands at ``c * len(train) + i``.
        more: our own sample without its labels, then `MORE_COPIES` variants of each.
        held: what is judged by.
        inner_N: which part of ``train`` (0 .. INNER - 1) a row is in, for teachers that have not seen it.
        labels: the intents.
        seed: of all that is drawn.
    """

    name: str
    train: Queries
    copies: Queries
    more: Queries
    held: Queries
    inner_N: np.ndarray  # noqa: N815 (a shape suffix)
    labels: list[str]
    seed: int


@cache
def read_fold(data: Path, name: str) -> Fold:
    """Makes a part by its name; the same for every process.

    Args:
        data: a checkout in which `featurize` ran on BANKING77, with all training rows in train.
        name: see `Fold`.
    """
    features = data / "data" / "features"
    rows, labels_N = read_split(features, "train")
    tokenizer = Tokenizer.from_file(str(features / artifacts.TOKENIZER / "tokenizer.json"))
    number, parts_N = 0, deal(labels_N, FOLDS, SEED)
    if name.startswith(("fold", "third")):
        number = int(name[-1])
        one, others = take(rows, np.flatnonzero(parts_N == number)), take(rows, np.flatnonzero(parts_N != number))
        train, held = (others, one) if name.startswith("fold") else (one, others)
    else:
        held = read_split(features, "test")[0]
        train = rows
        if name.startswith("shots"):
            shots, number = map(int, name.removeprefix("shots").split("_"))
            order = np.random.default_rng(SEED + number).permutation(len(rows))
            train = take(rows, np.sort(np.concatenate([order[labels_N[order] == label][:shots] for label in np.unique(labels_N)])))
    seed = SEED + number
    assert train.labels is not None
    with (data / SAMPLE).open(encoding="utf-8", newline="") as handle:
        ours = [row["text"] for row in csv.DictReader(handle)]
    more = queries(tokenizer, [*ours, *augment(ours, MORE_COPIES, seed)])
    copies = queries(tokenizer, augment(train.texts, COPIES, seed))
    return Fold(name, train, copies, more, held, deal(train.labels, INNER, seed), read_labels(features), seed)


def deal(labels_N: np.ndarray, parts: int, seed: int) -> np.ndarray:
    """A part for every row, shape (N,): each label's rows are dealt out in random order."""
    rng = np.random.default_rng(seed)
    parts_N = np.zeros(len(labels_N), dtype=np.int64)
    for label in np.unique(labels_N):
        rows = rng.permutation(np.flatnonzero(labels_N == label))
        parts_N[rows] = np.arange(len(rows)) % parts
    return parts_N


def take(rows: Queries, indices: np.ndarray) -> Queries:
    """Some of the queries."""
    chosen = indices.tolist()
    return Queries(
        [rows.names[i] for i in chosen],
        [rows.texts[i] for i in chosen],
        [rows.ids[i] for i in chosen],
        None if rows.labels is None else rows.labels[indices],
    )


def queries(tokenizer: Tokenizer, texts: list[str]) -> Queries:
    """Texts without labels."""
    ids = [np.array(encoding.ids, dtype=np.int64) for encoding in tokenizer.encode_batch(texts)]
    return Queries([str(number) for number in range(len(texts))], texts, ids, None)
