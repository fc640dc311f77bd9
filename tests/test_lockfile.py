"""Locks that do and do not match their tree, in real repositories without a cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from clones import sh
from small_runs import PARAMS, commit, labels, write_run

from pipeline.lock import LockedStage, parse_lock
from pipeline.reporting.lockfile import stage_changes, stale


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_run(tmp_path, labels(10), labels(10))
    commit(tmp_path)
    return tmp_path


def stale_by_params(root: Path) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["train"]["seed"] = 43
    (root / "params.yaml").write_text(yaml.safe_dump(params))


def stale_by_package(root: Path) -> None:
    (root / "pyproject.toml").write_text((root / "pyproject.toml").read_text().replace("2.13.0", "2.14.0"))


def stale_by_command(root: Path) -> None:
    (root / "dvc.yaml").write_text((root / "dvc.yaml").read_text().replace("python train.py", "python train.py --fast"))


def stale_by_code(root: Path) -> None:
    (root / "train.py").write_text("print()\n")


def stale_by_metrics(root: Path) -> None:
    path = root / "metrics/evaluate.json"
    path.write_text(path.read_text().replace("0.02", "0.01"))


def stale_by_merge(root: Path) -> None:
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    lock["stages"]["train"]["outs"][0]["md5"] = "3" * 32 + ".dir"
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))


def stale_by_stage(root: Path) -> None:
    pipeline = yaml.safe_load((root / "dvc.yaml").read_text())
    pipeline["stages"]["export"] = {"cmd": "python export.py", "deps": ["models/tinybert"], "outs": ["models/onnx"]}
    (root / "dvc.yaml").write_text(yaml.safe_dump(pipeline))


def stale_by_dep(root: Path, path: str = "data/raw/dataset") -> None:
    pipeline = yaml.safe_load((root / "dvc.yaml").read_text())
    pipeline["stages"]["evaluate"]["deps"].append(path)
    (root / "dvc.yaml").write_text(yaml.safe_dump(pipeline))


def stale_by_tracked_dep(root: Path) -> None:
    stale_by_dep(root, "fetch.py")


def stale_by_freezing(root: Path) -> None:
    sh(root, "dvc", "freeze", "train")
    stale_by_params(root)


def stale_by_renaming(root: Path) -> None:
    """What DVC leaves of a stage that had another name: its entry, with the hash of a checkpoint that was made anew since."""
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    lock["stages"]["assess"] = {"cmd": "python assess.py", "deps": [{"path": "models/tinybert", "md5": "3" * 32 + ".dir"}]}
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))


def stale_by_deletion(root: Path) -> None:
    (root / "metrics/predictions.csv").unlink()


def stale_by_absence(root: Path) -> None:
    (root / "dvc.lock").unlink()


def stale_by_nonsense(root: Path) -> None:
    (root / "dvc.lock").write_text("<<<<<<< HEAD\nstages:\n=======\n")


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (stale_by_params, "train: params.yaml: train.seed: 42 in the lock, 43 in the tree"),
        (stale_by_package, "train: pyproject.toml: project.dependencies: ['torch==2.13.0'] in the lock, ['torch==2.14.0'] in the tree"),
        (stale_by_command, "train: changed command"),
        (stale_by_code, "train: changed deps: train.py: modified"),
        (stale_by_metrics, "evaluate: changed outs: metrics/evaluate.json: modified"),
        (stale_by_merge, "evaluate: models/tinybert: not what the stage that writes it wrote"),
        (stale_by_stage, "export: has no entry"),
        (stale_by_dep, "evaluate: data/raw/dataset: has no entry"),
        (stale_by_tracked_dep, "evaluate: changed deps: fetch.py: "),
        (stale_by_freezing, "train: is frozen: its inputs are not compared"),
        (stale_by_renaming, "assess: in dvc.lock, not in dvc.yaml: delete its entry"),
        (stale_by_deletion, "evaluate: changed outs: metrics/predictions.csv: deleted"),
        (stale_by_absence, "no such file"),
        (stale_by_nonsense, "mapping values are not allowed here"),
    ],
)
def test_a_lock_that_does_not_match_the_tree_is_stale_and_says_where(tree: Path, spoil: Callable[[Path], None], what: str) -> None:
    spoil(tree)
    found = stale(tree)
    assert len(found) == 1
    assert found[0].startswith(what)


def test_a_lock_matches_a_clone_without_cache_outputs_or_remote(tree: Path, tmp_path: Path) -> None:
    sh(tree, "git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    assert stale(tmp_path / "clone") == []


def test_a_file_added_with_dvc_add_needs_no_entry(tree: Path) -> None:
    (tree / "notes.txt").write_text("mine")
    sh(tree, "dvc", "add", "--quiet", "notes.txt")
    assert stale(tree) == []


def test_a_lock_is_stale_in_a_clone_too_where_a_dvc_file_holds_other_data_than_a_stage_read(tree: Path, tmp_path: Path) -> None:
    (tree / "data").mkdir()
    (tree / "data/mine.csv").write_text("text,label\n")
    sh(tree, "dvc", "add", "--quiet", "data/mine.csv")
    stale_by_dep(tree, "data/mine.csv")
    lock = yaml.safe_load((tree / "dvc.lock").read_text())
    md5 = yaml.safe_load((tree / "data/mine.csv.dvc").read_text())["outs"][0]["md5"]
    lock["stages"]["evaluate"]["deps"].append({"path": "data/mine.csv", "hash": "md5", "md5": md5, "size": 11})
    (tree / "dvc.lock").write_text(yaml.safe_dump(lock))
    commit(tree)
    clone = tmp_path / "clone"
    sh(tree, "git", "clone", "--quiet", ".", str(clone))
    assert stale(clone) == []
    (clone / "data/mine.csv.dvc").write_text((clone / "data/mine.csv.dvc").read_text().replace(md5, "f" * 32))
    assert stale(clone) == ["evaluate: data/mine.csv: not what data/mine.csv.dvc holds"]


def test_stages_are_new_gone_or_changed_and_say_by_what(tree: Path) -> None:
    before = parse_lock((tree / "dvc.lock").read_bytes())
    write_run(tree, labels(10), labels(10)[::-1], params={"fetch": PARAMS["fetch"], "train": {"learning_rate": 0.002}})
    after = parse_lock((tree / "dvc.lock").read_bytes()) | {"export": LockedStage(cmd="x")}
    del after["fetch"]
    changes = {row.stage: row for row in stage_changes(before, after)}
    assert changes["train"].params == ["params.yaml.train.learning_rate", "params.yaml.train.seed"]
    assert changes["train"].outs == ["models/tinybert"]
    assert changes["evaluate"].deps == ["models/tinybert"]
    assert (changes["fetch"].kind, changes["export"].kind) == ("gone", "new")
