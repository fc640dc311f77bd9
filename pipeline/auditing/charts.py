"""The pictures of an audit. Same data, same bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pipeline.auditing.defects import Query
from pipeline.charts import BLUE, GREY, ORANGE, save, short
from pipeline.near_twins import TWIN, nearest_by_jaccard
from pipeline.words import unknown_share, words

COLORS = {"train": BLUE, "validation": GREY, "test": ORANGE}
LONGEST_LABEL = 40
PAIRS_SHOWN = 20
CURVE_POINTS = 60


def draw_balance(queries: Sequence[Query], path: Path) -> None:
    """Rows of each intent, by split, most on top."""
    total = Counter(query.intent for query in queries)
    intents = sorted(total, key=lambda intent: (total[intent], intent))
    figure = Figure(figsize=(8, 1.4 + 0.19 * len(intents)), layout="constrained")
    axis = figure.subplots()
    places, left = np.arange(len(intents)), np.zeros(len(intents))
    for split, color in COLORS.items():
        counts = Counter(query.intent for query in queries if query.split == split)
        widths = np.array([counts[intent] for intent in intents])
        axis.barh(places, widths, left=left, color=color, height=0.75, label=split)
        left += widths
    axis.set(xlabel="rows")
    axis.set_yticks(places, [short(intent, LONGEST_LABEL) for intent in intents])
    axis.tick_params(axis="y", labelsize=8)
    axis.margins(y=0.005)
    figure.legend(frameon=False, loc="outside upper center", ncols=len(COLORS))
    save(figure, path)


def draw_lengths(queries: Sequence[Query], pieces: np.ndarray, max_tokens: int, path: Path) -> None:
    """Words of a query by split, and word pieces with the length at which they are cut."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    first, second = figure.subplots(1, 2)
    for split, color in COLORS.items():
        counts = [len(words(query.text)) for query in queries if query.split == split]
        first.ecdf(counts, color=color, label=f"{split}, n = {len(counts):,}")
    first.set(xlabel="words of a query", ylabel="share of queries up to there", ylim=(0, 1.02))
    first.legend(frameon=False, loc="lower right", fontsize=8)
    second.hist(pieces, bins=40, color=BLUE)
    second.axvline(max_tokens, color=ORANGE, linestyle="--", label=f"cut at {max_tokens}")
    second.set(xlabel="word pieces of a query", ylabel="queries")
    second.legend(frameon=False, fontsize=8)
    save(figure, path)


def draw_vocabulary(queries: Sequence[Query], seed: int, path: Path) -> None:
    """How the vocabulary grows with the training queries, and how much of the held-out queries' words is not in it."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    first, second = figure.subplots(1, 2)
    train = [query.text for query in queries if query.split == "train"]
    order = np.random.default_rng(seed).permutation(len(train))
    known: set[str] = set()
    sizes = np.zeros(len(train))
    for place, i in enumerate(order):
        known.update(words(train[i]))
        sizes[place] = len(known)
    shown = np.unique(np.linspace(0, len(train) - 1, CURVE_POINTS).astype(int))
    first.plot(shown + 1, sizes[shown], color=BLUE)
    first.set(xlabel="training queries, in random order", ylabel="different words", ylim=(0, None))
    for split in ("validation", "test"):
        shares = [unknown_share(query.text, known) for query in queries if query.split == split]
        second.ecdf(shares, color=COLORS[split], label=f"{split}, mean {100 * float(np.mean(shares)):.1f} %")
    second.set(xlabel="share of a query's words that training does not have", xlim=(0, None))
    second.set(ylabel="share of queries up to there", ylim=(0, 1.02))
    second.legend(frameon=False, loc="lower right", fontsize=8)
    save(figure, path)


def draw_twins(queries: Sequence[Query], path: Path) -> None:
    """How similar each query is to its nearest in train: held-out ones and those of train themselves."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axis = figure.subplots()
    texts = {split: [query.text for query in queries if query.split == split] for split in COLORS}
    for split, color in COLORS.items():
        _, similarity = nearest_by_jaccard(texts[split], None if split == "train" else texts["train"])
        axis.ecdf(similarity, color=color, label=split)
    axis.axvline(TWIN, color=GREY, linestyle="--", linewidth=1)
    axis.annotate("near-duplicates", (TWIN, 0), xytext=(4, 4), textcoords="offset points", fontsize=8, color=GREY)
    axis.set(xlabel="similarity to the nearest training query", ylabel="share of queries up to there", xlim=(0, 1.02), ylim=(0, 1.02))
    axis.legend(frameon=False, loc="upper left", fontsize=8)
    save(figure, path)


def draw_suspects(given_N: np.ndarray, suspected: np.ndarray, pairs: Sequence[tuple[str, str, int]], path: Path) -> None:
    """What the models think of the given labels, and the pairs of a given and a suggested intent with most suspects.

    Args:
        given_N: probability of each row's own label.
        suspected: indices of the suspects.
        pairs: given intent, suggested intent, rows; most first.
        path: the picture.
    """
    shown = list(pairs[:PAIRS_SHOWN])[::-1]
    figure = Figure(figsize=(9, 3.4 + 0.22 * len(shown)), layout="constrained")
    rows_of_figures: Any = figure.subfigures(2, 1, height_ratios=(2.4, 0.6 + 0.22 * len(shown)))
    above, below = rows_of_figures
    first, second = above.subplots(), below.subplots()
    rest = np.delete(given_N, suspected)
    first.hist([rest, given_N[suspected]], bins=np.linspace(0, 1, 41), stacked=True, color=[BLUE, ORANGE], label=["believed", "suspect"])
    first.set(xlabel="probability of the given label", ylabel="rows", xlim=(0, 1))
    first.legend(frameon=False, fontsize=8)
    places = np.arange(len(shown))
    second.barh(places, [rows for *_, rows in shown], color=ORANGE, height=0.7)
    second.set_yticks(places, [f"{short(given, LONGEST_LABEL)}  >  {short(other, LONGEST_LABEL)}" for given, other, _ in shown])
    second.set(xlabel="suspects, given > suggested")
    second.tick_params(axis="y", labelsize=8)
    second.xaxis.get_major_locator().set_params(integer=True)
    save(figure, path)
