"""Near twins: pairs of texts that share most of their words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

WORD = r"[a-z0-9']+"
TWIN = 0.8  # similarity from which on two texts are near twins
ROWS_AT_ONCE = 1024  # bounds memory to this many rows times the number of references


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


def pairs_of_twins(texts: Sequence[str], least: float = TWIN) -> list[tuple[int, int, float]]:
    """All pairs of texts that are at least so similar (see ``nearest_by_jaccard``), most similar first.

    Returns:
        Index of the earlier text, index of the later, similarity.
    """
    pairs = []
    for start, jaccard_NM in _similarities(texts, None):
        first, second = np.nonzero(jaccard_NM >= least)
        pairs += [(int(i + start), int(j), float(jaccard_NM[i, j])) for i, j in zip(first, second, strict=True) if i + start < j]
    return sorted(pairs, key=lambda pair: (-pair[2], *pair[:2]))


def _similarities(texts: Sequence[str], references: Sequence[str] | None) -> Iterator[tuple[int, np.ndarray]]:
    """Similarities of some texts at a time with all references, and the index of the first of these texts."""
    vectorizer = CountVectorizer(binary=True, lowercase=True, token_pattern=WORD, dtype=np.float32)
    others = texts if references is None else references
    vectorizer.fit([*texts, *others, "a"])
    texts_NV, references_MV = vectorizer.transform(texts), vectorizer.transform(others)
    sizes_M = references_MV.sum(axis=1).A1
    for start in range(0, len(texts), ROWS_AT_ONCE):
        part = texts_NV[start : start + ROWS_AT_ONCE]
        shared_NM = (part @ references_MV.T).toarray()
        union_NM = part.sum(axis=1).A1[:, None] + sizes_M[None, :] - shared_NM
        jaccard_NM = shared_NM / np.maximum(union_NM, 1)
        if references is None:
            rows = np.arange(len(jaccard_NM))
            jaccard_NM[rows, start + rows] = -1
        yield start, jaccard_NM
