from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from clones import clone_working_tree, sh, stages_run
from small_runs import commit, labels, predict, write_run
from toys import make_toy, ours, reproduce

from pipeline.errors import UserError
from pipeline.revisions import Revision
from pipeline.verify import EXACT, beyond_tolerance, check_commit, judge

MACHINE, OTHER_MACHINE = {"cpu": "a", "threads": 2}, {"cpu": "b", "threads": 2}
TRUTH = labels(200)


def checkout(
    folder: Path, hashes: dict[str, str], wrong: range = range(40), machine: dict[str, object] = MACHINE, stage: str = "train"
) -> Revision:
    """A checkout whose run had some of 200 queries wrong, under a lock of made-up outputs."""
    write_run(folder, TRUTH, predict(TRUTH, wrong))
    outs = [{"path": path, "md5": md5} for path, md5 in hashes.items()]
    (folder / "dvc.lock").write_text(yaml.safe_dump({"stages": {stage: {"cmd": "x", "outs": outs}}}))
    (folder / "metrics/machine.json").write_text(json.dumps(machine))
    return Revision(folder)


def test_equal_hashes_are_bit_identical(tmp_path: Path) -> None:
    pair = checkout(tmp_path / "a", {"x": "1", "y": "2"}), checkout(tmp_path / "b", {"x": "1", "y": "2"})
    assert judge(*pair) == "verified: all 2 outputs are bit-identical to dvc.lock"


def test_other_bits_on_the_same_class_of_machine_fail_and_are_named(tmp_path: Path) -> None:
    pair = checkout(tmp_path / "a", {"x": "1", "y": "2"}), checkout(tmp_path / "b", {"x": "1", "y": "3"})
    with pytest.raises(UserError, match=r"these outputs differ: y$"):
        judge(*pair)


@pytest.mark.parametrize("wrong", [range(40), range(45), range(35)])
def test_another_class_of_machine_may_differ_within_the_tolerance(tmp_path: Path, wrong: range) -> None:
    other = checkout(tmp_path / "b", {"x": "2"}, wrong, OTHER_MACHINE)
    assert judge(checkout(tmp_path / "a", {"x": "1"}), other).startswith("verified within 0.03")


def test_figures_beyond_the_tolerance_fail_on_another_class_of_machine(tmp_path: Path) -> None:
    other = checkout(tmp_path / "b", {"x": "2"}, range(47), OTHER_MACHINE)
    with pytest.raises(UserError, match=r"beyond the tolerance of 0.03: tinybert accuracy: 0.8 -> 0.765; tinybert macro_f1: "):
        judge(checkout(tmp_path / "a", {"x": "1"}), other)


@pytest.mark.parametrize(
    ("changed", "apart"),
    [
        ({"accuracy": 0.77, "macro_f1": 0.83, "ece": 0.05}, []),
        ({"accuracy": 0.769}, ["a accuracy: 0.8 -> 0.769"]),
        ({"accuracy": 0.831}, ["a accuracy: 0.8 -> 0.831"]),
        ({"macro_f1": 0.76}, ["a macro_f1: 0.8 -> 0.76"]),
        ({"ece": 0.08}, ["a ece: 0.02 -> 0.08"]),
        ({"accuracy": float("nan")}, ["a accuracy: 0.8 -> nan"]),
        ({"macro_f1": None}, ["a macro_f1: 0.8 -> nan"]),
    ],
)
def test_each_figure_is_held_to_the_tolerance_and_one_that_is_none_is_beyond_it(changed: dict[str, float | None], apart: list[str]) -> None:
    honest = {"accuracy": 0.8, "macro_f1": 0.8, "ece": 0.02}
    figures = {name: value for name, value in (honest | changed).items() if value is not None}
    assert beyond_tolerance({"a": honest}, {"a": figures}) == apart


def test_a_model_that_only_one_side_has_is_beyond_every_tolerance() -> None:
    assert beyond_tolerance({"a": {}, "b": {}}, {"a": {}}) == ["models: a, b -> a"]


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
    assert sh(root, "python", "-m", "pipeline.verify", "--commit").startswith("dvc.lock: matches the code")
    text = (root / file).read_text(encoding="utf-8")
    assert before in text
    (root / file).write_text(text.replace(before, after, 1), encoding="utf-8")
    line = sh(root, "python", "-m", "pipeline.verify", "--commit", code=1)
    assert line.startswith(f"error: dvc.lock: does not match the files in the tree: {told}")


