from __future__ import annotations

import pytest

from pipeline.progress import Epoch, read, tell


def test_what_is_told_is_read_back() -> None:
    epoch = Epoch(3, 12, 0.1234, 0.9876)
    assert read(tell(epoch) + "\n") == epoch


@pytest.mark.parametrize("loss", [1e6, float("nan"), float("inf")])
def test_a_loss_of_any_size_does_not_hide_the_epoch(loss: float) -> None:
    found = read(tell(Epoch(1, 1, loss, 1.0)))
    assert found is not None
    assert found.accuracy == 1.0


@pytest.mark.parametrize(
    "line", ["", "student: 14,351,813 parameters, 5 steps an epoch", "student: validation accuracy 0.7333, temperature 0.1"]
)
def test_other_lines_tell_of_no_epoch(line: str) -> None:
    assert read(line) is None
