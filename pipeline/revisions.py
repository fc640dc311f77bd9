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

    def files(self, folder: str) -> list[str]:
        """The paths of the files in a folder, sorted; none where the revision has no such folder."""
        if self.commit is None:
            return sorted(f"{folder}/{path.name}" for path in (self.root / folder).glob("*") if path.is_file())
        listed = git(self.root, "ls-tree", "-z", "--name-only", self.commit, "--", f"{folder}/")
        return sorted(filter(None, listed.decode().split("\0")))

    def read(self, path: str) -> bytes | None:
        """The bytes of a file, or None where the revision has no such file."""
        if self.commit is None:
            file = self.root / path
            return file.read_bytes() if file.is_file() else None
        listed = git(self.root, "ls-tree", self.commit, "--", path).split()
        return git(self.root, "cat-file", "blob", listed[2].decode()) if listed[1:2] == [b"blob"] else None


def merge_base(root: Path, name: str) -> tuple[Revision, str, str]:
    """Where the history of HEAD left that of the revision ``name``, so that what others did to it since is not laid to this change.

    A branch that is only there as ``origin/<name>``, as in a checkout of CI, is found. Where it is there as both, one may be behind: of
    the two merge bases it is the one nearer HEAD. Where the two have no common history (a shallow clone), it is the revision itself.

    Returns:
        The commit, words that lead from it to the revision, and that by its name.

    Raises:
        UserError: no such revision, or no repository.
    """
    tips = {candidate: tip for candidate in (name, f"origin/{name}") if (tip := commit_of(root, candidate))}
    if not tips:
        raise UserError(f"--base {name}: no such revision here: `git fetch origin {name}`, or name another (`make report BASE=..`)")
    if name in tips and try_git(root, "show-ref", "--verify", "--quiet", f"refs/heads/{name}").returncode:
        tips = {name: tips[name]}  # HEAD^1 is no branch, and origin/HEAD^1 another commit
    found = {candidate: try_git(root, "merge-base", "HEAD", tip).stdout.decode().strip() for candidate, tip in tips.items()}
    bases = {candidate: base for candidate, base in found.items() if base}
    if not bases:
        candidate, tip = next(iter(tips.items()))
        return Revision(root, tip), "with no common history here (a shallow clone?):", candidate
    nearest = min(bases, key=lambda candidate: int(git(root, "rev-list", "--count", f"{bases[candidate]}..HEAD")))
    commit = bases[nearest]
    return Revision(root, commit), "which is" if commit == tips[nearest] else "where this branch left", nearest


def head(root: Path) -> tuple[str, bool]:
    """The commit of HEAD, and whether the working tree differs from it."""
    return git(root, "rev-parse", "HEAD").decode().strip(), bool(git(root, "status", "--porcelain").strip())


def commit_of(root: Path, name: str) -> str:
    """The hash of the commit that a revision names; empty where there is none.

    Raises:
        UserError: no repository.
    """
    git(root, "rev-parse", "--git-dir")
    return try_git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").stdout.decode().strip()


def git(root: Path, *arguments: str) -> bytes:
    """What git, run in a folder, prints.

    Raises:
        UserError: it failed.
    """
    done = try_git(root, *arguments)
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip()
        remedy = ": run in a clone of the repository" if "not a git repository" in told else ""
        raise UserError(f"git {' '.join(arguments)}: {told}{remedy}")
    return done.stdout


def try_git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Runs git in a folder; the exit code may be an answer."""
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)
