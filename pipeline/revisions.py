"""Files of a revision: of a commit, read through git, or of the working tree. Needs nothing but a clone."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import UserError


class Revision(NamedTuple):
    """A commit of the repository at ``root``, or its working tree where ``commit`` is None."""

    root: Path
    commit: str | None = None

    def read(self, path: str) -> bytes | None:
        """The bytes of a file, or None where the revision has no such file."""
        if self.commit is None:
            file = self.root / path
            return file.read_bytes() if file.is_file() else None
        listed = _checked(self.root, "ls-tree", self.commit, "--", path).split()
        return _checked(self.root, "cat-file", "blob", listed[2].decode()) if listed[1:2] == [b"blob"] else None


def merge_base(root: Path, name: str) -> tuple[Revision, str]:
    """Where the history of HEAD left that of the revision ``name``, so that what others did to it since is not laid to this change.

    A branch that is only there as ``origin/<name>``, as in a checkout of CI, is found. Where the two have no common history (a shallow
    clone), it is the revision itself.

    Returns:
        The commit, and words that lead from it to ``name``.

    Raises:
        UserError: no such revision, or no repository.
    """
    _checked(root, "rev-parse", "--git-dir")
    for candidate in (name, f"origin/{name}"):
        found = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{candidate}^{{commit}}")
        if found.returncode == 0:
            break
    else:
        raise UserError(f"--base {name}: no such revision here: `git fetch origin {name}`, or name another")
    tip = found.stdout.decode().strip()
    base = _git(root, "merge-base", "HEAD", tip)
    if base.returncode:
        return Revision(root, tip), "with no common history here (a shallow clone?):"
    commit = base.stdout.decode().strip()
    return Revision(root, commit), "which is" if commit == tip else "where this branch left"


def head(root: Path) -> tuple[str, bool]:
    """The commit of HEAD, and whether the working tree differs from it."""
    return _checked(root, "rev-parse", "HEAD").decode().strip(), bool(_checked(root, "status", "--porcelain").strip())


def _checked(root: Path, *arguments: str) -> bytes:
    done = _git(root, *arguments)
    if done.returncode:
        raise UserError(f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)
