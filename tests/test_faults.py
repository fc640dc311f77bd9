"""What goes wrong on real machines: killed runs, flipped bytes."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from clones import STAGES, Run, environment, restore, sh, stages_run


def fingerprint(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def outputs(clone: Path, stage: str) -> dict[str, str]:
    """Path and hash of what a stage wrote."""
    return {out["path"]: out["md5"] for out in yaml.safe_load((clone / "dvc.lock").read_text())["stages"][stage]["outs"]}


def forget(clone: Path, stage: str) -> None:
    """Takes a stage's outputs away, out of DVC's cache too, as if it had never run to its end: it must work again, not be looked up."""
    for path, md5 in outputs(clone, stage).items():
        (clone / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink(missing_ok=True)
        shutil.rmtree(clone / path) if (clone / path).is_dir() else (clone / path).unlink(missing_ok=True)


def begin(clone: Path, stage: str) -> subprocess.Popen[str]:
    """Starts `dvc repro` and waits until it starts the stage."""
    command = ["dvc", "repro", "--no-run-cache"]
    process = subprocess.Popen(
        command, cwd=clone, env=environment(), start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    printed = []
    for line in process.stdout:
        printed.append(line)
        if stages_run(line) == [stage]:
            return process
    raise AssertionError("".join(printed))


@pytest.fixture(scope="module")
def finished(clone: Path, first_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the clone after its first run, to be hurt."""
    folder = tmp_path_factory.mktemp("hurt") / "clone"
    shutil.copytree(clone, folder, symlinks=True)
    restore(folder)
    return folder


@pytest.mark.slow
def test_killed_at_any_point_the_next_run_ends_with_the_same_hashes(finished: Path, first_run: Run, request: pytest.FixtureRequest) -> None:
    """All that follows `fetch` is made anew, from nothing: two runs that nobody disturbs would show less."""
    lock = (finished / "dvc.lock").read_bytes()
    whole = {path: fingerprint(finished / path) for stage in STAGES for path in outputs(finished, stage)}
    draw = random.Random(0)
    for stage in STAGES[1:]:
        forget(finished, stage)
    for kill in range(request.config.getoption("--kills")):
        stage = STAGES[(kill + 3) % len(STAGES)]
        forget(finished, stage)
        process = begin(finished, stage)
        time.sleep(draw.uniform(0.0, 0.6) * first_run.seconds[stage])
        os.killpg(process.pid, signal.SIGKILL)
        went_on, _ = process.communicate()
        assert (process.returncode, stages_run(went_on)) == (-signal.SIGKILL, []), f"kill {kill}: {stage} had ended"
        for path, content in whole.items():
            if (finished / path).exists():
                assert fingerprint(finished / path) == content, f"kill {kill}: {path} is visible and not whole"
        ran = stages_run(sh(finished, "dvc", "repro", "--no-run-cache"))
        assert kill or {"train", "evaluate", "export"} <= set(ran)
        assert (finished / "dvc.lock").read_bytes() == lock, f"kill {kill} in {stage}: other hashes"
        assert not list(finished.glob("*/.partial-*")) + list(finished.glob("*/*/.partial-*")), f"kill {kill} in {stage}: remains"
    assert {path: fingerprint(finished / path) for path in whole} == whole


def flip(path: Path) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.slow
def test_flipped_bytes_in_outputs_are_named_and_never_used(finished: Path) -> None:
    hurt = {
        "fetch": Path("data/raw/encoder/model.safetensors"),
        "prepare": Path("data/prepared/train.parquet"),
        "train": Path("models/tinybert/model.safetensors"),
    }
    lock = (finished / "dvc.lock").read_bytes()
    good = {path: fingerprint(finished / path) for path in hurt.values()}
    for path in good:
        flip(finished / path)
    status = sh(finished, "dvc", "status", *hurt)
    assert [path for path in good if not re.search(rf"modified:\s+{path.parent}\b", status)] == []
    output = sh(finished, "dvc", "repro")
    assert {path: fingerprint(finished / path) for path in good} == good
    assert (finished / "dvc.lock").read_bytes() == lock
    assert set(stages_run(output)) <= set(hurt)  # the cache had it, or the stage made it again


@pytest.mark.slow
def test_a_flipped_byte_in_the_cache_is_found_and_the_stage_runs_again(finished: Path) -> None:
    path = finished / "data/prepared/validation.parquet"
    good = fingerprint(path)
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    flip(finished / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}")
    shutil.rmtree(path.parent)
    output = sh(finished, "dvc", "repro")
    assert "prepare" in stages_run(output)
    assert fingerprint(path) == good
