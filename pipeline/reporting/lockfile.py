"""How two locks differ, and whether one matches the tree it lies in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo

from pipeline.lock import LOCK, Lock, LockedStage, differing, flatten, outputs, parse_lock


class StageChange(NamedTuple):
    """A stage whose lock entry is not the same in two locks; paths and keys, each list empty where nothing changed."""

    stage: str
    kind: str  # "changed", "new" or "gone"
    command: bool
    params: list[str]
    deps: list[str]
    outs: list[str]


def stage_changes(before: Lock, after: Lock) -> list[StageChange]:
    """The stages that ran anew and did not end where they began, in the order of ``after``, and what of theirs changed."""
    changes = []
    for stage in differing(before, after):
        old, new = before.get(stage), after.get(stage)
        kind = "new" if old is None else "gone" if new is None else "changed"
        old, new = old or LockedStage(cmd=""), new or LockedStage(cmd="")
        params = differing(flatten(old.params), flatten(new.params))
        deps, outs = (
            differing({entry.path: entry.md5 for entry in a}, {entry.path: entry.md5 for entry in b})
            for a, b in ((old.deps, new.deps), (old.outs, new.outs))
        )
        changes.append(StageChange(stage, kind, old.cmd != new.cmd, params, deps, outs))
    return changes


def stale(root: Path) -> list[str]:
    """Where ``dvc.lock`` does not match the tree: as ``dvc status`` sees it, less what a clone without the cache lacks.

    Outputs that git does not track may be absent; of those the lock must at least have an entry wherever ``dvc.yaml`` names them, and agree
    with itself: what one stage read is what another wrote, or what a ``.dvc`` file holds.

    Returns:
        One line a mismatch, for example ``train: params.yaml: train.learning_rate: 0.001 in the lock, 0.002 in the tree``.
    """
    if not (root / LOCK).exists():
        return ["no such file"]
    try:
        lock = parse_lock((root / LOCK).read_bytes())
        with Repo(str(root)) as repo:
            status = repo.status()
            cached = {out.def_path: str(out) for out in repo.index.outs if out.use_cache}
            stages = [node for node in repo.index.stages if hasattr(node, "name")]
            added = [node for node in repo.index.stages if not hasattr(node, "name")]  # what `dvc add` made: its .dvc file is its own lock
            held = {
                os.path.relpath(out.fs_path, repo.root_dir): (out.hash_info.value, f"{os.path.relpath(node.path, repo.root_dir)} holds")
                for node in added
                for out in node.outs
            }
            found = [
                f"{node.name}: {line}"
                for node in stages
                for line in _mismatches(node, lock.get(node.name), status.get(node.addressing, []), cached)
            ]
    except (ValueError, DvcException) as error:
        return [" ".join(str(error).split())]
    left = lock.keys() - {node.name for node in stages}  # of a stage that was renamed or removed: DVC only ever adds to its lock
    lock = {stage: entry for stage, entry in lock.items() if stage not in left}
    held |= {path: (out.md5, "the stage that writes it wrote") for path, out in outputs(lock).items()}
    return [
        *found,
        *(
            f"{stage}: {dep.path}: not what {held[dep.path][1]}"
            for stage, entry in lock.items()
            for dep in entry.deps
            if dep.path in held and dep.md5 != held[dep.path][0]
        ),
        *(f"{stage}: in {LOCK}, not in dvc.yaml: delete its entry" for stage in sorted(left)),
    ]


def in_short(mismatches: list[str]) -> str:
    """The first of at least one, and how many more there are."""
    return mismatches[0] + (f" (and {len(mismatches) - 1} more)" if mismatches[1:] else "")


def _mismatches(node: Any, entry: LockedStage | None, changes: list[Any], cached: dict[str, str]) -> Iterator[str]:
    """One stage's mismatches: its part of ``dvc status`` (texts, and mappings of a kind of change to paths and their states), and gaps."""
    if entry is None:
        yield "has no entry"
        return
    if node.frozen:
        yield "is frozen: its inputs are not compared"
    params = {str(dep): dep for dep in node.deps if isinstance(dep, ParamsDependency)}
    for change in changes:
        for kind, states in {change: {"": ""}}.items() if isinstance(change, str) else change.items():
            for path, state in states.items():
                if isinstance(state, dict):
                    yield from (f"{path}: {line}" for line in _params(params[path]))
                elif path not in cached.values() or state not in ("deleted", "not in cache"):
                    yield ": ".join(part for part in (kind, path, state) if part)
    recorded = {item.path for item in [*entry.deps, *entry.outs]}
    yield from (f"{path}: has no entry" for path in sorted({item.def_path for item in [*node.deps, *node.outs]} & cached.keys() - recorded))


def _params(dep: ParamsDependency) -> Iterator[str]:
    then, now = flatten(dep.hash_info.value or {}), flatten(dep.read_params())
    for key in differing(then, now):
        old, new = then.get(key, "absent"), now.get(key, "absent")
        if isinstance(old, list) and isinstance(new, list):  # of a long list, what the other has not
            old, new = [item for item in old if item not in new], [item for item in new if item not in old]
        yield f"{key}: {old} in the lock, {new} in the tree"
