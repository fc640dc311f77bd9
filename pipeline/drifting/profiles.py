"""What is compared of queries: how long they are, how many of their words are new, and what the model says of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pipeline.serving.classifier import Answer
from pipeline.words import unknown_share, words


class Profile(NamedTuple):
    """What is compared of queries: an array a feature; the arrays need not be of the same queries."""

    words: np.ndarray  # words of a query
    unknown: np.ndarray  # share of a query's words that no training query has; 1 where it has no word
    confidence: np.ndarray  # calibrated probability of the predicted intent
    intents: np.ndarray  # index of the predicted intent


def describe(texts: list[str], answers: list[Answer], known: frozenset[str], labels: tuple[str, ...]) -> Profile:
    """What is compared of queries."""
    index = {label: i for i, label in enumerate(labels)}
    return Profile(
        words=np.array([len(words(text)) for text in texts]),
        unknown=np.array([unknown_share(text, known) for text in texts]),
        confidence=np.array([answer.confidence for answer in answers]),
        intents=np.array([index[answer.label] for answer in answers]),
    )


def shares(reference: Profile, new: Profile, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """The share of each predicted intent before and now, largest change first."""
    before, now = (np.bincount(profile.intents, minlength=len(labels)) / len(profile.intents) for profile in (reference, new))
    order = np.argsort(-np.abs(now - before), kind="stable")
    return [{"intent": labels[i], "reference": round(float(before[i]), 6), "new": round(float(now[i]), 6)} for i in order]
