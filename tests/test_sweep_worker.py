"""A worker's trials when it is stopped between them, or was taken for dead; experiments that take no time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from pipeline.errors import UserError
from pipeline.sweeping import worker
from pipeline.sweeping.experiment import find
from pipeline.sweeping.space import Knob, Sweep
from pipeline.sweeping.study import NAME, NOW
from pipeline.sweeping.worker import Worker

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture
def idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setattr(worker, "run_experiment", lambda *_, **__: None)
    monkeypatch.setattr(worker, "judge", lambda *_: 0.5)
    storage = RDBStorage(f"sqlite:///{tmp_path}/s.db")
    study = optuna.create_study(storage=storage, study_name="s", direction="maximize")
    study.set_user_attr(NAME, "x")
    turnstile: Any = None
    yield Worker(study, Sweep(knobs={"train.dropout": Knob(low=0.1, high=0.2)}), [], 1, tmp_path, turnstile, silence_s=60)
    storage.remove_session()
    storage.engine.dispose()


def states(study: optuna.Study) -> list[TrialState]:
    return [trial.state for trial in study.trials]


def test_a_stop_between_trials_queues_nothing_that_has_ended(idle: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, ask = [], optuna.Study.ask

    def stop_at_the_second(study: optuna.Study, *arguments: Any) -> optuna.Trial:
        asked.append(study)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ask(study, *arguments)

    monkeypatch.setattr(optuna.Study, "ask", stop_at_the_second)
    with pytest.raises(UserError, match="stopped"):
        idle.work(2)
    assert states(idle.study) == [TrialState.COMPLETE]


def test_a_stop_during_a_trial_queues_its_values(idle: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    idle.study.enqueue_trial({"train.dropout": 0.15}, user_attrs={NOW: True})
    monkeypatch.setattr(worker, "run_experiment", stop)
    with pytest.raises(UserError, match="stopped"):
        idle.work(1)
    assert states(idle.study) == [TrialState.FAIL, TrialState.WAITING]
    assert idle.study.trials[1].system_attrs["fixed_params"] == {"train.dropout": 0.15}
    assert idle.study.trials[1].user_attrs[NOW]


def test_a_stop_before_the_values_are_drawn_queues_those_that_were_asked_for(idle: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(**_: object) -> None:
        raise KeyboardInterrupt

    idle.study.enqueue_trial({"train.dropout": 0.15})
    monkeypatch.setattr(optuna.samplers, "TPESampler", stop)
    with pytest.raises(UserError, match="stopped"):
        idle.work(1)
    assert idle.study.trials[1].system_attrs["fixed_params"] == {"train.dropout": 0.15}


def test_a_trial_whose_worker_died_before_it_began_is_queued_again(idle: Worker) -> None:
    idle.study.enqueue_trial({"train.dropout": 0.15}, user_attrs={NOW: True})
    idle.study.ask()  # and killed
    idle.work(1)
    assert states(idle.study) == [TrialState.RUNNING]  # its worker may be about to begin
    idle.silence_s = 0
    idle.work(1)
    assert states(idle.study) == [TrialState.FAIL, TrialState.COMPLETE]
    assert idle.study.trials[1].params == {"train.dropout": 0.15}
    assert idle.study.trials[1].user_attrs[NOW]


def test_a_trial_that_another_worker_runs_is_left_to_its_heartbeat(idle: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*_: object, **__: object) -> None:
        worker.queue_unbegun(idle.study, silence_s=0)

    monkeypatch.setattr(worker, "run_experiment", look)
    idle.work(1)
    assert states(idle.study) == [TrialState.COMPLETE]


def test_a_worker_that_was_taken_for_dead_goes_on(
    idle: Worker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    firsts: list[bool] = []

    def end_the_first_elsewhere(*_: object, first: bool, **__: object) -> None:
        firsts.append(first)
        if len(firsts) == 1:
            storage = idle.study._storage
            storage.set_trial_state_values(idle.study.trials[0]._trial_id, TrialState.FAIL)

    monkeypatch.setattr(worker, "run_experiment", end_the_first_elsewhere)
    idle.work(1)
    assert states(idle.study) == [TrialState.FAIL, TrialState.COMPLETE]
    assert firsts == [True, False]
    assert "trial 0: missed its heartbeats: another worker marked it failed" in capsys.readouterr().out


def test_where_git_fails_no_experiment_is_found_but_a_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^git for-each-ref .*: fatal: not a git repository"):
        find("x")
