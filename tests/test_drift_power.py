from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.drift_power import CAUSES, INTENTS_MORE, change, read_pools
from pipeline.drifting.profiles import Profile
from pipeline.errors import UserError

TESTS, CLASSES = 200, 40


@pytest.fixture
def pools() -> dict[str, Profile]:
    """Every query of a pool by its number."""
    names, intents = ("train", "test", "typing errors", "out of scope"), np.random.default_rng(0).integers(CLASSES, size=TESTS)
    return {name: Profile(*(np.arange(TESTS) for _ in range(3)), intents=intents) for name in names}


@pytest.mark.parametrize("cause", CAUSES)
def test_no_query_is_drawn_twice(cause: str, pools: dict[str, Profile]) -> None:
    changed = change(cause, np.arange(20, 140), pools, np.random.default_rng(1))
    assert len(set(changed.confidence)) == 120


def test_another_mix_of_intents_is_of_five_and_changes_nothing_else(pools: dict[str, Profile]) -> None:
    rows = np.arange(20, 140)
    changed = change("intents", rows, pools, np.random.default_rng(1))
    assert len(set(changed.intents)) == INTENTS_MORE
    assert all(np.array_equal(values, rows) for values in changed[:3])


@pytest.mark.parametrize(
    ("tests", "strange", "told"),
    [(99, 300, "test.parquet: 99 queries: at least 100 are needed"), (200, 39, "odd.csv: 39 queries: at least 40 are needed")],
)
def test_too_few_queries_are_one_line(tests: int, strange: int, told: str, tmp_path: Path) -> None:
    for split, rows in (("train", 10), ("test", tests)):
        pq.write_table(pa.table({"text": ["my card"] * rows}), tmp_path / f"{split}.parquet")
    (tmp_path / "odd.csv").write_text("text\n" + "why\n" * strange)
    classifier: Any = SimpleNamespace()
    with pytest.raises(UserError, match=told):
        read_pools(classifier, tmp_path, tmp_path / "odd.csv")
