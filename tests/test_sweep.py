"""Sweeps of a toy that takes no time, and one of the real pipeline: real DVC, git, Optuna and processes throughout."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import optuna
import pytest
import yaml
from clones import sh, small_overrides
from services import wait_until
from toy_sweep import SPACE, make_toy, sweep, variables, write_space

from pipeline import sweep as command
from pipeline.errors import UserError
from pipeline.sweep import check_space
from pipeline.sweeping.experiment import Turnstile
from pipeline.sweeping.study import open_storage, open_study

KNOB = "train.learning_rate"
PATIENCE_S = 600  # of a busy machine; seconds are usual
PRUNED = SPACE | {"prune": True, "full_trials": 1, "full_epochs": 1}


def table(folder: Path, study: str = "student") -> list[dict[str, str]]:
    with (folder / f"build/sweeps/{study}/trials.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def experiments(folder: Path) -> set[str]:
    refs = sh(folder, "git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    return {ref.rsplit("/", 1)[1] for ref in refs if "/exec/" not in ref}


@contextmanager
def started(folder: Path, *arguments: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A worker that runs beside the test; what it says goes to its stdout."""
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    (folder / "build").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pipeline.sweep", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=os.environ | path | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as worker:
        try:
            yield worker
        finally:
            worker.kill()


def two_workers(folder: Path, *arguments: str, environment: dict[str, str]) -> list[str]:
    """What two workers say that begin at once."""
    with started(folder, *arguments, environment=environment) as one, started(folder, *arguments, environment=environment) as other:
        said = [worker.communicate(timeout=PATIENCE_S)[0] for worker in (one, other)]
        assert [worker.returncode for worker in (one, other)] == [0, 0], said
    return said


