"""Refuses a model folder that is not the one dvc.lock names; an image's build runs it.

Run     python -m pipeline.check_model --model models/onnx --lock dvc.lock

DVC itself is not needed: its hash of a folder is the MD5 of the JSON list of its files' MD5s and paths (dvc_data, hashfile/tree.py).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import yaml

from pipeline.command_line import read_paths
from pipeline.errors import UserError, exit_with_one_line


def folder_md5(folder: Path) -> str:
    """DVC's hash of a folder."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    entries = [{"md5": _md5(path.read_bytes()), "relpath": name} for name, path in sorted(files.items())]
    return _md5(json.dumps(entries, sort_keys=True).encode()) + ".dir"


def check(model: Path, lock: Path) -> str:
    """The hash of the folder.

    Raises:
        UserError: there is no such folder, the lock does not name it, or it holds something else.
    """
    if not model.is_dir():
        raise UserError(f"{model}: no such folder: run `make repro` or `dvc pull {model}` first")
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]
    locked = {output["path"]: output["md5"] for stage in stages.values() for output in stage.get("outs", [])}
    if model.as_posix() not in locked:
        raise UserError(f"{lock}: names no output {model}: run `make repro` and commit the lock")
    found = folder_md5(model)
    if found != locked[model.as_posix()]:
        raise UserError(
            f"{model}: has the hash {found}, {lock} says {locked[model.as_posix()]}: run `dvc checkout {model}` or `make repro`"
        )
    return found


def main() -> None:
    """Compares, and prints the hash."""
    args = read_paths(__doc__, "--model", "--lock")
    print(f"{args.model}: {check(args.model, args.lock)}, as {args.lock} says")


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    exit_with_one_line(main)