def test_metrics_that_are_not_those_of_the_predictions_are_refused_on_either_side(tmp_path: Path) -> None:
    pair = checkout(tmp_path / "a", {"x": "1"}), checkout(tmp_path / "b", {"x": "2"}, machine=OTHER_MACHINE)
    for root, _ in pair:
        path = root / "metrics/evaluate.json"
        honest = path.read_text()
        path.write_text(honest.replace('"accuracy": 0.8', '"accuracy": 0.82'))
        line = "metrics/evaluate.json: does not match the predictions: tinybert: accuracy is 0.82, by metrics/predictions.csv 0.800000: run"
        with pytest.raises(UserError, match=line):
            judge(*pair)
        path.write_text(honest)
    assert judge(*pair)


def test_a_lock_that_vouches_for_invented_metrics_is_no_proof_of_them(tmp_path: Path) -> None:
    write_run(tmp_path, TRUTH, predict(TRUTH, range(40)))
    commit(tmp_path)
    check_commit(tmp_path)
    write_run(tmp_path, TRUTH, predict(TRUTH, range(40)), claimed={"accuracy": 0.9})
    with pytest.raises(UserError, match=r"tinybert: accuracy is 0.9, by metrics/predictions.csv 0.8"):
        check_commit(tmp_path)


def test_a_lock_of_other_outputs_or_none_is_refused(tmp_path: Path) -> None:
    pair = checkout(tmp_path / "a", {"x": "1"}), checkout(tmp_path / "b", {"z": "1"})
    with pytest.raises(UserError, match=r"\['x', 'z'\]"):
        judge(*pair)
    (pair[0].root / "dvc.lock").unlink()
    with pytest.raises(UserError, match=r"dvc\.lock: no such file: run"):
        judge(*pair)


def test_a_run_in_the_working_tree_is_held_to_the_commit_that_it_began_with(tmp_path: Path) -> None:
    root = checkout(tmp_path, {"x": "1", "y": "2"}).root
    commit(root)
    rebuilt = "python", "-m", "pipeline.verify", "--rebuilt", "HEAD"
    here = {"PYTHONPATH": str(Path.cwd())}
    assert sh(root, *rebuilt, variables=here) == "verified: all 2 outputs are bit-identical to dvc.lock\n"
    checkout(root, {"x": "1", "y": "3"}, range(35))
    assert sh(root, *rebuilt, code=1, variables=here).endswith("made on: these outputs differ: y\n")
    checkout(root, {"x": "1", "y": "3"}, range(35), OTHER_MACHINE)
    assert sh(root, *rebuilt, variables=here).startswith("verified within 0.03: another class of machine ({'cpu': 'b'")


@pytest.mark.parametrize("revision", ["nosuch", ""])
def test_a_run_is_not_compared_with_a_revision_that_is_not_there(tmp_path: Path, revision: str) -> None:
    root = checkout(tmp_path, {"x": "1"}).root
    commit(root)
    told = sh(root, "python", "-m", "pipeline.verify", "--rebuilt", revision, code=1, variables={"PYTHONPATH": str(Path.cwd())})
    assert told == f"error: --rebuilt {revision}: no such revision here: `git fetch origin {revision}`, or name another\n"


def test_figures_that_no_run_made_are_found_though_all_of_their_inputs_are_honest(tmp_path: Path) -> None:
    """Of a stage all of whose outputs git brings; they agree with one another and with the lock, and other code than is there made them."""
    toy = tmp_path / "toy"
    make_toy(toy)
    script, lock = toy / "stages/evaluate.py", toy / "dvc.lock"
    honest_code, honest = script.read_text(), yaml.safe_load(lock.read_text())
    script.write_text(honest_code.replace("score = round(", "score = 0.1 + round("))
    assert reproduce(toy) == ["evaluate"]
    forged = yaml.safe_load(lock.read_text())
    script.write_text(honest_code)
    honest["stages"]["evaluate"]["outs"] = forged["stages"]["evaluate"]["outs"]
    lock.write_text(yaml.safe_dump(honest, sort_keys=False))
    commit(toy, "figures that no run made")
    assert ours(toy, "verify", "--commit").startswith("dvc.lock: matches the code")
    output = ours(toy, "verify", code=1)
    assert stages_run(output) == ["prepare", "train", "evaluate"]
    differing = [out["path"] for out in honest["stages"]["evaluate"]["outs"]]
    assert output.endswith(f"made on: these outputs differ: {', '.join(differing)}\n")
