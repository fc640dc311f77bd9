"""Ends a merge of two branches that both ran the pipeline: makes anew what it makes, and leaves the commit to you.

Run     python -m pipeline.resolve_lock [--pull]     after `git merge` (rebase, cherry-pick, revert) has stopped at conflicts

Conflicts in files written by hand come first, and are yours. For the rest no side is right: the merged code and params are a run of
their own. So the lock takes each stage from the branch that changed it, `dvc repro` runs what then does not fit (and what the run cache
does not have), params.yaml and the documents' tables are generated, and the notebook is run.
"""

from __future__ import annotations

import argparse
import io
import re
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import yaml
from dvc.utils.serialize import dump_yaml

from pipeline.clone import run
from pipeline.compose import CONFIGS, compose
from pipeline.errors import UserError, exit_with_one_line
from pipeline.lock import LOCK, NOTEBOOK, PIPELINE, read_stages
from pipeline.packages import written_by_hand
from pipeline.params import PARAMS_FILE
from pipeline.revisions import git, try_git
from pipeline.tables.blocks import BLOCK, DEPENDENCIES, find_documents, write_documents

HERE = Path()
BASE, OURS, THEIRS = 1, 2, 3  # git's stages of a file in conflict
MERGED_HEADS = {  # what git is at -> whose side is "theirs": of a revert that is what was before the reverted commit
    "MERGE_HEAD": "MERGE_HEAD",
    "CHERRY_PICK_HEAD": "CHERRY_PICK_HEAD",
    "REBASE_HEAD": "REBASE_HEAD",
    "REVERT_HEAD": "REVERT_HEAD^",
}

Conflict = dict[int, bytes]  # stage -> content; a side that has no such file is absent


def read_conflicts() -> dict[str, Conflict]:
    """The files in conflict with their three versions, as git's index has them."""
    found: dict[str, Conflict] = {}
    for line in filter(None, git(HERE, "ls-files", "--unmerged", "-z").decode().split("\0")):
        entry, path = line.split("\t")
        _, blob, stage = entry.split()
        found.setdefault(path, {})[int(stage)] = git(HERE, "cat-file", "blob", blob)
    return found


def made_by_stages(stages: dict[str, Any]) -> set[str]:
    """Paths that stages write and git tracks, from dvc.yaml."""
    outs = [out for stage in stages.values() for key in ("outs", "metrics", "plots") for out in stage.get(key, [])]
    return {path for out in outs if isinstance(out, dict) for path, flags in out.items() if flags.get("cache") is False}


