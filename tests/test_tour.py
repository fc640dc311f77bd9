"""The notebook of the tour, run on another dataset; the outputs that are kept are those of its code and of the lock's model."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import yaml
from clones import Run, sh, users_csv
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from pipeline.lock import LOCK, MODEL, NOTEBOOK, folder_md5
from pipeline.tour import code_sha256, tidy


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def shown(notebook: NotebookNode, kind: str = "text/markdown") -> Iterator[str]:
    """What the cells show of a kind; of text also what they print."""
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if output.output_type == "stream" and kind == "text/markdown":
            yield output.text
        elif kind in output.get("data", {}):
            yield output.data[kind]


def check_outputs(notebook: NotebookNode, root: Path) -> None:
    """The figures are those of the run in ``root``; every code cell ran, in order."""
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert len(list(shown(notebook, "image/png"))) == 5
    text = "\n".join(shown(notebook))
    measures = json.loads((root / "metrics/evaluate.json").read_text())
    for name, row in measures.items():
        assert f"| {name} | {row['accuracy']:.3f} | {row['accuracy_low']:.3f} to {row['accuracy_high']:.3f} |" in text
    assert f"accuracy {measures['tinybert']['accuracy']:.3f}\n" in text  # by its own count of predictions.csv
    accepted = json.loads((root / "metrics/abstention.json").read_text())["test"]
    assert f"{accepted['accepted']:.1%} of the queries, {accepted['accepted_accuracy']:.1%} of them right" in text


@pytest.mark.slow
def test_it_runs_on_a_users_own_data_and_shows_none_of_their_texts(clone: Path, first_run: Run, tmp_path: Path) -> None:
    sh(clone, "python", "-m", "pipeline.tour", "--output", str(tmp_path / "tour.ipynb"))
    notebook = read(tmp_path / "tour.ipynb")
    check_outputs(notebook, clone)
    text = "\n".join(shown(notebook))
    assert re.search(r"^\| train\.csv:\d+ \|", text, re.MULTILINE)
    queries = [line.rsplit(",", 1)[0] for line in users_csv(clone).read_text(encoding="utf-8").splitlines()[1:]]
    assert [query for query in queries if query.strip('"') in text] == []
    assert sh(clone, "git", "status", "--porcelain") == ""


@pytest.mark.slow
def test_what_dvc_tells_is_the_same_whatever_the_branch_is_called_and_whatever_was_tried(
    clone: Path, first_run: Run, tmp_path: Path
) -> None:
    desk = Path(shutil.copytree(clone, tmp_path / "desk", symlinks=True))
    notebook = read(desk / NOTEBOOK)
    notebook.cells = [cell for cell in notebook.cells if cell.id in ("warnings", "imports", "params", "metrics", "experiments")]
    nbformat.write(notebook, desk / NOTEBOOK)
    written = tmp_path / "tour.ipynb"
    sh(desk, "git", "checkout", "--quiet", "-B", "main")
    sh(desk, "python", "-m", "pipeline.tour", "--output", str(written))
    on_main = written.read_bytes()
    sh(desk, "git", "checkout", "--quiet", "--detach")
    sh(desk, "dvc", "exp", "save", "--name", "tried")
    assert "tried" in sh(desk, "dvc", "exp", "list")
    sh(desk, "python", "-m", "pipeline.tour", "--output", str(written))
    assert written.read_bytes() == on_main


@pytest.mark.usefixtures("committed_run")
def test_the_outputs_that_are_kept_are_of_this_code_this_model_and_this_run() -> None:
    notebook = read(NOTEBOOK)
    lock = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"]["train"]["outs"]
    model = next(output["md5"] for output in lock if output["path"] == "models/tinybert")
    assert notebook.metadata["outputs_of"] == {"code_sha256": code_sha256(notebook), "model": model}, "run `make tour`"
    check_outputs(notebook, Path())


def test_the_outputs_that_are_kept_are_small_and_tell_nothing_of_the_machine() -> None:
    assert NOTEBOOK.stat().st_size < 300_000
    notebook = read(NOTEBOOK)
    again = read(NOTEBOOK)
    tidy(again, notebook.metadata["outputs_of"]["model"])
    assert again == notebook
    for text in shown(notebook):
        assert not re.search(r"(^|[\s'\"])/(home|root|tmp|work|Users)\b", text)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", r"error: docs/tour\.ipynb: ZeroDivisionError: division by zero: open the notebook"),
        ("import warnings\nwarnings.warn('old')", r"error: docs/tour\.ipynb: cell one: writes to stderr: .*old"),
        ("%pwd", r"error: docs/tour\.ipynb: cell one: shows the path .*: print paths relative"),
        ("import time\ntime.sleep(600)", r"error: docs/tour\.ipynb: a cell took more than 5 seconds"),
        ("import os\nos._exit(1)", r"error: docs/tour\.ipynb: the kernel died"),
    ],
)
def test_a_cell_that_fails_warns_shows_a_path_hangs_or_ends_the_kernel_is_a_line(source: str, message: str, tmp_path: Path) -> None:
    for folder in (tmp_path / NOTEBOOK.parent, tmp_path / MODEL):
        folder.mkdir(parents=True)
    outs = [{"path": str(MODEL), "md5": folder_md5(tmp_path / MODEL)}]
    (tmp_path / LOCK).write_text(yaml.safe_dump({"stages": {"train": {"cmd": "x", "outs": outs}}}))
    nbformat.write(new_notebook(cells=[new_code_cell(source, id="one")]), tmp_path / NOTEBOOK)
    before = (tmp_path / NOTEBOOK).read_bytes()
    impatient = "from pipeline import tour; tour.PATIENCE_S = 5; tour.exit_with_one_line(tour.main)"
    said = sh(tmp_path, sys.executable, "-c", impatient, code=1, variables={"PYTHONPATH": str(Path.cwd())})
    assert re.search(message, said)
    assert (tmp_path / NOTEBOOK).read_bytes() == before


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("docs", "error: --output docs: is a folder: give a file\n"),
        ("README.md/tour.ipynb", "error: README.md: is a file: give a folder for the output\n"),
    ],
)
def test_an_output_that_cannot_be_written_is_a_line_before_anything_runs(output: str, message: str) -> None:
    assert sh(Path(), "python", "-m", "pipeline.tour", "--output", output, code=1) == message
