"""How far a classifier trained on BANKING77 agrees with the labels of our own queries.

Run     BANKING77_DIR=... python -m benchmarks.label_agreement

The classifier is the frozen base encoder with logistic regression, trained on all of BANKING77 (train and test), in fp32. How far it agrees
depends on how closely it follows BANKING77, so it is asked at four strengths, each told with its cross-validated accuracy on BANKING77.
Writes metrics/reference/sample.json; ends with one line of JSON. A row of ours that is a near twin of a BANKING77 row, or holds a whole
one, fails the run.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedKFold

from pipeline import artifacts
from pipeline.bag_of_words import fit_linear
from pipeline.errors import UserError, exit_with_one_line
from pipeline.inference import run_batches
from pipeline.near_twins import WORD, nearest_by_jaccard
from pipeline.pooled import PooledClassifier, load_encoder
from pipeline.rows import Row
from pipeline.runtime import fix_runtime
from pipeline.sources import bring_card, read_card, read_csv
from pipeline.tables.sample import AGREEMENT
from pipeline.tokens import encode, load_tokenizer

SAMPLE = Path(artifacts.SAMPLE)
ENCODER, CARD = Path("data/raw/encoder"), Path("data/banking77.yaml")
TWIN = 0.7
STRENGTHS = (1.0, 3.0, 10.0, 30.0)  # inverse regularization: scikit-learn's default .. that of `teach`
FOLDS, ITERATIONS = 3, 1000
LEAST_WORDS = 5  # shorter queries ("my card was refused") are everybody's words


class Embedded(NamedTuple):
    """Rows as the base encoder's normalised sentence embeddings, shape (N, hidden), and class indices, shape (N,)."""

    embeddings_NV: np.ndarray  # noqa: N815 (a shape suffix)
    labels_N: np.ndarray  # noqa: N815


def embed(rows: list[Row], intents: list[str]) -> Embedded:
    """Embeds the texts; an intent is its place in the list."""
    model = PooledClassifier(load_encoder(ENCODER), classes=2, normalize=True)
    ids = encode(load_tokenizer(ENCODER, 128), [row.text for row in rows])
    return Embedded(run_batches(model, ids, "fp32", output=model.embed), np.array([intents.index(row.intent) for row in rows]))


def find_contained(texts: list[str], references: list[str]) -> list[int]:
    """Indices of the texts that hold a reference of ``LEAST_WORDS`` words or more, word for word."""
    runs = {tuple(words) for words in map(_words, references) if len(words) >= LEAST_WORDS}
    lengths = sorted({len(run) for run in runs})
    found = []
    for index, words in enumerate(map(_words, texts)):
        if any(tuple(words[start : start + length]) in runs for length in lengths for start in range(len(words) - length + 1)):
            found.append(index)
    return found


def check_apart(ours: list[Row], theirs: list[Row]) -> float:
    """The largest similarity of a row of ours to one of BANKING77.

    Raises:
        UserError: a row of ours is a near twin of one, or holds a whole one.
    """
    texts, references = [row.text for row in ours], [row.text for row in theirs]
    similarity_N = nearest_by_jaccard(texts, references)[1]
    held = find_contained(texts, references)
    if held:
        raise UserError(f"{SAMPLE}:{ours[held[0]].line}: holds a whole BANKING77 query; {len(held) - 1} more like it: rewrite it")
    if similarity_N.max() >= TWIN:
        raise UserError(
            f"{SAMPLE}:{ours[int(similarity_N.argmax())].line}: nearly equals a BANKING77 row ({similarity_N.max():.2f}): rewrite it"
        )
    return float(similarity_N.max())


def ask_at(strength: float, theirs: Embedded, ours: Embedded) -> dict[str, float]:
    """Trains on BANKING77 at an inverse regularization: how often it agrees with our labels and how good it is on BANKING77."""
    weight, bias = fit_linear(*theirs, strength, ITERATIONS, seed=0)
    logits_NC = ours.embeddings_NV @ weight.T + bias
    rank_N = rank(logits_NC, ours.labels_N)
    told = {
        "agreement": float((rank_N == 0).mean()),
        "top3_agreement": float((rank_N < 3).mean()),
        "accuracy_on_banking77": cross_validate(theirs, strength),
    }
    print(f"C = {strength:g}: " + ", ".join(f"{name} {100 * value:.1f} %" for name, value in told.items()), flush=True)
    return {"inverse_regularization": strength} | {name: round(value, 4) for name, value in told.items()}


def rank(logits_NC: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    """How many classes are more probable than the label, shape (N,)."""
    rank_N: np.ndarray = (logits_NC > logits_NC[np.arange(len(labels_N)), labels_N][:, None]).sum(axis=1)
    return rank_N


def cross_validate(rows: Embedded, strength: float) -> float:
    """Accuracy on rows that the classifier has not seen."""
    right, (embeddings_NV, labels_N) = 0, rows
    for learnt, asked in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(embeddings_NV, labels_N):
        weight, bias = fit_linear(embeddings_NV[learnt], labels_N[learnt], strength, ITERATIONS, seed=0)
        right += int(((embeddings_NV[asked] @ weight.T + bias).argmax(axis=1) == labels_N[asked]).sum())
    return right / len(labels_N)


def _words(text: str) -> list[str]:
    return re.findall(WORD, text.lower())


def main() -> None:
    """Trains on BANKING77, predicts our queries, compares."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.label_agreement", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    fix_runtime(threads=2, seed=0)
    if not ENCODER.exists():
        raise UserError(f"{ENCODER}: no such folder: run `dvc repro fetch` first")

    ours, theirs = read_csv(SAMPLE, "text", "intent"), [row for rows in bring_card(read_card(CARD)).values() for row in rows]
    similarity = check_apart(ours, theirs)
    intents = sorted({row.intent for row in theirs})
    theirs_embedded, ours_embedded = embed(theirs, intents), embed(ours, intents)
    asked = [ask_at(strength, theirs_embedded, ours_embedded) for strength in STRENGTHS]
    result = {
        "command": "python -m benchmarks.label_agreement",
        "queries": len(ours),
        "classifiers": asked,
        "largest_similarity": round(similarity, 4),
    }
    artifacts.write_json(AGREEMENT, result)
    print(json.dumps(result))


if __name__ == "__main__":
    exit_with_one_line(main)
