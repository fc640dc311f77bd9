from __future__ import annotations

import numpy as np
import pytest

from pipeline.batching import LengthBuckets, by_length, pad

LENGTHS = np.random.default_rng(0).integers(3, 60, size=1000)


def buckets(seed: int = 1) -> LengthBuckets:
    return LengthBuckets(LENGTHS, lambda _: np.arange(1000), 32, seed)


def test_an_epoch_holds_every_row_once() -> None:
    batches = list(buckets())
    assert sorted(row for batch in batches for row in batch) == list(range(1000))
    assert len(batches) == len(buckets()) == 32


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    again, later, other = buckets(), buckets(), buckets(seed=2)
    later.set_epoch(1)
    assert list(buckets()) == list(again)
    assert list(buckets()) != list(later)
    assert list(buckets()) != list(other)


def test_batches_of_like_length_waste_little_padding() -> None:
    padded = sum(LENGTHS[batch].max() * len(batch) for batch in buckets())
    assert buckets().padding_waste() == 1 - LENGTHS.sum() / padded
    assert buckets().padding_waste() < 0.05


def test_pad_fills_with_zeros_up_to_the_longest() -> None:
    batch = pad([np.array([5, 6, 7]), np.array([8])])
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_by_length_names_every_row_once_shortest_first() -> None:
    ids = [np.zeros(length, dtype=np.int64) for length in (5, 1, 3, 1)]
    assert [batch.tolist() for batch in by_length(ids, 3)] == [[1, 3, 2], [0]]


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_the_shares_of_all_processes_are_the_batches_of_one(processes: int) -> None:
    lengths = np.random.default_rng(1).integers(3, 40, size=50)
    alone = LengthBuckets(lengths, lambda _: np.arange(50), 8, seed=3)
    shares = [LengthBuckets(lengths, lambda _: np.arange(50), 8, 3, (rank, processes)) for rank in range(processes)]
    for epoch in range(2):
        for buckets in (alone, *shares):
            buckets.set_epoch(epoch)
        for batch, *parts in zip(alone, *shares, strict=True):
            assert all(parts)  # every process takes every step
            assert {row for part in parts for row in part} == set(batch)
            assert max(map(len, parts)) - min(map(len, parts)) <= 1
