from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from clones import clone_working_tree, sh

from pipeline.errors import UserError
from pipeline.verify import EXACT, judge

MACHINE = {"cpu": "a", "threads": 2}


def checkout(
    folder: Path,
    hashes: dict[str, str],
    accuracy: float = 0.8,
    machine: dict[str, object] = MACHINE,
    macro_f1: float = 0.8,
    stage: str = "train",
) -> Path:
    (folder / "metrics").mkdir(parents=True)
    outs = [{"path": path, "md5": md5} for path, md5 in hashes.items()]
    (folder / "dvc.lock").write_text(yaml.safe_dump({"stages": {stage: {"outs": outs}}}))
    (folder / "metrics/machine.json").write_text(json.dumps(machine))
    (folder / "metrics/evaluate.json").write_text(json.dumps({"tinybert": {"accuracy": accuracy, "macro_f1": macro_f1}}))
    return folder


def test_equal_hashes_are_bit_identical(tmp_path: Path) -> None:
    pair = checkout(tmp_path / "a", {"x": "1", "y": "2"}), checkout(tmp_path / "b", {"x": "1", "y": "2"})
    assert judge(*pair) == "verified: all 2 outputs are bit-identical to dvc.lock"


def test_other_bits_on_the_same_class_of_machine_fail_and_are_named(tmp_path: Path) -> None:
    pair = checkout(tmp_path / "a", {"x": "1", "y": "2"}), checkout(tmp_path / "b", {"x": "1", "y": "3"})
    with pytest.raises(UserError, match=r"these outputs differ: y$"):
        judge(*pair)


OTHER_MACHINE = {"cpu": "b", "threads": 2}


@pytest.mark.parametrize(("accuracy", "macro_f1"), [(0.79, 0.78), (0.83, 0.8)])
def test_another_class_of_machine_may_differ_within_the_tolerance(tmp_path: Path, accuracy: float, macro_f1: float) -> None:
    other = checkout(tmp_path / "b", {"x": "2"}, accuracy, OTHER_MACHINE, macro_f1)
    assert judge(checkout(tmp_path / "a", {"x": "1"}), other).startswith("verified within 0.03")


@pytest.mark.parametrize("stage", ["fetch", "prepare", "featurize"])
def test_what_no_machine_computes_otherwise_may_not_differ_on_any(tmp_path: Path, stage: str) -> None:
    other = checkout(tmp_path / "b", {"x": "2", "y": "1"}, machine=OTHER_MACHINE, stage=stage)
    with pytest.raises(UserError, match=r"the same on every class of machine, and differ: x$"):
        judge(checkout(tmp_path / "a", {"x": "1", "y": "1"}, stage=stage), other)


def test_the_stages_that_give_the_same_bits_everywhere_are_stages() -> None:
    assert set(yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]) > EXACT


@pytest.mark.parametrize(
    ("file", "before", "after", "told"),
    [
        ("metrics/train.json", '"validation_accuracy": ', '"validation_accuracy": 1', "train: changed outs: metrics/train.json: modified"),
        ("params.yaml", "  epochs: 7", "  epochs: 8", "train: params.yaml: train.epochs: 7 in the lock, 8 in the tree"),
        ("data/sample/queries.csv", "card", "cart", "fetch: changed deps: data/sample/queries.csv: modified"),
    ],
)
def test_a_lock_that_is_not_that_of_the_commit_is_no_proof_of_it(
    tmp_path: Path, committed_run: None, file: str, before: str, after: str, told: str
) -> None:
    root = tmp_path / "clone"
    clone_working_tree(root)
    assert sh(root, "python", "-m", "pipeline.verify", "--commit").startswith("dvc.lock: that of the code")
    text = (root / file).read_text(encoding="utf-8")
    assert before in text
    (root / file).write_text(text.replace(before, after, 1), encoding="utf-8")
    line = sh(root, "python", "-m", "pipeline.verify", "--commit", code=1)
    assert line.startswith(f"error: dvc.lock: not that of the files beside it: {told}")


@pytest.mark.parametrize(
    ("accuracy", "macro_f1", "named"),
    [(0.76, 0.8, "accuracy: 0.8 -> 0.76"), (0.84, 0.8, "accuracy: 0.8 -> 0.84"), (0.8, 0.76, "macro_f1: 0.8 -> 0.76")],
)
def test_one_figure_beyond_the_tolerance_fails(tmp_path: Path, accuracy: float, macro_f1: float, named: str) -> None:
    other = checkout(tmp_path / "b", {"x": "2"}, accuracy, OTHER_MACHINE, macro_f1)
    with pytest.raises(UserError, match=f"tinybert {named}$"):
        judge(checkout(tmp_path / "a", {"x": "1"}), other)


def test_a_lock_of_other_outputs_or_none_is_refused(tmp_path: Path) -> None:
    pair = checkout(tmp_path / "a", {"x": "1"}), checkout(tmp_path / "b", {"z": "1"})
    with pytest.raises(UserError, match=r"\['x', 'z'\]"):
        judge(*pair)
    (pair[0] / "dvc.lock").unlink()
    with pytest.raises(UserError, match="no such file"):
        judge(*pair)
