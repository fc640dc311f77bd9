from __future__ import annotations

import numpy as np
import pytest

from pipeline.ensemble import PRODUCT, Ensemble
from pipeline.features import Queries
from pipeline.teach import label

NUMBERS = np.arange(7)
SCALE = np.array([-1.0, -0.1, -10.0], dtype=np.float32)
QUERIES = Queries([str(n) for n in NUMBERS], [f"query {n}" for n in NUMBERS], [np.array([2, n, 3]) for n in NUMBERS], NUMBERS)


class Teachers:
    """Log-probabilities that tell of which query they are, and how many were asked at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def log_probabilities(self, queries: Queries, precision: str) -> dict[str, np.ndarray]:
        assert precision == "bf16"
        assert [int(ids[1]) for ids in queries.ids] == [int(text.split()[1]) for text in queries.texts] == [int(n) for n in queries.names]
        self.asked.append(len(queries))
        numbers_N1 = np.array([[ids[1]] for ids in queries.ids], dtype=np.float32)
        return {"bag_of_words": 0 * numbers_N1, PRODUCT: numbers_N1 * SCALE}


def test_texts_are_labelled_some_at_a_time_and_each_row_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.teach.TEXTS_AT_ONCE", 3)
    teachers = Teachers()
    log_p = label(teachers, QUERIES, 3, "bf16")  # type: ignore[arg-type]
    assert teachers.asked == [3, 3, 1]
    assert log_p.dtype == np.float16
    np.testing.assert_array_equal(log_p, (NUMBERS[:, None].astype(np.float32) * SCALE).astype(np.float16))


def test_no_copies_are_an_array_of_no_rows() -> None:
    assert label(Ensemble.__new__(Ensemble), Queries([], [], [], None), 3, "fp32").shape == (0, 3)
