"""Near twins (near-duplicates): pairs of texts that share most of their words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

WORD = r"[a-z0-9']+"
TWIN = 0.8  # similarity from which on two texts are near twins
PAIRS_AT_ONCE = 10_000_000  # similarities in memory at a time, about 300 MB with what it takes to compute them


def nearest_by_jaccard(texts: Sequence[str], references: Sequence[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Finds for each text the reference with the largest token Jaccard similarity; without references, the nearest other text.

    Tokens are the lower-case runs of letters, digits and apostrophes; each counts once.

    Returns:
        Index of that reference and similarity in [0, 1] (0 where a text has no token), both of shape (len(texts),).
    """
    nearest, similarity = np.zeros(len(texts), dtype=np.int64), np.zeros(len(texts), dtype=np.float32)
    for start, jaccard_NM in _similarities(texts, references):
        nearest[start : start + len(jaccard_NM)] = jaccard_NM.argmax(axis=1)
        similarity[start : start + len(jaccard_NM)] = jaccard_NM.max(axis=1)
    return nearest, similarity


def pairs_of_twins(texts: Sequence[str], least: float = TWIN) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """All pairs of texts that are at least so similar (see ``nearest_by_jaccard``), a text at a time.

    Yields:
        Index of a text that has later near twins, in order; indices of these, in order, and their similarities, both of shape (twins,).
    """
    for start, jaccard_NM in _similarities(texts, None):
        for first, jaccard_M in enumerate(jaccard_NM, start):
            later = first + 1 + np.flatnonzero(jaccard_M[first + 1 :] >= least)
            if len(later):
                yield first, later, jaccard_M[later]


def _similarities(texts: Sequence[str], references: Sequence[str] | None) -> Iterator[tuple[int, np.ndarray]]:
    """Similarities of some texts at a time with all references, and the index of the first of these texts."""
    vectorizer = CountVectorizer(binary=True, lowercase=True, token_pattern=WORD, dtype=np.float32)
    others = texts if references is None else references
    vectorizer.fit([*texts, *others, "a"])
    texts_NV, references_MV = vectorizer.transform(texts), vectorizer.transform(others)
    sizes_M = references_MV.sum(axis=1).A1
    rows_at_once = max(1, PAIRS_AT_ONCE // max(1, len(others)))
    for start in range(0, len(texts), rows_at_once):
        part = texts_NV[start : start + rows_at_once]
        shared_NM = (part @ references_MV.T).toarray()
        union_NM = part.sum(axis=1).A1[:, None] + sizes_M[None, :] - shared_NM
        jaccard_NM = shared_NM / np.maximum(union_NM, 1)
        if references is None:
            rows = np.arange(len(jaccard_NM))
            jaccard_NM[rows, start + rows] = -1
        yield start, jaccard_NM
