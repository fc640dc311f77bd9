from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from pipeline.errors import UserError
from pipeline.verify import judge

MACHINE = {"cpu": "a", "threads": 2}


def checkout(
    folder: Path, hashes: dict[str, str], accuracy: float = 0.8, machine: dict[str, object] = MACHINE, macro_f1: float = 0.8
) -> Path:
    (folder / "metrics").mkdir(parents=True)
    outs = [{"path": path, "md5": md5} for path, md5 in hashes.items()]
    (folder / "dvc.lock").write_text(yaml.safe_dump({"stages": {"train": {"outs": outs}}}))
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
