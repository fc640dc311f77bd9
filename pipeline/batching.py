"""Batches of queries of like length, padded to the longest of the batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler

Ids = Sequence[np.ndarray]  # word-piece ids, one array of shape (T_i,) a query


class LengthBuckets(Sampler[list[int]]):
    """Row indices in batches of like length, in a new order each epoch.

    Rows are sorted by length, equal lengths in random order, cut into batches, and the batches shuffled.

    Args:
        lengths: word pieces of every row.
        rows_of_epoch: the rows an epoch consists of, always as many, given a generator seeded by seed and epoch.
        batch_size: rows a batch.
        seed: together with the epoch it decides the order.
        share: which of how many processes asks; each gets its rows of every batch, so that together they take the steps of one.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        rows_of_epoch: Callable[[np.random.Generator], np.ndarray],
        batch_size: int,
        seed: int,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.lengths = lengths
        self.rows_of_epoch = rows_of_epoch
        self.batch_size = batch_size
        self.seed = seed
        self.rank, self.processes = share
        self.epoch = 0
        self._rows = len(rows_of_epoch(np.random.default_rng(seed)))

    def set_epoch(self, epoch: int) -> None:
        """Selects the order of an epoch; the training loop calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self._rows / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        rows = rng.permutation(self.rows_of_epoch(rng))
        rows = rows[np.argsort(self.lengths[rows], kind="stable")]
        for number in rng.permutation(len(self)):
            batch = rows[number * self.batch_size : (number + 1) * self.batch_size]
            yield batch[self.rank % len(batch) :: self.processes].tolist()  # in a batch with fewer rows than processes some are shown twice

    def padding_waste(self) -> float:
        """Share of the padded tokens of an epoch that are padding."""
        lengths = [self.lengths[batch] for batch in self]
        return 1 - float(sum(batch.sum() for batch in lengths) / sum(batch.max() * len(batch) for batch in lengths))


def pad(ids: Ids, device: torch.device | None = None) -> dict[str, torch.Tensor]:
    """Pads id arrays with 0 (the [PAD] of every BERT vocabulary).

    Returns:
        ``input_ids`` and ``attention_mask``, both int64 of shape (B, longest).
    """
    longest = max(map(len, ids))
    input_ids_BT = np.zeros((len(ids), longest), dtype=np.int64)
    mask_BT = np.zeros((len(ids), longest), dtype=np.int64)
    for row, tokens in enumerate(ids):
        input_ids_BT[row, : len(tokens)] = tokens
        mask_BT[row, : len(tokens)] = 1
    return {"input_ids": torch.from_numpy(input_ids_BT).to(device), "attention_mask": torch.from_numpy(mask_BT).to(device)}


def by_length(ids: Ids, batch_size: int) -> Iterator[np.ndarray]:
    """Row indices in batches of like length, shortest first, for inference."""
    order = np.argsort([len(tokens) for tokens in ids], kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
