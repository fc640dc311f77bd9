"""Teachers of a part of the rows, one task each: what they think of its texts is kept in a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cleanlab.filter import find_label_issues
from scipy.special import log_softmax

from benchmarks.levers.folds import INNER, Fold, take
from pipeline.bag_of_words import BagOfWords
from pipeline.features import Queries
from pipeline.inference import run_batches
from pipeline.metrics import accuracy, macro_f1
from pipeline.pooled import PooledClassifier
from pipeline.teach import TeachParams, fit_bag_of_words, fit_base_encoder, fit_finetuned
from pipeline.training import soft_loss

TEXTS = ("train", "copies", "more", "held")
FINETUNED = ("finetuned0", "finetuned1", "finetuned2")  # of three seeds
PRODUCT = ("bag_of_words", "base_encoder", FINETUNED[0])  # the members that `teach` has
WIDER = (*PRODUCT, *FINETUNED[1:])
PRODUCTS = {"product": PRODUCT, "wider": WIDER}
DOUBTERS = ("bag_of_words", "base_encoder")  # who doubt labels that they have not seen; other judges than those of `make audit`
ACTS = {"base_encoder": ("dropped", "relabelled"), FINETUNED[0]: ("dropped", "relabelled", "softened")}  # on suspect labels, by who learns


@dataclass(frozen=True)
class Study:
    """Where things are.

    Attributes:
        data: a checkout in which `featurize` ran.
        work: a folder for what teachers think.
        params: how teachers are fitted.
    """

    data: Path
    work: Path
    params: TeachParams

    @property
    def encoder(self) -> Path:
        """The base encoder."""
        return self.data / "data" / "raw" / "encoder"

    def file(self, fold: Fold, member: str) -> Path:
        """Log-probabilities of a member, an array a kind of text."""
        return self.work / fold.name / f"{member}.npz"

    def logits(self, fold: Fold, recipe: str) -> Path:
        """A student's logits for the held-out rows."""
        return self.work / fold.name / f"student_{recipe}.npy"

    def teacher(self, fold: Fold) -> Path:
        """The fine-tuned encoder that students are cut out of."""
        return self.work / fold.name / FINETUNED[0]


def teach(study: Study, fold: Fold, member: str) -> dict[str, Any]:
    """Fits a member (one of `WIDER`) and keeps its log-probabilities for all texts."""
    started = time.monotonic()
    think = _fit(study, fold, member, fold.train)
    if member == FINETUNED[0]:
        assert isinstance(think, Thinker)
        think.model.encoder.save_pretrained(study.teacher(fold))
    opinions = {kind: think(getattr(fold, kind)).astype(np.float16) for kind in TEXTS}
    keep(study.file(fold, member), opinions)
    return {"seconds": round(time.monotonic() - started, 1)}


def teach_unseen(study: Study, fold: Fold, member: str, part: int) -> dict[str, Any]:
    """Fits a member without one inner part, and keeps what it thinks of that part's rows and their copies (zeros elsewhere)."""
    started = time.monotonic()
    think = _fit(study, fold, member, take(fold.train, np.flatnonzero(fold.inner_N != part)))
    opinions = {}
    for kind in ("train", "copies"):
        texts: Queries = getattr(fold, kind)
        rows = np.flatnonzero(np.resize(fold.inner_N, len(texts)) == part)
        opinions[kind] = np.zeros((len(texts), len(fold.labels)), dtype=np.float16)
        opinions[kind][rows] = think(take(texts, rows))
    keep(study.file(fold, f"{member}_without{part}"), opinions)
    return {"seconds": round(time.monotonic() - started, 1)}