def wait_for(folder: Path, words: str, logs: int) -> None:
    """Waits until the logs of so many trials have these words."""

    def said() -> int:
        return sum(words in log.read_text() for log in folder.glob("build/sweeps/student/logs/*.txt"))

    wait_until(lambda: said() >= logs, PATIENCE_S, f"fewer than {logs} logs say {words!r}")


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return make_toy(tmp_path / "toy")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A toy after a sweep of three trials, and what that said."""
    folder = make_toy(tmp_path_factory.mktemp("swept") / "toy")
    write_space(folder, **PRUNED)
    return folder, sweep(folder, "--trials", "3", pause_s=1)


@pytest.mark.parametrize(
    ("sweep_file", "message"),
    [
        ({"knobs": {"train.learning_rat": {"low": 0.1, "high": 0.2}}}, "sweep.knobs.train.learning_rat: no such knob"),
        ({"knobs": {"train.student": {"choices": [1]}}}, "sweep.knobs.train.student: no such knob"),
        ({"knobs": {"prepare.seed": {"choices": [1, 2]}}}, "sweep.knobs.prepare.seed: only knobs of featurize, teach, train can be swept"),
        ({"knobs": {KNOB: {"low": 1.0e-4, "high": 2.0}}}, "sweep.knobs.train.learning_rate: 2.0: input should be less than 1"),
        ({"knobs": {KNOB: {"low": "1e-4", "high": 0.1}}}, "sweep.knobs.train.learning_rate.low"),
        ({"knobs": {KNOB: {"low": 0.1, "high": 0.01}}}, "sweep.knobs.train.learning_rate: low (0.1) must be less than high (0.01)"),
        ({"knobs": {KNOB: {"low": 0.0, "high": 0.1, "log": True}}}, "must be more than 0 on a logarithmic scale"),
        ({"knobs": {KNOB: {"low": 0.1}}}, "sweep.knobs.train.learning_rate: give low and high, or a list of choices"),
        ({"knobs": {KNOB: {"low": 0.1, "high": 0.2, "choices": [0.1]}}}, "choices, or low and high: not both"),
        (
            {"knobs": {"train.targets": {"choices": ["soft", "warm"]}}},
            "train.targets: 'warm': input should be 'soft' or 'hard'",
        ),
        ({"knobs": {"train.epochs": {"low": 2, "high": 9}}}, "train.epochs: trials of unlike lengths cannot be compared"),
        ({"knobs": {}}, "there are none"),
        ({"prun": True}, "sweep.prun: unknown key"),
    ],
)
def test_a_space_that_cannot_be_searched_is_one_line_that_names_file_and_knob(
    tmp_path: Path, sweep_file: dict[str, object], message: str
) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump({"sweep": sweep_file}), encoding="utf-8")
    with pytest.raises(UserError) as error:
        check_space(path, [])
    assert str(error.value).startswith(f"{path}: sweep")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_space_that_comes_with_the_repository_can_be_searched_and_has_what_there_is_now() -> None:
    space, params = check_space(Path("configs/sweep.yaml"), [])
    assert all(knob.contains(params["train"][name.removeprefix("train.")]) for name, knob in space.knobs.items())


def test_validation_rows_that_are_trained_on_are_no_judge() -> None:
    with pytest.raises(UserError, match=r"prepare\.refit: true: the student would be judged by rows it was trained on"):
        check_space(Path("configs/sweep.yaml"), ["prepare.refit=true"])


def test_a_sweep_gives_up_what_is_behind_and_names_an_experiment_that_can_be_applied(swept: tuple[Path, str]) -> None:
    toy, said = swept
    rows = table(toy)
    assert float(rows[0][KNOB]) == yaml.safe_load((toy / "params.yaml").read_text())["train"]["learning_rate"]  # what there is comes first
    states = [row["state"] for row in rows]
    assert set(states) == {"complete", "pruned"}
    assert [row["epochs"] for row in rows] == ["3" if state == "complete" else "1" for state in states]
    assert experiments(toy) == {row["experiment"] for row in rows if row["state"] == "complete"}
    assert not list(toy.glob(".dvc/tmp/exps/standalone/tmp*"))  # nothing is left of what was given up
    best = max((row for row in rows if row["state"] == "complete"), key=lambda row: float(row["validation_accuracy"]))
    assert f"-S {KNOB}={best[KNOB]}" in said
    assert f"dvc exp apply {best['experiment']}" in said
    assert all((toy / f"build/sweeps/student/{name}.png").stat().st_size > 10_000 for name in ("history", "parallel"))
    sh(toy, "dvc", "exp", "apply", best["experiment"])
    assert json.loads((toy / "model.json").read_text())["learning_rate"] == float(best[KNOB])


@pytest.mark.slow
def test_two_workers_share_a_study_and_what_all_trials_need_is_made_once(toy: Path) -> None:
    said = two_workers(toy, "--trials", "3", environment=variables(toy, 0.3))
    rows = table(toy)
    assert len(rows) in (3, 4)  # both may begin what each thinks is the last
    assert {row["state"] for row in rows} == {"complete"}
    assert len({row[KNOB] for row in rows}) == len(rows)
    assert all("trial" in words for words in said)
    assert (toy / "build/toy.log").read_text().split() == ["taught"]
    for row in rows:
        params = yaml.safe_load(sh(toy, "git", "show", f"{commit_of(toy, row['experiment'])}:params.yaml"))
        assert params["train"]["learning_rate"] == float(row[KNOB])


def commit_of(folder: Path, experiment: str) -> str:
    refs = sh(folder, "git", "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines()
    return next(ref.split()[0] for ref in refs if ref.endswith(f"/{experiment}"))


@pytest.mark.slow
def test_a_trial_whose_worker_is_told_to_stop_or_killed_is_run_again_with_its_values(toy: Path) -> None:
    command = ("--trials", "1", "--heartbeat", "1")
    with started(toy, *command, environment=variables(toy, 3)) as worker:
        wait_for(toy, "student: epoch 1 of 3", logs=1)
        worker.send_signal(signal.SIGTERM)
        said = worker.communicate(timeout=PATIENCE_S)[0]
    assert said.splitlines()[-1] == "error: stopped: run the same command again to resume"
    assert worker.returncode == 1
    assert not list(toy.glob(".dvc/tmp/exps/standalone/tmp*"))

    with started(toy, *command, environment=variables(toy, 3)) as worker:
        wait_for(toy, "student: epoch 1 of 3", logs=2)
        worker.kill()
    time.sleep(2.5)  # two heartbeats
    sweep(toy, *command)
    rows = table(toy)
    assert [row["state"] for row in rows] == ["fail", "fail", "complete"]
    assert len({row[KNOB] for row in rows}) == 1


def test_what_there_is_so_far_is_drawn_while_the_first_trial_makes_what_all_need(toy: Path) -> None:
    (toy / ".dvc/tmp/sweeps").mkdir(parents=True)
    with Turnstile(toy / ".dvc/tmp/sweeps/turnstile"), started(toy, "--trials", "0", environment=variables(toy)) as other:
        assert other.communicate(timeout=PATIENCE_S)[0] == "no trial ran to its end so far\n"


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (KeyboardInterrupt(), "stopped: run the same command again to resume"),
        (optuna.exceptions.StorageInternalError("gone"), "the study's database does not respond: gone: run the same command again"),
    ],
)
def test_a_stop_and_a_database_that_is_gone_are_a_line_wherever_they_come(
    raised: BaseException, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise raised

    for module, name in ((signal, "signal"), (optuna.logging, "set_verbosity")):  # those of the tests stay
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "argv", ["sweep"])
    monkeypatch.setattr(command, "open_study", fail)
    monkeypatch.setattr(command, "STORAGE", tmp_path)
    with warnings.catch_warnings(), pytest.raises(UserError, match=told):
        command.main()


def test_a_sweep_outside_of_a_checkout_is_one_line_and_leaves_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["sweep"])
    with pytest.raises(UserError, match=r"^configs/sweep\.yaml: no such file"):
        command.search(command.read_arguments())
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_database_that_goes_away_during_a_trial_is_one_line(toy: Path) -> None:
    with started(toy, "--heartbeat", "1", environment=variables(toy, 2)) as worker:
        wait_for(toy, "student: epoch 1 of 3", logs=1)
        for file in toy.glob(".dvc/tmp/sweeps/student.db*"):
            file.unlink()
        said = worker.communicate(timeout=PATIENCE_S)[0]
    assert said.startswith("error: the study's database does not respond: ")
    assert said.count("\n") == 1
    assert worker.returncode == 1


@pytest.mark.slow
def test_a_sweep_whose_trials_all_fail_ends_and_says_why(toy: Path) -> None:
    write_space(toy, prune=False, knobs={"train.dropout": {"low": 0.6, "high": 0.9}})
    said = sweep(toy, "--trials", "9", code=1)
    assert "note: the current value of train.dropout, 0.0, is outside the sweep's space" in said
    assert "error: 3 consecutive trials failed; the last: error: train.dropout: too much for a toy" in said
    assert [row["state"] for row in table(toy)] == ["fail"] * 3
    assert "too much for a toy" in table(toy)[0]["problem"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_trials_that_cannot_be_compared_are_not(swept: tuple[Path, str]) -> None:
    toy, _ = swept
    (toy / "data.txt").write_text("two\n")
    write_space(toy, **SPACE)  # to its end, to be judged
    assert "its prepared rows are not those of other trials" in sweep(toy, "--trials", "4", code=1)
    with chdir(toy):
        file, url = Path("configs/sweep.yaml"), "sqlite:///.dvc/tmp/sweeps/student.db"
        open_study(url, "student", 60, *check_space(file, []))
        with pytest.raises(UserError, match="study student: the params changed since the study began"):
            open_study(url, "student", 60, *check_space(file, ["train.epochs=2"]))
        write_space(toy, **SPACE | {"knobs": {KNOB: {"low": 0.001, "high": 0.1}}})
        with pytest.raises(UserError, match="study student: the space of the sweep changed"):
            open_study(url, "student", 60, *check_space(file, []))
        write_space(toy, **SPACE)
        Path("stages/train.py").write_text("# something else\n")
        with pytest.raises(UserError, match="study student: the code of the stages, or their versions changed"):
            open_study(url, "student", 60, *check_space(file, []))


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "--storage: not the URL of a database"),
        ("sqlite:////no/such/folder/sweep.db", "unable to open database file"),
        ("postgresql://me@127.0.0.1:port/sweeps", "--storage: not the URL of a database"),
        ("mysql+aiomysql://me@127.0.0.1/sweeps", r"me:\*\*\*@127.0.0.1/sweeps: .*install the driver of that database"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_one_line_without_its_password(url: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        open_storage(url.replace("me@", "me:secret@"), 60)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.usefixtures("restored")
def test_two_workers_teach_real_students(clone: Path, first_run: str) -> None:
    """On the small file; the test split stays untouched: `evaluate` does not run."""
    scored = (clone / "metrics/evaluate.json").read_bytes()
    options = [*small_overrides(clone), "--study", "real", "--trials", "2"]
    two_workers(clone, *options, environment={})
    rows = table(clone, "real")
    assert [row["state"] for row in rows] == ["complete", "complete"]
    assert all("Running stage 'evaluate'" not in log.read_text() for log in clone.glob("build/sweeps/real/logs/*.txt"))
    assert (clone / "metrics/evaluate.json").read_bytes() == scored
    other = rows[1]
    told = json.loads(sh(clone, "git", "show", f"{commit_of(clone, other['experiment'])}:metrics/train.json"))
    assert told["validation_accuracy"] == float(other["validation_accuracy"])
    sh(clone, "dvc", "exp", "apply", other["experiment"])
    assert yaml.safe_load((clone / "params.yaml").read_text())["train"]["learning_rate"] == float(other[KNOB])
