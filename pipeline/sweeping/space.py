"""What a sweep tries: knobs with ranges or choices, read from a YAML file (`configs/sweep.yaml` says how)."""

from __future__ import annotations

import optuna
from pydantic import Field, model_validator

from pipeline.params import Params

Value = bool | int | float | str | None


class Knob(Params):
    """A range or choices."""

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: list[Value] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_of_both(self) -> Knob:
        if self.choices:
            if (self.low, self.high, self.log) != (None, None, False):
                raise ValueError("choices, or low and high: not both")
        elif self.low is None or self.high is None:
            raise ValueError("give low and high, or a list of choices")
        elif self.low >= self.high:
            raise ValueError(f"low ({self.low}) must be less than high ({self.high})")
        elif self.log and self.low <= 0:
            raise ValueError(f"low ({self.low}) must be more than 0 on a logarithmic scale")
        return self

    def ends(self) -> list[Value]:
        """The values to check: every choice, or both ends of the range."""
        return self.choices or [self.low, self.high]

    def contains(self, value: Value) -> bool:
        """Whether the knob can take a value."""
        if self.choices:
            return value in self.choices
        assert self.low is not None and self.high is not None
        return isinstance(value, int | float) and self.low <= value <= self.high and (not self._whole() or float(value).is_integer())

    def draw(self, trial: optuna.Trial, name: str) -> Value:
        """A value for a trial."""
        if self.choices:
            chosen: Value = trial.suggest_categorical(name, self.choices)
            return chosen
        assert self.low is not None and self.high is not None
        if self._whole():
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def _whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)


class Sweep(Params):
    """The whole file: knobs by their names in params.yaml (``train.learning_rate``), and when a trial is given up."""

    prune: bool = True
    full_trials: int = Field(default=5, ge=1)
    full_epochs: int = Field(default=2, ge=1)
    knobs: dict[str, Knob] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _can_be_compared(self) -> Sweep:
        if not self.knobs:
            raise ValueError("knobs: there are none: name at least one, as configs/sweep.yaml does")
        if self.prune and "train.epochs" in self.knobs:
            raise ValueError(
                "knobs: train.epochs: trials of unlike lengths cannot be compared epoch by epoch: set prune: false, or leave it out"
            )
        return self

    def pruner(self) -> optuna.pruners.BasePruner:
        """Gives up what at its best was below the median of completed trials at this epoch (Golovin et al. 2017, Google Vizier, 3.2.2)."""
        if not self.prune:
            return optuna.pruners.NopPruner()
        return optuna.pruners.MedianPruner(n_startup_trials=self.full_trials, n_warmup_steps=self.full_epochs)


def override(knob: str, value: Value) -> str:
    """An override in Hydra's grammar, exact to the last bit."""
    if value is None or isinstance(value, bool):
        return f"{knob}={'null' if value is None else str(value).lower()}"
    return f"{knob}='{value}'" if isinstance(value, str) else f"{knob}={value!r}"
