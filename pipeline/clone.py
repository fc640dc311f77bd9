"""A clean clone of this repository to run the pipeline in, apart from the workspace."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pipeline.errors import UserError
from pipeline.revisions import git, head


def committed_head() -> str:
    """The commit of HEAD; says so when the working tree has changes that a clone will not see."""
    commit, dirty = head(Path())
    if dirty:
        print("note: uncommitted changes are not part of this run: it works on the last commit", flush=True)
    return commit


def clone(commit: str, folder: Path) -> None:
    """Brings ``folder`` to a commit of this repository; what DVC already made there stays, so that a killed run goes on."""
    if not (folder / ".git").exists():
        folder.mkdir(parents=True, exist_ok=True)
        git(Path(), "clone", "--quiet", "--no-checkout", ".", str(folder))
    git(folder, "fetch", "--quiet", "origin", "HEAD")  # of no branch, if it is detached
    git(folder, "checkout", "--quiet", "--force", "--detach", commit)
    (folder / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {(folder / '.dvc' / 'cache').resolve()}\n", encoding="utf-8")


def run(folder: Path, *command: str) -> list[str]:
    """Runs a command in a clone, passing its output through as it comes.

    Returns:
        Its lines.

    Raises:
        UserError: it failed.
    """
    lines = []
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise UserError(f"{folder}: {' '.join(command)}: exit code {process.returncode}: see the lines above")
    return lines