def act_on_suspects(study: Study, fold: Fold, member: str, act: str) -> dict[str, Any]:
    """Fits a member after something was done about the labels that others doubt who have not seen them.

    Suspects by confident learning (Northcutt et al. 2021, arXiv 1911.00068).

    Returns:
        Share of suspect rows, and its predictions for the held-out rows.
    """
    assert fold.train.labels is not None
    unseen_NC = product(study, fold, "train", DOUBTERS, unseen=True)
    suspect_N = find_label_issues(fold.train.labels, np.exp(unseen_NC), n_jobs=1)
    if act == "softened":
        think = _fit(study, fold, member, fold.train, unseen_NC.astype(np.float32))
    elif act == "dropped":
        think = _fit(study, fold, member, take(fold.train, np.flatnonzero(~suspect_N)))
    else:
        think = _fit(study, fold, member, replace(fold.train, labels=np.where(suspect_N, unseen_NC.argmax(axis=1), fold.train.labels)))
    return {"suspects": float(suspect_N.mean()), **scored(think(fold.held), fold)}


def score_teachers(study: Study, fold: Fold, members: tuple[str, ...]) -> dict[str, Any]:
    """Of each member and each product that the members make: figures (``models``) and, of all rows, answers to our sample (``sample``)."""
    products = {name: group for name, group in PRODUCTS.items() if set(group) <= set(members)}
    groups = {member: (member,) for member in members} | products
    told: dict[str, Any] = {"models": {name: scored(product(study, fold, "held", group), fold) for name, group in groups.items()}}
    if fold.name == "full":
        told["sample"] = {name: product(study, fold, "more", group).argmax(axis=1).tolist() for name, group in groups.items()}
    return told


def scored(log_p_NC: np.ndarray, fold: Fold) -> dict[str, Any]:
    """Accuracy, macro-F1 and predictions of scores for the held-out rows."""
    assert fold.held.labels is not None
    predicted_N = log_p_NC.argmax(axis=1)
    return {
        "accuracy": accuracy(fold.held.labels, predicted_N),
        "macro_f1": macro_f1(fold.held.labels, predicted_N, len(fold.labels)),
        "predicted": predicted_N.tolist(),
    }


def keep(file: Path, opinions: dict[str, np.ndarray]) -> None:
    """Writes arrays by name."""
    np.savez(file, allow_pickle=False, **opinions)


def product(study: Study, fold: Fold, kind: str, members: tuple[str, ...] = PRODUCT, unseen: bool = False) -> np.ndarray:
    """Renormalised sum of the members' log-probabilities, shape (N, classes); of teachers that have not seen a row, if asked to."""
    total_NC: np.ndarray = np.zeros(1, dtype=np.float32)
    for member in members:
        files = [f"{member}_without{part}" for part in range(INNER)] if unseen else [member]
        for file in files:
            with np.load(study.file(fold, file)) as opinions:
                total_NC = total_NC + opinions[kind].astype(np.float32)
    log_p_NC: np.ndarray = log_softmax(total_NC, axis=1)
    return log_p_NC


class Thinker:
    """A fitted encoder as a function of texts."""

    def __init__(self, model: PooledClassifier, params: TeachParams) -> None:
        self.model = model.to(torch.device(params.device))
        self.precision = params.precision

    def __call__(self, texts: Queries) -> np.ndarray:
        """Log-probabilities, shape (N, classes)."""
        log_p_NC: np.ndarray = log_softmax(run_batches(self.model, texts.ids, self.precision), axis=1)
        return log_p_NC


def _fit(study: Study, fold: Fold, member: str, rows: Queries, soft_NC: np.ndarray | None = None) -> Callable[[Queries], np.ndarray]:
    """Fits a member to rows with labels, or with log-probabilities in their place."""
    assert rows.labels is not None
    params, classes = study.params, len(fold.labels)
    seed = fold.seed + (100 * FINETUNED.index(member) if member in FINETUNED else 0)
    params = params.model_copy(update={"seed": seed})
    torch.manual_seed(seed)
    if member == "bag_of_words":
        bag: BagOfWords = fit_bag_of_words(rows, rows.labels, params)
        return lambda texts: bag.log_probabilities(texts.texts)
    if member == "base_encoder":
        return Thinker(fit_base_encoder(study.encoder, rows, rows.labels, classes, params), params)
    if soft_NC is None:
        return Thinker(fit_finetuned(study.encoder, rows, rows.labels, classes, params), params)
    return Thinker(fit_finetuned(study.encoder, rows, soft_NC, classes, params, soft_loss(1.0)), params)
