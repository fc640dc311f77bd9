from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from pipeline.errors import UserError
from pipeline.verify import judge

MACHINE = {"cpu": "a", "threads": 2}


def checkout(folder: Path, hashes: dict[str, str], accuracy: float = 0.8, machine: dict[str, object] = MACHINE) -> Path:
    (folder / "metrics").mkdir(parents=True)
    outs = [{"path": path, "md5": md5} for path, md5 in hashes.items()]
    (folder / "dvc.lock").write_text(yaml.safe_dump({"stages": {"train": {"outs": outs}}}))
    (folder / "metrics/machine.json").write_text(json.dumps(machine))
    (folder / "metrics/evaluate.json").write_text(json.dumps({"tinybert": {"accuracy": accuracy, "macro_f1": accuracy}}))
    return folder


def test_equal_hashes_are_bit_identical(tmp_path: Path) -> None:
    pair = checkout(tmp_path / "a", {"x": "1", "y": "2"}), checkout(tmp_path / "b", {"x": "1", "y": "2"})
    assert judge(*pair) == "verified: all 2 outputs are bit-identical to dvc.lock"


def test_other_bits_on_the_same_class_of_machine_fail_and_are_named(tmp_path: Path) -> None:
    pair = checkout(tmp_path / "a", {"x": "1", "y": "2"}), checkout(tmp_path / "b", {"x": "1", "y": "3"})
    with pytest.raises(UserError, match=r"these outputs differ: y$"):
        judge(*pair)


@pytest.mark.parametrize(("accuracy", "holds"), [(0.79, True), (0.83, True), (0.76, False), (0.84, False)])
def test_another_class_of_machine_may_differ_within_the_tolerance(tmp_path: Path, accuracy: float, holds: bool) -> None:
    other = checkout(tmp_path / "b", {"x": "2"}, accuracy, {"cpu": "b", "threads": 2})
    committed = checkout(tmp_path / "a", {"x": "1"})
    if holds:
        assert judge(committed, other).startswith("verified within 0.03")
    else:
        with pytest.raises(UserError, match=f"tinybert accuracy: 0.8 -> {accuracy}"):
            judge(committed, other)


def test_a_lock_of_other_outputs_or_none_is_refused(tmp_path: Path) -> None:
    pair = checkout(tmp_path / "a", {"x": "1"}), checkout(tmp_path / "b", {"z": "1"})
    with pytest.raises(UserError, match=r"\['x', 'z'\]"):
        judge(*pair)
    (pair[0] / "dvc.lock").unlink()
    with pytest.raises(UserError, match="no such file"):
        judge(*pair)
