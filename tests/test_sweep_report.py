from __future__ import annotations

import csv
from pathlib import Path

import optuna

from pipeline.sweeping.report import tell, write_report
from pipeline.sweeping.space import Knob, Sweep
from pipeline.sweeping.study import NOW

SPACE = Sweep(
    knobs={
        "train.learning_rate": Knob(low=1.0e-4, high=2.0e-3, log=True),
        "train.copies_per_epoch": Knob(low=0, high=4),
        "train.targets": Knob(choices=["soft", "hard"]),
    }
)


def study_of(trials: int, now: tuple[int, ...] = ()) -> optuna.Study:
    """Only the learning rate matters; every fifth trial was given up after its first epoch, one failed; some are of what there was."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=3))
    for number in range(trials):
        trial = study.ask()
        values = {name: knob.draw(trial, name) for name, knob in SPACE.knobs.items()}
        trial.set_user_attr("experiment", f"student-{number:03}")
        if number in now:
            trial.set_user_attr(NOW, True)
        trial.report(0.5, 1)
        rate = values["train.learning_rate"]
        assert isinstance(rate, float)
        if number == 6:
            trial.set_user_attr("problem", "a reason")
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        elif number % 5 == 4:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, 0.6 + 100 * rate)
    return study


def test_the_table_has_a_row_a_trial_and_the_pictures_are_the_same_bytes_again(tmp_path: Path) -> None:
    study = study_of(20)
    for folder in (tmp_path / "one", tmp_path / "two"):
        write_report(study, SPACE, folder)
    names = {"trials.csv", "history.png", "parallel.png", "importance.png"}
    assert {path.name for path in (tmp_path / "one").iterdir()} == names
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)
    with (tmp_path / "one/trials.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["state"] for row in rows[:7]] == ["complete"] * 4 + ["pruned", "complete", "fail"]
    assert (rows[6]["problem"], rows[6]["validation_accuracy"]) == ("a reason", "")
    assert float(rows[0]["train.learning_rate"]) == study.trials[0].params["train.learning_rate"]


def test_the_best_is_told_with_what_there_was_before_and_how_to_take_it_over(tmp_path: Path) -> None:
    study = study_of(20, now=(6, 7))  # the sixth was killed, and run again
    best, before = study.best_trial, study.trials[7]
    assert tell(study, tmp_path) == (
        f"best of 20 trials: {best.value:.4f} on validation (what there was: {before.value:.4f}): "
        f"-S train.learning_rate={best.params['train.learning_rate']!r} "
        f"-S train.copies_per_epoch={best.params['train.copies_per_epoch']} -S train.targets='{best.params['train.targets']}'\n"
        f"to take it over: dvc exp apply student-{best.number:03}; table and pictures: {tmp_path}"
    )


def test_what_was_never_tried_is_not_told_as_what_there_was(tmp_path: Path) -> None:
    assert tell(study_of(20), tmp_path).startswith("best of 20 trials: 0.7837 on validation: -S")


def test_a_study_without_a_finished_trial_has_a_table_and_no_pictures(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")
    study.ask()
    write_report(study, SPACE, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"trials.csv"}
    assert tell(study, tmp_path).startswith("no trial ran to its end so far\n1 are running")
