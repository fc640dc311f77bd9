"""The folder that is published: the checkpoint, the graphs if wanted, pictures, the card, and ``provenance.json`` that vouches for them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from pipeline import artifacts
from pipeline.errors import UserError
from pipeline.lock import outputs
from pipeline.manifest import FileRecord, record
from pipeline.publishing.facts import Facts

CARD, PROVENANCE = "README.md", "provenance.json"


def check_replaceable(target: Path) -> None:
    """Refuses to replace what was not laid out here.

    Raises:
        UserError: there is a file of that name, or a folder that holds files and no ``provenance.json``.
    """
    ours = target.is_dir() and ((target / PROVENANCE).is_file() or not any(target.iterdir()))
    if target.exists() and not ours:
        raise UserError(
            f"{target}: already exists and holds no {PROVENANCE}: everything in it would be replaced: move it away, or give another folder"
        )


def lay_out(target: Path, checkpoint: Path, onnx: Path | None, pictures: Sequence[Path], card: ModelCard, facts: Facts) -> None:
    """Fills ``target``, whole or not at all; what was there is replaced."""
    with artifacts.whole_folder(target) as folder:
        _copy(checkpoint, folder)
        if onnx is not None:
            _copy(onnx, folder / "onnx")
        (folder / "plots").mkdir()
        for picture in pictures:
            shutil.copyfile(picture, folder / "plots" / picture.name)
        card.save(folder / CARD)
        artifacts.write_json(folder / PROVENANCE, _provenance(facts, folder))


def files(folder: Path) -> dict[str, FileRecord]:
    """Hash and size of every file of a folder, by its path in it."""
    return {path.relative_to(folder).as_posix(): record(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _copy(source: Path, target: Path) -> None:
    """Copies what a stage wrote, as real files wherever DVC keeps them; the checkpoint's own small card gives way to the large one."""
    for path in sorted(source.rglob("*")):
        if path.is_file() and path.name != CARD:
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def _provenance(facts: Facts, folder: Path) -> dict[str, Any]:
    return {
        "commit": facts.commit,
        "uncommitted_changes": facts.dirty,
        "lock_sha256": facts.lock_sha256,
        "outputs": {path: out.md5 for path, out in outputs(facts.results.lock).items()},
        "dataset": facts.dataset._asdict(),
        "encoders": [{"repository": e.repository, "revision": e.revision, "licence": e.licence} for e in (facts.encoder, facts.start) if e],
        "machine": facts.metrics["machine"],
        "params": facts.params,
        "packages": facts.results.packages,
        "files": {name: entry.model_dump() for name, entry in files(folder).items()},
    }
