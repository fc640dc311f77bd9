"""What runs the trials of a sweep, one after the other."""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import TrialState

from pipeline.errors import UserError
from pipeline.lock import LOCK, flatten, parse_lock
from pipeline.progress import Epoch
from pipeline.run_files import PARAMS
from pipeline.sweeping.experiment import METRICS, ExperimentError, Turnstile, read_file, run_experiment
from pipeline.sweeping.space import Sweep, override
from pipeline.sweeping.study import NAME, RETRIES

FAILURES = 3  # of one worker in a row: then it is not the draw
STOPPED = "stopped: run the same command again to resume"
PREPARED = "prepared"  # attribute of a study: hashes of the rows that its trials learn from and are judged by


@dataclass
class Worker:
    """What runs trials of a study, one after the other."""

    study: optuna.Study
    space: Sweep
    overrides: list[str]
    seed: int
    logs: Path
    turnstile: Turnstile
    silence_s: float  # after which a worker is taken for dead
    trial: optuna.Trial | None = None  # that runs
    begun: int = 0
    problems: list[str] = field(default_factory=list)

    def work(self, trials: int) -> None:
        """Runs trials until the study has as many.

        Raises:
            UserError: trials fail one after the other, or the worker was told to stop.
            StorageInternalError: the database of the study does not answer.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        while True:
            fail_stale_trials(self.study)
            queue_unbegun(self.study, self.silence_s)
            if count(self.study) >= trials:
                return
            try:
                self.study.optimize(self._run, n_trials=1, catch=(ExperimentError,))
            except KeyboardInterrupt:
                if self.trial is not None:
                    stopped = self.study.trials[self.trial.number]
                    values = stopped.system_attrs.get("fixed_params", {}) | stopped.params
                    self.study.enqueue_trial(values, user_attrs=stopped.user_attrs)
                raise UserError(STOPPED) from None
            except (ValueError, AssertionError, UnboundLocalError) as error:
                # what Optuna raises when the database is gone, or another worker has ended this one's trial
                if isinstance(error.__context__, StorageInternalError):
                    raise error.__context__ from None
                if self.trial is None or self.study.trials[self.trial.number].state != TrialState.FAIL:
                    raise
                print(f"trial {self.trial.number}: missed its heartbeats: another worker marked it failed and queued it again", flush=True)
            self.trial = None
            if len(self.problems) == FAILURES:
                raise UserError(f"{FAILURES} consecutive trials failed; the last: {self.problems[-1]}")

    def _run(self, trial: optuna.Trial) -> float:
        self.trial, self.begun = trial, self.begun + 1
        # a seed a trial: workers that begin together draw unlike values, and a study is the same again where one worker runs it
        self.study.sampler = optuna.samplers.TPESampler(seed=zlib.crc32(f"{self.seed} {trial.number}".encode()), constant_liar=True)
        values = {name: knob.draw(trial, name) for name, knob in self.space.knobs.items()}
        name = name_experiment(self.study, trial.number)
        trial.set_user_attr("experiment", name)

        def on_epoch(epoch: Epoch) -> None:
            trial.report(epoch.accuracy, epoch.epoch)
            if epoch.epoch < epoch.epochs and trial.should_prune():  # the last has nothing left to save
                told = f"pruned after epoch {epoch.epoch} of {epoch.epochs}: validation accuracy {epoch.accuracy:.4f}"
                print(f"trial {trial.number}: {told}", flush=True)
                raise optuna.TrialPruned

        overrides = [*self.overrides, *(override(knob, value) for knob, value in values.items())]
        try:
            run_experiment(name, overrides, self.logs / f"{name}.txt", self.turnstile, first=self.begun == 1, on_epoch=on_epoch)
            accuracy = judge(self.study, name, values)
        except ExperimentError as error:
            trial.set_user_attr("problem", str(error))
            self.problems.append(str(error))
            print(f"trial {trial.number}: failed: {error}", flush=True)
            raise
        except optuna.TrialPruned:
            self.problems.clear()
            raise
        self.problems.clear()
        print(f"trial {trial.number}: validation accuracy {accuracy:.4f}, experiment {name}", flush=True)
        return accuracy


def name_experiment(study: optuna.Study, number: int) -> str:
    """The name of a trial's experiment; an attribute of every trial that was begun."""
    return f"{study.study_name}-{study.user_attrs[NAME]}-{number:03}"


def queue_unbegun(study: optuna.Study, silence_s: float) -> None:
    """Queues again what a worker took and died before its first heartbeat: Optuna's own look for the dead passes that over."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        assert trial.datetime_start is not None
        begun = trial.user_attrs.get("experiment") == name_experiment(study, trial.number)
        if begun or time.time() - trial.datetime_start.timestamp() < silence_s:
            continue
        try:
            study.tell(trial.number, state=TrialState.FAIL)
        except (ValueError, UpdateFinishedTrialError):  # another worker was quicker
            continue
        RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)(study, trial)


def judge(study: optuna.Study, name: str, values: dict[str, Any]) -> float:
    """Validation accuracy of an experiment, if it is one that can be compared with the study's others.

    Raises:
        ExperimentError: the experiment ran with other values, or left no metrics.
        UserError: its rows are not those of the trials before.
    """
    params = flatten(yaml.safe_load(read_file(name, PARAMS)))
    if other := [knob for knob, value in values.items() if params[knob] != value]:
        raise ExperimentError(f"experiment {name}: {other[0]}: {params[other[0]]!r} instead of {values[other[0]]!r}")
    prepared = {out.path: out.md5 for out in parse_lock(read_file(name, LOCK))["prepare"].outs}
    if study.user_attrs.get(PREPARED, prepared) != prepared:
        raise UserError(
            f"experiment {name}: its prepared rows are not those of other trials: bring the data back, or begin another study with --study"
        )
    study.set_user_attr(PREPARED, prepared)
    return float(json.loads(read_file(name, METRICS))["validation_accuracy"])


def count(study: optuna.Study) -> int:
    """Trials that ended by themselves or are running; those that were killed are queued again and do not count."""
    return sum(
        trial.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING) or "problem" in trial.user_attrs
        for trial in study.trials
    )
