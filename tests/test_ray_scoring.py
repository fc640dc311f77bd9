from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from services import wait_until

from pipeline.bulk.table_files import write_tables

ROWS = 2000
NO_RAY = importlib.util.find_spec("ray") is None


def command(source: Path, target: Path, model: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.score", str(source), str(target), "--model", str(model), "--part-rows", "100", *options]


def run(*arguments: object, code: int = 0) -> str:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)  # type: ignore[arg-type]
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def fingerprint(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if not path.name.startswith("_")}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray") / "in"
    folder.mkdir()
    texts = [f"where is my card {i}" for i in range(ROWS)]
    write_tables([pa.table({"id": range(ROWS), "text": texts})], folder / "a.parquet", ".parquet")
    write_tables([pa.table({"text": [None, *texts[:250]]})], folder / "b.csv", ".csv")
    return folder


@pytest.fixture(scope="module")
def here(archive: Path, onnx_folder: Path) -> dict[str, str]:
    """What a run without Ray writes."""
    run(archive, archive.parent / "here", onnx_folder)
    return fingerprint(archive.parent / "here")


@pytest.mark.skipif(NO_RAY, reason="the extra `ray` is not installed")
def test_ray_writes_the_same_bytes(archive: Path, onnx_folder: Path, here: dict[str, str], tmp_path: Path) -> None:
    told = run(archive, tmp_path / "out", onnx_folder, "--ray", "--workers", "2")
    assert "b.csv: 251 rows; 1 without answer: no text" in told
    assert fingerprint(tmp_path / "out") == here


@pytest.mark.skipif(NO_RAY, reason="the extra `ray` is not installed")
def test_a_killed_task_loses_and_doubles_no_row(archive: Path, onnx_folder: Path, here: dict[str, str], tmp_path: Path) -> None:
    killed, parts = 0, tmp_path / "out/_a.parquet.parts"

    def killed_to_its_end() -> bool:
        nonlocal killed
        if process.poll() is None and killed < 2 and len(list(parts.glob("0*.parquet"))) > 2 * killed:
            tasks = [child for child in psutil.Process(process.pid).children(recursive=True) if "score_parts" in " ".join(child.cmdline())]
            for task in tasks[:1]:
                task.kill()
                killed += 1
        return process.poll() is not None

    arguments = command(archive, tmp_path / "out", onnx_folder, "--ray", "--workers", "2")
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(killed_to_its_end, 300, pause_s=0.002)
        finally:
            process.kill()
    assert (process.returncode, killed) == (0, 2)
    assert fingerprint(tmp_path / "out") == here


@pytest.mark.skipif(NO_RAY, reason="the extra `ray` is not installed")
def test_a_file_that_cannot_be_scored_is_one_line(onnx_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("message\nmy card\n")
    told = run(tmp_path / "a.csv", tmp_path / "out.csv", onnx_folder, "--ray", code=1)
    assert told.startswith(f"error: {tmp_path / 'a.csv'}: column 'text' is missing")
    assert told.count("\n") == 1


@pytest.mark.skipif(not NO_RAY, reason="the extra `ray` is installed")
def test_without_ray_the_error_says_how_to_get_it(archive: Path, onnx_folder: Path, tmp_path: Path) -> None:
    told = run(archive, tmp_path / "out", onnx_folder, "--ray", code=1)
    (pin,) = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]["ray"]
    assert told == f"error: --ray: No module named 'ray': `pip install {pin}`\n"
