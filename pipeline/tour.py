"""Runs the notebook of the tour from top to bottom and writes it with its outputs.

Run     python -m pipeline.tour                         docs/tour.ipynb, in place
        python -m pipeline.tour --output other.ipynb    leaves it as it is

What is written is the same for the same model on the same machine: no times, no versions, no paths. The metadata say of which code and
of which model the outputs are, so that a test can tell when they no longer are.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from pipeline import artifacts
from pipeline.errors import UserError, exit_with_one_line
from pipeline.lock import LOCK, MODEL, NOTEBOOK, check_output

PATIENCE_S = 600  # for one cell; on a free machine the slowest takes five seconds
STARTUP_S = 600


def code_sha256(notebook: NotebookNode) -> str:
    """The hash of the code cells' sources: what the outputs follow from."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Runs every cell, in the working directory ``folder``, and keeps the outputs.

    Raises:
        UserError: a cell fails, warns, takes too long, ends the kernel, or shows a path of this machine.
    """
    with tempfile.TemporaryDirectory() as private:  # sockets in a folder of ours: what TCP carries others on this machine could read
        kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{private}/kernel")
        options = {"timeout": PATIENCE_S, "startup_timeout": STARTUP_S, "coalesce_streams": True}
        client = NotebookClient(notebook, km=kernel, resources={"metadata": {"path": str(folder)}}, **options)
        try:
            client.execute()
        except CellExecutionError as error:
            raise UserError(f"{NOTEBOOK}: {error.ename}: {error.evalue}: open the notebook and run it up to there") from None
        except CellTimeoutError:
            raise UserError(f"{NOTEBOOK}: a cell took more than {PATIENCE_S} seconds: free the machine, or make the cell do less") from None
        except DeadKernelError:
            raise UserError(f"{NOTEBOOK}: the kernel died, as it does where memory is short: free some and run again") from None
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise UserError(f"{NOTEBOOK}: cell {cell.id}: writes to stderr: {output.text[:200]!r}: fix the cause of the warning")
            if str(Path.cwd()) in str(output):
                raise UserError(f"{NOTEBOOK}: cell {cell.id}: shows the path {Path.cwd()}: print paths relative to the repository")


def tidy(notebook: NotebookNode, model: str) -> None:
    """Takes out what changes from run to run, and notes the model (DVC's hash) and the code that the outputs are of."""
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        outputs_of={"code_sha256": code_sha256(notebook), "model": model},
    )
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
        for output in cell.get("outputs", []):
            if "data" in output:
                output.data = {kind: content for kind, content in output.data.items() if kind != "text/plain" or len(output.data) == 1}
                output.metadata = NotebookNode()


def main() -> None:
    """Runs the notebook on the model that dvc.lock names."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.tour", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=NOTEBOOK, help="notebook to write (default: docs/tour.ipynb, in place)")
    output = parser.parse_args().output
    artifacts.check_folder(output.parent)
    if output.is_dir():
        raise UserError(f"--output {output}: is a folder: give a file")
    model = check_output(MODEL, Path(LOCK))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    execute(notebook, NOTEBOOK.parent)
    tidy(notebook, model)
    with artifacts.whole_file(output) as partial:
        nbformat.write(notebook, partial)
    print(f"{output}: {sum(cell.cell_type == 'code' for cell in notebook.cells)} cells ran")


if __name__ == "__main__":
    exit_with_one_line(main)
