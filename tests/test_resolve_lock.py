"""Two branches that both ran the pipeline: real merges in a toy repository."""

from __future__ import annotations

import re
import shutil
import sys
from contextlib import chdir
from pathlib import Path

import nbformat
import pytest
import yaml
from clones import sh, stages_run
from nbformat.v4 import new_code_cell, new_notebook, new_output
from toys import accuracy, clean, configure, make_toy, ours, reproduce, run_and_commit

from pipeline.errors import UserError
from pipeline.lock import NOTEBOOK, read_stages
from pipeline.resolve_lock import (
    Conflict,
    is_edited,
    made_by_stages,
    main,
    merge_document,
    merge_locks,
    merge_notebook,
    prepare,
    read_conflicts,
)
from pipeline.tables.blocks import render

SHOW_ACCURACY = 'import json; print(json.load(open("../metrics/evaluate.json"))["tinybert"]["accuracy"])'


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Branches, each with its run committed: ``scale`` and ``digits`` change a param, ``code`` changes a script."""
    folder = tmp_path_factory.mktemp("base") / "toy"
    make_toy(folder)
    for branch, key, value in (("digits", "evaluate.digits", 1), ("scale", "train.scale", 3)):
        branch_off(folder, branch)
        configure(folder, key, value)
        run_and_commit(folder, branch)
    return folder


@pytest.fixture
def toy(base: Path, tmp_path: Path) -> Path:
    """A copy, with ``scale`` checked out."""
    shutil.copytree(base, tmp_path / "toy")
    return tmp_path / "toy"


def branch_off(folder: Path, branch: str) -> None:
    sh(folder, "git", "checkout", "--quiet", "-b", branch, "main")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def shown_by(code: str, output: str) -> bytes:
    """A notebook of one cell, with what it printed."""
    cell = new_code_cell(code, id="one", outputs=[new_output("stream", text=output)])
    return nbformat.writes(new_notebook(cells=[cell])).encode()


def in_conflict(folder: Path) -> set[str]:
    return set(sh(folder, "git", "diff", "--name-only", "--diff-filter=U").split())


def commit_and_check(folder: Path) -> None:
    """The merge can be committed, and its lock holds."""
    assert in_conflict(folder) == set()
    sh(folder, "git", "commit", "--quiet", "--no-edit")
    assert sh(folder, "git", "status", "--porcelain") == ""
    assert clean(folder)


def test_a_merge_ends_with_the_run_of_the_merged_params_that_verify_confirms(toy: Path) -> None:
    sh(toy, "git", "merge", "digits", code=1)
    made = {"metrics/evaluate.json", "metrics/predictions.csv", "plots/evaluate/points.csv", "plots/evaluate/points.png"}
    assert in_conflict(toy) == made | {"dvc.lock", "params.yaml", "README.md"}
    output = sh(toy, "make", "resolve-lock", variables={"PYTHONPATH": str(Path.cwd())})
    assert stages_run(output) == ["evaluate"]
    assert "stages that ran: evaluate." in output
    params = yaml.safe_load((toy / "params.yaml").read_text())
    assert (params["train"]["scale"], params["evaluate"]["digits"]) == (3, 1)
    assert accuracy(toy) == 0.3
    assert "30.0 [30.0, 30.0]" in (toy / "README.md").read_text()
    commit_and_check(toy)
    output = ours(toy, "verify")
    assert stages_run(output) == ["prepare", "train", "evaluate"]  # the last too, whose inputs are those of the lock
    assert "verified: all 6 outputs are bit-identical" in output


def test_without_a_merge_nothing_is_run_and_nothing_staged(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(toy, "train.scale", 5)
    monkeypatch.chdir(toy)
    monkeypatch.setattr(sys, "argv", ["resolve_lock"])
    with pytest.raises(UserError, match=r"^git: no merge, rebase, cherry-pick or revert is under way, and nothing is in conflict"):
        main()
    assert set(sh(toy, "git", "status", "--porcelain").splitlines()) == {" M configs/config.yaml", " M params.yaml"}


@pytest.mark.slow
def test_a_notebook_in_conflict_is_run_anew(toy: Path) -> None:
    pipeline = yaml.safe_load((toy / "dvc.yaml").read_text())
    copy = {"cmd": "mkdir -p models/tinybert && cp model.json models/tinybert", "deps": ["model.json"], "outs": ["models/tinybert"]}
    (toy / "dvc.yaml").write_text(yaml.safe_dump({"stages": pipeline["stages"] | {"copy": copy}}, sort_keys=False))
    (toy / NOTEBOOK).parent.mkdir()
    (toy / NOTEBOOK).write_bytes(shown_by(SHOW_ACCURACY, "nothing yet"))
    run_and_commit(toy, "a notebook")
    for branch, key, value in (("one", "train.bias", 1), ("two", "evaluate.digits", 2)):
        sh(toy, "git", "checkout", "--quiet", "-b", branch, "scale")
        configure(toy, key, value)
        (toy / NOTEBOOK).write_bytes(shown_by(SHOW_ACCURACY, branch))
        run_and_commit(toy, branch)
    sh(toy, "git", "merge", "one", code=1)
    assert str(NOTEBOOK) in in_conflict(toy)
    ours(toy, "resolve_lock")
    cell = nbformat.read(toy / NOTEBOOK, as_version=4).cells[0]
    assert [output.text for output in cell.outputs] == ["0.31\n"]
    commit_and_check(toy)


@pytest.mark.slow
def test_what_the_run_cache_has_is_not_run_again(toy: Path) -> None:
    branch_off(toy, "both")
    configure(toy, "train.scale", 3)
    configure(toy, "evaluate.digits", 1)
    reproduce(toy)
    sh(toy, "git", "checkout", "--quiet", "--force", "scale")
    sh(toy, "git", "merge", "digits", code=1)
    output = ours(toy, "resolve_lock")
    assert stages_run(output) == []
    assert accuracy(toy) == 0.3
    commit_and_check(toy)


@pytest.mark.slow
def test_stages_come_from_the_branch_that_changed_them_and_a_rebase_is_as_good_as_a_merge(toy: Path) -> None:
    branch_off(toy, "files")
    configure(toy, "prepare.files", 5)
    run_and_commit(toy, "files")
    sh(toy, "git", "rebase", "scale", code=1)
    output = ours(toy, "resolve_lock")
    assert stages_run(output) == ["train", "evaluate"]
    assert accuracy(toy) == 0.305
    sh(toy, "git", "-c", "core.editor=true", "rebase", "--continue")
    assert clean(toy)


@pytest.mark.slow
def test_a_stage_that_ran_on_neither_branch_as_merged_runs_though_its_outputs_do_not_conflict(toy: Path) -> None:
    branch_off(toy, "code")
    replace(toy / "stages/train.py", "files = ", "# the same result by other code\nfiles = ")
    run_and_commit(toy, "code")
    sh(toy, "git", "checkout", "--quiet", "scale")
    sh(toy, "git", "merge", "code", code=1)
    assert in_conflict(toy) == {"dvc.lock"}
    assert stages_run(ours(toy, "resolve_lock")) == ["train"]
    commit_and_check(toy)


@pytest.mark.slow
def test_files_written_by_hand_come_first(toy: Path) -> None:
    for branch, words in (("one", "a word"), ("two", "another word")):
        branch_off(toy, branch)
        replace(toy / "README.md", "First words.", f"First {words}.")
        configure(toy, "train.bias", len(words))
        run_and_commit(toy, branch)
    sh(toy, "git", "merge", "one", code=1)
    before = sh(toy, "git", "status", "--porcelain"), (toy / "README.md").read_text()
    remedy = "`git add README.md configs/config.yaml`, then run this again"
    with (
        chdir(toy),
        pytest.raises(UserError, match=f"^README.md, configs/config.yaml: in conflict, and not generated: resolve by hand, {remedy}$"),
    ):
        prepare(read_conflicts())
    assert (sh(toy, "git", "status", "--porcelain"), (toy / "README.md").read_text()) == before
    sh(toy, "git", "checkout", "--ours", "README.md", "configs/config.yaml")
    sh(toy, "git", "add", "README.md", "configs/config.yaml")
    assert stages_run(ours(toy, "resolve_lock")) == []  # the merge is our side: its lock holds
    commit_and_check(toy)


def test_a_document_that_was_edited_and_not_added_is_not_overwritten(toy: Path) -> None:
    sh(toy, "git", "merge", "digits", code=1)
    solved = (toy / "README.md").read_text().split("<<<<<<< ")[0] + "<!-- end -->\n\nLast words, and mine.\n"
    (toy / "README.md").write_text(solved)
    before = sh(toy, "git", "status", "--porcelain")
    line = "README.md: edited and not added: `git add README.md`, then run this again"
    with chdir(toy), pytest.raises(UserError, match=f"^{line}$"):
        prepare(read_conflicts())
    assert (sh(toy, "git", "status", "--porcelain"), (toy / "README.md").read_text()) == (before, solved)
    sh(toy, "git", "add", "README.md")
    with chdir(toy):
        prepare(read_conflicts())
    assert (toy / "README.md").read_text() == solved


@pytest.mark.parametrize(
    ("current", "edited"),
    [
        ("<<<<<<< HEAD\nwords\n=======\n>>>>>>> other\n", False),
        ("a\n<!-- generated: results -->\nof a run\n<!-- end -->\n", False),  # what a run that failed left
        ("another\n<!-- generated: results -->\n<!-- end -->\n", True),
        (None, True),
    ],
)
def test_a_document_is_edited_if_it_is_neither_as_git_left_it_nor_as_a_run_did(current: str | None, edited: bool, tmp_path: Path) -> None:
    if current is not None:
        (tmp_path / "page.md").write_text(current)
    assert is_edited(str(tmp_path / "page.md"), {}, "a\n<!-- generated: results -->\n<!-- end -->\n") == edited


@pytest.mark.parametrize(("current", "edited"), [(shown_by("ours", "1"), False), (shown_by("theirs", "2"), False), (b"{", True)])
def test_a_notebook_is_edited_if_its_code_is_that_of_no_side(current: bytes, edited: bool, tmp_path: Path) -> None:
    (tmp_path / NOTEBOOK).parent.mkdir()
    (tmp_path / NOTEBOOK).write_bytes(current)
    with chdir(tmp_path):
        assert is_edited(str(NOTEBOOK), {2: shown_by("ours", "0")}, shown_by("theirs", "0").decode()) == edited


def test_a_revert_is_as_good_as_a_merge(toy: Path) -> None:
    configure(toy, "evaluate.digits", 1)
    run_and_commit(toy, "another change")
    sh(toy, "git", "revert", "HEAD~1", code=1)  # of the scale
    assert {"dvc.lock", "params.yaml"} <= in_conflict(toy)
    ours(toy, "resolve_lock")
    params = yaml.safe_load((toy / "params.yaml").read_text())
    assert (params["train"]["scale"], params["evaluate"]["digits"]) == (2, 1)
    assert accuracy(toy) == 0.2
    commit_and_check(toy)


@pytest.mark.slow
def test_params_edited_by_hand_are_not_overwritten(toy: Path) -> None:
    branch_off(toy, "edited")
    replace(toy / "params.yaml", "bias: 0", "bias: 7")
    run_and_commit(toy, "edited")
    sh(toy, "git", "checkout", "--quiet", "scale")
    sh(toy, "git", "merge", "edited", code=1)
    line = ours(toy, "resolve_lock", code=1)
    assert line.startswith(
        "error: params.yaml: in conflict, and in MERGE_HEAD not what configs/ compose to: bring its values into configs/"
    )
    configure(toy, "train.bias", 7)
    sh(toy, "git", "add", "configs", "params.yaml")
    ours(toy, "resolve_lock")
    assert accuracy(toy) == 0.374
    sh(toy, "git", "commit", "--quiet", "--no-edit")


@pytest.mark.slow
def test_a_stage_that_fails_leaves_the_conflict_to_be_resolved_once_it_is_mended(toy: Path) -> None:
    guard = "params['digits'] == 3 or sys.exit('error: digits')"
    branch_off(toy, "broken")
    replace(toy / "stages/evaluate.py", "score = ", f"{guard}\nscore = ")
    run_and_commit(toy, "broken")
    sh(toy, "git", "merge", "digits", code=1)
    output = ours(toy, "resolve_lock", code=1)
    assert re.search(r"\nerror: \.: dvc repro: exit code \d+: see the lines above\n$", output)
    assert "dvc.lock" in in_conflict(toy)
    replace(toy / "stages/evaluate.py", guard, "")
    ours(toy, "resolve_lock")
    sh(toy, "git", "add", "stages")
    commit_and_check(toy)


def test_a_merge_without_a_conflict_is_a_run(toy: Path) -> None:
    branch_off(toy, "words")
    (toy / "WORDS.md").write_text("words\n")
    sh(toy, "git", "add", "WORDS.md")
    sh(toy, "git", "commit", "--quiet", "--message", "words")
    sh(toy, "git", "checkout", "--quiet", "scale")
    sh(toy, "git", "merge", "--quiet", "--no-commit", "words")
    output = ours(toy, "resolve_lock")
    assert "conflicts to regenerate: none" in output
    assert "stages that ran: none." in output
    assert sh(toy, "git", "status", "--porcelain") == "A  WORDS.md\n"


@pytest.mark.parametrize("target", ["resolve-lock", "lock"])
def test_locked_packages_in_conflict_are_a_line_before_anything_is_installed(target: str, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_bytes(Path("Makefile").read_bytes())
    (tmp_path / "requirements.lock").write_text("<<<<<<< HEAD\nuv==1\n=======\nuv==2\n>>>>>>> other\n")
    (tmp_path / "pyproject.toml").touch()
    said = sh(tmp_path, "make", "--no-print-directory", target, code=2)
    line = "error: requirements.lock: in conflict: `git checkout --theirs requirements*.lock`, then `make lock`"
    assert said.splitlines()[0] == line
    assert not (tmp_path / ".venv").exists()


def test_git_never_merges_what_the_pipeline_makes_line_by_line() -> None:
    made = made_by_stages(read_stages()) | {"dvc.lock", "params.yaml", str(NOTEBOOK)}
    files = [name for path in made for name in ([path] if Path(path).suffix else [f"{path}/a.csv", f"{path}/a.png"])]
    assert set(sh(Path(), "git", "check-attr", "merge", *files).splitlines()) == {f"{name}: merge: unset" for name in files}


def lock(**stages: int) -> dict[str, object]:
    return {"schema": "2.0", "stages": stages}


def test_a_lock_takes_each_stage_from_the_side_that_changed_it() -> None:
    before = lock(same=1, left=1, right=1, both=1, gone_left=1, gone_right=1)
    left = lock(same=1, left=2, right=1, both=2, gone_right=1, new_left=1)
    right = lock(same=1, left=1, right=3, both=3, gone_left=1, new_right=1)
    assert merge_locks(before, left, right) == lock(same=1, left=2, right=3, both=2, new_left=1, new_right=1)


def test_only_what_git_tracks_of_the_outputs_is_made_anew() -> None:
    stage = {"outs": ["model", {"plots": {"cache": False}}, {"kept": {"persist": True}}], "metrics": [{"m.json": {"cache": False}}]}
    assert made_by_stages({"train": stage}) == {"plots", "m.json"}


def test_tables_in_a_document_never_conflict_and_sentences_do() -> None:
    page = "{0}\n\n\n<!-- generated: results -->\n{1}\n<!-- end -->\n\n\n{2}\n"
    versions = {1: page.format("a", "1", "b").encode(), 2: page.format("A", "2", "b").encode(), 3: page.format("a", "3", "B").encode()}
    assert merge_document(versions) == "A\n\n\n<!-- generated: results -->\n<!-- end -->\n\n\nB\n"
    assert merge_document(versions | {3: page.format("other", "3", "b").encode()}) is None


@pytest.mark.parametrize("deleted", [2, 3])
def test_a_document_that_one_side_deleted_is_never_emptied_but_left_to_a_person(deleted: int) -> None:
    page = "words\n<!-- generated: results -->\n{0}\n<!-- end -->\n"
    versions = {stage: page.format(stage).encode() for stage in (1, 2, 3) if stage != deleted}
    assert merge_document(versions) is None


def test_what_is_written_by_hand_in_the_table_of_dependencies_is_merged_and_the_rest_of_it_is_made() -> None:
    page = "# {0}\n\n<!-- generated: dependencies -->\n| package | what for | locked |\n| --- | --- | --- |\n{1}<!-- end -->\n"
    torch, uv, hydra = "| `torch` | the tensors{} | {} |\n", "| `uv` | installs | 1 |\n", "| `hydra-core` | composes{} | 1 |\n"
    base, ours, theirs = torch.format("", 1) + hydra.format(""), torch.format("", 2) + hydra.format("!"), uv + torch.format("", 3)
    versions = {
        1: page.format("a", base).encode(),
        2: page.format("a", ours).encode(),
        3: page.format("b", theirs + hydra.format("")).encode(),
    }
    merged = merge_document(versions)
    assert merged is not None
    assert [line for line in merged.splitlines() if line.startswith("| ")] == [
        "| `uv` | installs |",
        "| `torch` | the tensors |",
        "| `hydra-core` | composes! |",
    ]
    assert "| `torch` | the tensors | " in render(merged)


def test_the_readme_in_conflict_keeps_what_each_package_is_for() -> None:
    readme = Path("README.md").read_bytes()
    merged = merge_document({1: readme, 2: readme.replace(b"# TinyBERT intents", b"# Tiny intents"), 3: readme})
    assert merged is not None
    rendered, expected = (
        re.sub("(?s)<!-- generated: answer -->.*?<!-- end -->", "", render(document))  # which only the locked model can make
        for document in (merged, readme.decode())
    )
    assert rendered.splitlines()[1:] == expected.splitlines()[1:]


@pytest.mark.parametrize(
    ("versions", "taken"),
    [
        (("a", "a", "a"), 1),  # base, ours, theirs: the code of each; outputs differ
        (("a", "b", "a"), 1),
        (("a", "b", "b"), 1),
        (("a", "a", "b"), 2),
        (("a", "b", "c"), None),
        (("a", "b", None), None),
        (("a", None, "a"), None),
        ((None, "a", "a"), 1),
    ],
)
def test_a_notebook_is_taken_from_the_side_that_edited_it(versions: tuple[str | None, ...], taken: int | None) -> None:
    sides = [code and shown_by(code, f"output {index}") for index, code in enumerate(versions)]
    conflict: Conflict = {stage: side for stage, side in zip((1, 2, 3), sides, strict=True) if side}
    assert merge_notebook(conflict) == (None if taken is None else (sides[taken] or b"").decode())
