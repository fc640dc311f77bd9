from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from clones import Run, clone_working_tree, restore, sh, timed_run, write_small_csv
from small_models import export, write_project
from transformers import BertConfig, BertModel


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=2, help="how often tests/test_faults.py kills the pipeline")
    parser.addoption("--examples", type=int, default=30, help="how many requests tests/test_abuse.py generates for an operation")
    parser.addoption(
        "--images", action="store_true", help="tests/test_images.py also follows api.Dockerfile's steps in a fresh environment"
    )
    parser.addoption("--overload", type=int, default=0, help="for how many seconds tests/test_abuse.py asks for too much; 0: not at all")


@pytest.fixture(scope="session")
def committed_run() -> None:
    """Skips what tells of the committed run where the last run is another: `make repro` on another class of machine leaves one."""
    if subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "dvc.lock"], check=False).returncode == 1:
        pytest.skip("dvc.lock is not the committed one: run `make docs tour` if you mean to commit it")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all workers of this session see."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    folder = tmp_path_factory.mktemp("user") / "clone"
    clone_working_tree(folder)
    rows = folder.parent / "mine.csv"
    write_small_csv(rows)
    rows.symlink_to(rows.replace(shared / "mine.csv"))  # one path, which the params hold, or `fetch` of a copied run would run again
    return folder


@pytest.fixture(scope="session")
def first_run(clone: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The first `dvc exp run` in the clone; its results are committed, so that tests can go back to them.

    One worker makes it, and the others take a copy. That is there whole or not at all, so that where the worker dies the next one makes it.
    """
    made = shared / "first_run"
    with (shared / "first_run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            run = timed_run(clone)
            sh(clone, "git", "add", "--all")
            sh(clone, "git", "commit", "--quiet", "-m", "first run")
            copy = tmp_path_factory.mktemp("first_run")
            shutil.copytree(clone, copy / "clone", symlinks=True)
            (copy / "run.json").write_text(json.dumps(run))
            copy.rename(made)
            return run
    shutil.rmtree(clone)
    shutil.copytree(made / "clone", clone, symlinks=True)
    return Run(*json.loads((made / "run.json").read_text()))


@pytest.fixture
def restored(clone: Path, first_run: Run) -> Iterator[None]:
    """For a test that changes the clone: what follows finds the first run, whether the test passed or not."""
    yield
    restore(clone)


@pytest.fixture
def small_bert() -> BertModel:
    config = BertConfig(
        vocab_size=60, hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, max_position_embeddings=32
    )
    return BertModel(config, add_pooling_layer=False)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint, exported; tests must leave it as it is."""
    root = tmp_path_factory.mktemp("project")
    write_project(root)
    export(root)
    return root


@pytest.fixture(scope="session")
def onnx_folder(project: Path) -> Path:
    """The exported model of the small checkpoint."""
    return project / "models/onnx"