def merge_locks(base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Takes each stage of a lock file from the side that changed it; ours where both did, so that it is run again.

    A stage is never put together from both sides: its hashes are those of one run.
    """
    before, left, right = (lock.get("stages", {}) for lock in (base, ours, theirs))
    merged = {}
    for name in left | right:
        side = right if left.get(name) == before.get(name) else left
        if name in side:
            merged[name] = side[name]
    return ours | {"stages": merged}


def merge_document(conflict: Conflict) -> str | None:
    """Merges what is written by hand in a document, generated blocks less what is made of them.

    Returns:
        The document, or None when that conflicts, or a side has no such document.
    """
    if not conflict.keys() >= {OURS, THEIRS}:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        paths = [Path(scratch) / str(stage) for stage in (OURS, BASE, THEIRS)]
        for path in paths:
            path.write_text(strip(conflict.get(int(path.name), b"").decode()), encoding="utf-8")
        done = try_git(HERE, "merge-file", "-p", *map(str, paths))
    return None if done.returncode else done.stdout.decode()


def strip(document: str) -> str:
    """What is written by hand in a document."""
    return BLOCK.sub(_by_hand, document)


def _by_hand(block: re.Match[str]) -> str:
    first, name, last = block.groups()
    return f"{first}{written_by_hand(block[0]) if name == DEPENDENCIES else ''}{last}"


def merge_notebook(conflict: Conflict) -> str | None:
    """The side that edited the cells, whose outputs are to be made anew; None when both did, or one has no such notebook."""
    notebooks = [conflict[side].decode() if side in conflict else None for side in (BASE, OURS, THEIRS)]
    base, ours, theirs = map(_cells, notebooks)
    if theirs in (base, ours):
        return notebooks[1]
    return notebooks[2] if ours == base else None


def _cells(notebook: str | None) -> list[tuple[str, str]] | None:
    import nbformat  # noqa: PLC0415  imports slowly, and only a notebook in conflict needs it

    return None if notebook is None else [(cell.cell_type, cell.source) for cell in nbformat.reads(notebook, as_version=4).cells]


def is_edited(path: str, conflict: Conflict, merged: str) -> bool:
    """Whether a document or notebook in conflict is neither as git left it nor as a run of this command that failed did."""
    try:
        current = Path(path).read_text(encoding="utf-8")
        if path == str(NOTEBOOK):
            return _cells(current) not in (_cells(conflict[OURS].decode()), _cells(merged))
    except (FileNotFoundError, ValueError):
        return True
    return not re.search("^<<<<<<< ", current, re.MULTILINE) and strip(current) != merged


def edited_by_hand(conflict: Conflict) -> str | None:
    """The commit whose params.yaml is not what its configs compose to, if any."""
    for stage, commit in ((OURS, "HEAD"), (THEIRS, _merged_head())):
        with tempfile.TemporaryDirectory() as scratch:
            archive = try_git(HERE, "archive", commit, str(CONFIGS))
            if archive.returncode:
                return commit
            with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
                tar.extractall(scratch, filter="data")
            composed = Path(scratch) / PARAMS_FILE
            compose([], composed, Path(scratch) / CONFIGS)
            if composed.read_bytes() != conflict.get(stage):
                return commit
    return None


def prepare(conflicts: dict[str, Conflict]) -> set[str]:
    """Puts generated files in conflict into a state that ``dvc repro`` can start from.

    Returns:
        The paths that the pipeline makes, to stage when it has run.

    Raises:
        UserError: a file written by hand is in conflict, or was edited and not added. Nothing has been changed then.
    """
    if PIPELINE in conflicts:
        raise UserError(_yours([PIPELINE]))
    made = made_by_stages(read_stages())
    merged = {path: merge_document(conflicts[path]) for path in map(str, find_documents()) if path in conflicts}
    if str(NOTEBOOK) in conflicts:
        merged[str(NOTEBOOK)] = merge_notebook(conflicts[str(NOTEBOOK)])
    documents = {path: text for path, text in merged.items() if text is not None}
    by_stages = [path for path in conflicts if any(Path(path).is_relative_to(out) for out in made)]
    generated = {LOCK, str(PARAMS_FILE), *by_stages, *documents}
    if by_hand := sorted(conflicts.keys() - generated):
        raise UserError(_yours(by_hand))
    if edited := sorted(path for path, text in documents.items() if is_edited(path, conflicts[path], text)):
        raise UserError(f"{', '.join(edited)}: edited and not added: `git add {' '.join(edited)}`, then run this again")
    if str(PARAMS_FILE) in conflicts:
        if commit := edited_by_hand(conflicts[str(PARAMS_FILE)]):
            raise UserError(
                f"{PARAMS_FILE}: in conflict, and in {commit} not what configs/ compose to: bring its values into configs/, "
                f"`git add configs`, run `make params`, `git add {PARAMS_FILE}`, then run this again"
            )
        compose([], PARAMS_FILE)
    if lock := conflicts.get(LOCK):
        sides = [yaml.safe_load(lock.get(stage, b"")) or {} for stage in (BASE, OURS, THEIRS)]
        dump_yaml(LOCK, merge_locks(*sides))
    for path in by_stages:
        _take(Path(path), conflicts[path])
    for path, text in documents.items():
        Path(path).write_text(text, encoding="utf-8")
    return made


def _take(path: Path, conflict: Conflict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(conflict.get(OURS) or conflict.get(THEIRS, b""))


def _yours(paths: list[str]) -> str:
    return f"{', '.join(paths)}: in conflict, and not generated: resolve by hand, `git add {' '.join(paths)}`, then run this again"


def _merging() -> str | None:
    """What is merged, if anything is."""
    found = (theirs for name, theirs in MERGED_HEADS.items() if try_git(HERE, "rev-parse", "--quiet", "--verify", name).returncode == 0)
    return next(found, None)


def _merged_head() -> str:
    if theirs := _merging():
        return theirs
    raise UserError("git: conflicts without a merge, rebase, cherry-pick or revert under way: resolve them by hand")


def main() -> None:
    """Resolves, runs, stages."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.resolve_lock", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pull", action="store_true", help="pull outputs that the DVC remote has instead of re-running their stages")
    command = ["dvc", "repro", *(["--pull"] if parser.parse_args().pull else [])]
    conflicts = read_conflicts()
    if not conflicts and not _merging():
        raise UserError(
            "git: no merge, rebase, cherry-pick or revert is under way, and nothing is in conflict: there is nothing to resolve"
        )
    made = prepare(conflicts)
    print(f"conflicts to regenerate: {', '.join(sorted(conflicts)) or 'none'}", flush=True)
    ran = [match[1] for line in run(HERE, *command) if (match := re.match(r"Running stage '(.+)'", line))]
    documents = write_documents()
    if NOTEBOOK.exists():
        run(HERE, "python", "-m", "pipeline.tour")
        documents.append(NOTEBOOK)
    git(HERE, "add", "--all", "--", LOCK, str(PARAMS_FILE), *sorted(made), *map(str, documents))
    print(f"resolved; stages that ran: {', '.join(ran) or 'none'}. Now look at `git diff --cached HEAD` and `git commit`")


if __name__ == "__main__":
    exit_with_one_line(main)
