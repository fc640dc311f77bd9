"""Parts of the training rows: what is learnt from, its augmented copies, further texts without labels, and what is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from pipeline import artifacts
from pipeline.augment import augment
from pipeline.csv_files import read_table
from pipeline.features import Queries, read_labels, read_split
from pipeline.tokens import encode

FOLDS, INNER, SEED = 3, 3, 42
SHOTS, DRAWS = (5, 10), 3


class Part(NamedTuple):
    """Which rows are learnt from and which judge.

    Attributes:
        study: ``folds`` (judged by a third of the rows, learns from the others), ``thirds`` (learns from a third, judged by the others),
            ``final`` (all training rows, judged by the official test) or ``shots`` (so many an intent, likewise).
        number: which third; which draw of the shots.
        shots: queries an intent.
    """

    study: str
    number: int = 0
    shots: int = 0


PARTS = {
    **{f"fold{number}": Part("folds", number) for number in range(FOLDS)},
    **{f"third{number}": Part("thirds", number) for number in range(FOLDS)},
    "full": Part("final"),
    **{f"shots{shots}_{draw}": Part("shots", draw, shots) for shots in SHOTS for draw in range(DRAWS)},
}
COPIES, MORE_COPIES = 12, 4  # of a training query; of a text without a label


@dataclass(frozen=True)
class Fold:
    """A part of the rows.

    Attributes:
        name: one of `PARTS`.
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
        name: one of `PARTS`.
    """
    features = data / "data" / "features"
    rows, labels_N = read_split(features, "train")
    tokenizer = Tokenizer.from_file(str(features / artifacts.TOKENIZER / artifacts.TOKENIZER_FILE))
    part = PARTS[name]
    seed = SEED + part.number
    if part.study in ("folds", "thirds"):
        is_one_N = deal(labels_N, FOLDS, SEED) == part.number
        one, others = take(rows, np.flatnonzero(is_one_N)), take(rows, np.flatnonzero(~is_one_N))
        train, held = (others, one) if part.study == "folds" else (one, others)
    else:
        train, held = rows, read_split(features, "test")[0]
        if part.shots:
            order = np.random.default_rng(seed).permutation(len(rows))
            train = take(rows, np.sort(np.concatenate([order[labels_N[order] == label][: part.shots] for label in np.unique(labels_N)])))
    assert train.labels is not None
    ours = [row["text"] for row in read_table(data / artifacts.SAMPLE)]
    more = queries(tokenizer, [*ours, *augment(ours, MORE_COPIES, seed)])
    copies = queries(tokenizer, augment(train.texts, COPIES, seed))
    return Fold(name, train, copies, more, held, deal(train.labels, INNER, seed), read_labels(features), seed)


def names_of(study: str, shots: int = 0) -> list[str]:
    """The parts of a study."""
    return [name for name, part in PARTS.items() if (part.study, part.shots) == (study, shots)]


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
    return Queries([str(number) for number in range(len(texts))], texts, encode(tokenizer, texts), None)
