"""The manifest of ``models/onnx``: what is in the folder, what is served and how; and the check that a folder is what its manifest says."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline import artifacts
from pipeline.errors import UserError, misfit

REMEDY = "bring the folder back with `dvc checkout models/onnx`, or make it anew with `dvc repro export`"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """Unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class FileRecord(Strict):
    """A file's content by its hash and its size."""

    sha256: Sha256
    bytes: int = Field(ge=0)


class Conformal(Strict):
    """Of the label sets: the share of queries whose set has the true label, and the probability from which on a label is in a set."""

    coverage: Fraction
    threshold: Fraction


class Manifest(Strict):
    """``models/onnx/manifest.json``."""

    format: Literal[1]
    files: dict[str, FileRecord]  # all other files of the folder
    graph: Literal["int8", "fp32"]  # which is served
    labels: int = Field(ge=1)  # how many
    max_tokens: int = Field(ge=1)
    temperature: float = Field(gt=0)  # logits are divided by it before the softmax
    threshold: Fraction  # confidence below which a person is asked
    target_accuracy: Fraction  # what the threshold was chosen for
    conformal: Conformal
    checkpoint: dict[str, Sha256]  # the files of models/tinybert that the graphs were made of
    versions: dict[str, str]
    metrics: dict[str, Any]  # as metrics/export.json


def record(path: Path) -> FileRecord:
    """Hash and size of a file."""
    with path.open("rb") as handle:
        return FileRecord(sha256=hashlib.file_digest(handle, "sha256").hexdigest(), bytes=path.stat().st_size)


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest of a folder and holds every file to it.

    Raises:
        UserError: the folder or its manifest is missing or does not parse; a file is missing, is another than the manifest's, or is not in
            the manifest (so that nothing gets loaded that nobody vouches for).
    """
    path = folder / artifacts.MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file: is this a folder written by stage export? If there is none, run `make repro`") from None
    except ValidationError as error:
        key, message = misfit(error)
        raise UserError(f"{path}: {key}: {message}: {REMEDY}") from None
    found = {str(item.relative_to(folder)) for item in folder.rglob("*") if not item.is_dir()} - {artifacts.MANIFEST}
    for name in sorted(found ^ manifest.files.keys()):
        problem = "not in the manifest" if name in found else "missing"
        raise UserError(f"{folder / name}: {problem}: {REMEDY}")
    for name, expected in manifest.files.items():
        actual = record(folder / name)
        if actual != expected:
            raise UserError(f"{folder / name}: sha256 is {actual.sha256}, the manifest's is {expected.sha256}: {REMEDY}")
    return manifest
