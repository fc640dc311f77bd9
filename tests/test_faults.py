"""What goes wrong on real machines: killed runs, flipped bytes."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from clones import STAGES, restore, sh, stages_run


def fingerprint(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def outputs(clone: Path, stage: str) -> dict[str, str]:
    """Path and hash of what a stage wrote."""
    return {out["path"]: out["md5"] for out in yaml.safe_load((clone / "dvc.lock").read_text())["stages"][stage]["outs"]}


def forget(clone: Path, stage: str) -> None:
    """Takes a stage's outputs out of DVC's cache, as if it had never run to its end: it must work again, not be looked up."""
    for md5 in outputs(clone, stage).values():
        (clone / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def finished(clone: Path, first_run: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the clone after its first run, to be hurt."""
    folder = tmp_path_factory.mktemp("hurt") / "clone"
    shutil.copytree(clone, folder, symlinks=True)
    restore(folder)
    return folder


def test_killed_at_any_point_the_next_run_ends_with_the_same_hashes(finished: Path, request: pytest.FixtureRequest) -> None:
    lock = (finished / "dvc.lock").read_bytes()
    whole = {path: fingerprint(finished / path) for stage in STAGES for path in outputs(finished, stage)}
    draw = random.Random(0)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    took: dict[str, float] = {}
    for kill in range(request.config.getoption("--kills")):
        stage = STAGES[(kill + 3) % len(STAGES)]
        command = ["dvc", "repro", "--force", "--single-item", stage]
        if stage not in took:
            started = time.monotonic()
            sh(finished, *command)
            took[stage] = time.monotonic() - started
        forget(finished, stage)
        process = subprocess.Popen(
            command, cwd=finished, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(draw.uniform(0.1, 1.0) * took[stage])
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for path in outputs(finished, stage):
            if (finished / path).exists():
                assert fingerprint(finished / path) == whole[path], f"kill {kill}: {path} is visible and not whole"
        sh(finished, "dvc", "repro", "--no-run-cache")
        assert (finished / "dvc.lock").read_bytes() == lock, f"kill {kill} in {stage}: other hashes"
        assert not list(finished.glob("*/.partial-*")) + list(finished.glob("*/*/.partial-*")), f"kill {kill} in {stage}: remains"
    assert {path: fingerprint(finished / path) for path in whole} == whole


def flip(path: Path) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("data/raw/encoder/model.safetensors", "fetch"),
        ("data/prepared/train.parquet", "prepare"),
        ("models/tinybert/model.safetensors", "train"),
    ],
)
def test_a_flipped_byte_in_an_output_is_named_and_never_used(finished: Path, path: str, stage: str) -> None:
    lock, good = (finished / "dvc.lock").read_bytes(), fingerprint(finished / path)
    flip(finished / path)
    assert re.search(rf"modified:\s+{Path(path).parent}\b", sh(finished, "dvc", "status", stage))
    output = sh(finished, "dvc", "repro")
    assert fingerprint(finished / path) == good
    assert (finished / "dvc.lock").read_bytes() == lock
    assert stages_run(output) in ([], [stage])  # the cache had it, or the stage made it again


def test_a_flipped_byte_in_the_cache_is_found_and_the_stage_runs_again(finished: Path) -> None:
    path = finished / "data/prepared/validation.parquet"
    good = fingerprint(path)
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    flip(finished / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}")
    shutil.rmtree(path.parent)
    output = sh(finished, "dvc", "repro")
    assert "prepare" in stages_run(output)
    assert fingerprint(path) == good
