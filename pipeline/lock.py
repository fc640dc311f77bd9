"""``dvc.yaml`` and ``dvc.lock``: what stages there are, what each read and wrote, and whether an output is the one the lock names.

DVC itself is not needed: its hash of a folder is the MD5 of the JSON list of its files' MD5s and paths (dvc_data, hashfile/tree.py).
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from pipeline.errors import UserError, misfit

PIPELINE, LOCK = "dvc.yaml", "dvc.lock"
MODEL, ONNX = Path("models/tinybert"), Path("models/onnx")  # the outputs that are handed on
NOTEBOOK = Path("docs/tour.ipynb")  # beside them, of the model: here, since what runs it takes two seconds to import


class Entry(BaseModel):
    """A file or folder, by the hash of its content."""

    path: str
    md5: str | None = None
    size: int | None = None


class LockedStage(BaseModel):
    """What a stage ran with, and what came out."""

    cmd: str | list[str]
    deps: list[Entry] = []
    params: dict[str, dict[str, Any]] = {}
    outs: list[Entry] = []


Lock = dict[str, LockedStage]


def read_stages(root: Path = Path()) -> dict[str, Any]:
    """The stages that ``dvc.yaml`` declares."""
    declared: dict[str, Any] = yaml.safe_load((root / PIPELINE).read_text(encoding="utf-8"))["stages"]
    return declared


def parse_lock(content: bytes) -> Lock:
    """Reads a lock.

    Raises:
        ValueError: it is none; yaml's and pydantic's errors are turned into it.
    """
    try:
        value = yaml.safe_load(content)
        return TypeAdapter(Lock).validate_python(value.get("stages") if isinstance(value, dict) else value)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    except ValidationError as error:
        raise ValueError(": ".join(misfit(error, "stages"))) from None


def read_lock(path: Path) -> Lock:
    """Reads a lock file.

    Raises:
        UserError: there is none, a merge left it in conflict, or it is no lock.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file: run `make repro` and commit it")
    content = path.read_bytes()
    if re.search(rb"^<<<<<<< ", content, re.MULTILINE):
        raise UserError(f"{path}: in conflict: run `python -m pipeline.resolve_lock`")
    try:
        return parse_lock(content)
    except ValueError as error:
        raise UserError(f"{path}: not a valid dvc.lock: {error}: restore it with `git checkout -- {path}`, or run `make repro`") from None


def outputs(lock: Lock) -> dict[str, Entry]:
    """Every output by its path."""
    return {out.path: out for stage in lock.values() for out in stage.outs}


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, under dotted keys."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {key: leaf for name, inner in value.items() for key, leaf in flatten(inner, f"{prefix}.{name}" if prefix else str(name)).items()}


def differing(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The keys whose values differ or that only one has, in the order of ``after``, then of ``before``."""
    missing = object()
    return [key for key in {**after, **before} if before.get(key, missing) != after.get(key, missing)]


def folder_md5(folder: Path) -> str:
    """DVC's hash of a folder."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    entries = [{"md5": _md5(path.read_bytes()), "relpath": name} for name, path in sorted(files.items())]
    return _md5(json.dumps(entries, sort_keys=True).encode()) + ".dir"


def check_output(folder: Path, lock: Path) -> str:
    """The hash of a folder that a stage wrote.

    Raises:
        UserError: there is no such folder, the lock does not name it, or it holds something else.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: run `make repro` or `dvc pull {folder}` first")
    locked = outputs(read_lock(lock)).get(folder.as_posix())
    if locked is None:
        raise UserError(f"{lock}: has no output {folder}: give the path as dvc.yaml does, such as {ONNX}")
    found = folder_md5(folder)
    if found != locked.md5:
        raise UserError(f"{folder}: its hash is {found}, but {lock} has {locked.md5}: run `dvc checkout {folder}` or `make repro`")
    return found


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
