"""Unlabelled variants of queries, for the teachers to label: what a student sees beyond the training queries.

Each copy is made by one of four operations at the level of words (after Wei & Zou 2019, arXiv 1901.11196, and the data
augmentation of TinyBERT, Jiao et al. 2020, arXiv 1909.10351; splicing is a house decision: it makes texts between two intents,
where the teachers' opinion is worth most).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SHARE = 0.2  # of the words that dropping and replacing touch


def augment(texts: Sequence[str], copies: int, seed: int) -> list[str]:
    """Makes ``copies`` variants of each text.

    Returns:
        ``copies * len(texts)`` texts; copy ``c`` of text ``i`` stands at ``c * len(texts) + i``.
    """
    rng = np.random.default_rng(seed)
    words = [text.split() for text in texts]
    corpus = [word for query in words for word in query]
    return [" ".join(_variant(query, words, corpus, rng)) for _ in range(copies) for query in words]


def _variant(query: list[str], queries: list[list[str]], corpus: list[str], rng: np.random.Generator) -> list[str]:
    operation = rng.integers(4)
    if operation == 0:
        other = queries[rng.integers(len(queries))]
        return query[: (len(query) + 1) // 2] + other[len(other) // 2 :]
    if operation == 1:
        return [word for word in query if rng.random() >= SHARE] or query[:1]
    if operation == 2:
        return [corpus[rng.integers(len(corpus))] if rng.random() < SHARE else word for word in query]
    return [query[i] for i in rng.permutation(len(query))]
