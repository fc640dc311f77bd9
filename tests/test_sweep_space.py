from __future__ import annotations

from pathlib import Path

import optuna
import pytest
import yaml

from pipeline.compose import compose
from pipeline.sweeping.space import Knob, Value, override


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e-05, 1.5e-7, 3, True, None, "soft"])
def test_an_override_gives_hydra_the_very_value(tmp_path: Path, value: Value) -> None:
    compose([override("train.learning_rate", value)], tmp_path / "params.yaml")
    found = yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))["train"]["learning_rate"]
    assert (type(found), found) == (type(value), value)


def test_a_range_of_whole_numbers_draws_whole_numbers_and_any_draw_lies_in_the_space() -> None:
    knobs = {
        "whole": Knob(low=1, high=4),
        "factor": Knob(low=1.0e-4, high=1.0e-2, log=True),
        "choice": Knob(choices=["soft", "hard"]),
    }
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    drawn = []
    for _ in range(40):
        trial = study.ask()
        drawn.append({name: knob.draw(trial, name) for name, knob in knobs.items()})
    assert {row["whole"] for row in drawn} == {1, 2, 3, 4}
    assert {row["choice"] for row in drawn} == {"soft", "hard"}
    assert 12 <= sum(row["factor"] < 1.0e-3 for row in drawn) <= 28  # half of a logarithmic range
    assert all(knobs[name].contains(value) for row in drawn for name, value in row.items())
    assert not knobs["whole"].contains(5)
    assert not knobs["whole"].contains(1.5)
    assert knobs["whole"].contains(2.0)
    assert Knob(low=1, high=4.0).contains(1.5)
    assert not knobs["choice"].contains("warm")
