"""What bulk scoring has to do: which file goes where, and what is done already."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import artifacts
from pipeline.bulk.records import FORMATS, check_format
from pipeline.errors import UserError

PLAN = "plan.json"
PART = "{:06d}.parquet"


class Job(NamedTuple):
    """A file to score and the file to write; what is kept beside the output starts with `_`: who reads the folder takes it for no data."""

    source: Path
    target: Path

    @property
    def parts(self) -> Path:
        """Folder of the scored parts, until they are joined."""
        return self.target.parent / f"_{self.target.name}.parts"

    @property
    def receipt(self) -> Path:
        """What the output was made from, and how many rows have an answer."""
        return self.target.parent / f"_{self.target.name}.receipt.json"


def find_jobs(given: str, output: Path, suffix: str | None) -> list[Job]:
    """The files of a path or pattern, with their outputs: in a folder they keep their names and their places below it.

    Args:
        given: a file, a folder or a glob pattern (`**` for any depth).
        output: a file if one file is given and this has a suffix, else a folder.
        suffix: of the outputs; by default that of each input.

    Raises:
        UserError: there is nothing to score, the output is of no format of ours or would be among the inputs, or its folder is a file.
    """
    root, sources = _find_sources(given)
    file_suffix = "" if output.is_dir() else output.suffix.lower()
    single = Path(given).is_file() and file_suffix != ""
    if single and file_suffix not in FORMATS:
        raise UserError(f"{output}: its name ends in none of {', '.join(FORMATS)}: rename it, or make that folder first")
    if single and suffix not in (None, file_suffix):
        raise UserError(f"{output}: ends in '{output.suffix}' where --format says '{suffix}': leave one out")
    if not single and file_suffix in FORMATS:
        raise UserError(f"{output}: {given} is more than one file: give a folder for the output")
    jobs = [
        Job(source, output if single else output / source.relative_to(root).with_suffix(suffix or source.suffix.lower()))
        for source in sources
    ]
    targets = [job.target.resolve() for job in jobs]
    if len(set(targets)) < len(targets):
        raise UserError(f"{given}: two files would have the same output: leave out --format, or score them one by one")
    folder = (_named_outright(Path(given)) if "**" in Path(given).parts else Path(given)).resolve()
    if set(targets) & {source.resolve() for source in sources} or (folder.is_dir() and output.resolve().is_relative_to(folder)):
        raise UserError(f"{output}: lies among the inputs: choose another place for the output")
    for place in sorted({job.target.parent for job in jobs}):
        artifacts.check_folder(place)
    return jobs


def find_left_out(given: str) -> list[str]:
    """Names of the files in a folder that are of no format of ours; none where something else than a folder is given."""
    folder = Path(given)
    return sorted(str(file.relative_to(folder)) for file in _files_in(folder) if file.suffix.lower() not in FORMATS)


def _find_sources(given: str) -> tuple[Path, list[Path]]:
    """The folder that all files lie in, and the files."""
    path = Path(given)
    if path.is_file():
        sources = [path]
    elif path.is_dir():
        sources = sorted(file for file in _files_in(path) if file.suffix.lower() in FORMATS)
    else:
        asked = _named_outright(path)
        found = (Path(name) for name in glob.glob(given, recursive=True))  # noqa: PTH207
        sources = sorted(file for file in found if file.is_file() and not _hidden(file.relative_to(asked)))
    for source in sources:
        check_format(source)
    if not sources:
        raise UserError(f"{given}: no such file, and no {', '.join(FORMATS)} file in it or matching it")
    root = path if path.is_dir() else Path(os.path.commonpath([source.parent for source in sources]))
    return root, sources


def _files_in(folder: Path) -> Iterator[Path]:
    """All files in a folder, at any depth, but for those that are hidden."""
    return (file for file in folder.rglob("*") if file.is_file() and not _hidden(file.relative_to(folder)))


def _named_outright(pattern: Path) -> Path:
    """The folder that a pattern is below."""
    return Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts))


def _hidden(path: Path) -> bool:
    return any(part.startswith(("_", ".")) for part in path.parts if part not in ("..", "."))


def identify(job: Job, **settings: Any) -> dict[str, Any]:
    """What the answers depend on: the input and the settings, the model among them."""
    found = job.source.stat()
    return {"input": job.source.name, "bytes": found.st_size, "modified_ns": found.st_mtime_ns} | settings


def is_done(job: Job, identity: dict[str, Any]) -> bool:
    """Whether the output is there and was made from the same.

    Raises:
        UserError: there is a file of that name that is not ours.
    """
    if not job.target.exists():
        return False
    if not job.receipt.exists() and not job.parts.exists():
        raise UserError(f"{job.target}: is there and has no receipt of ours ({job.receipt.name}): remove it, or choose another output")
    done = bool((_read(job.receipt) or {}).get("made_from") == identity)
    if done:
        shutil.rmtree(job.parts, ignore_errors=True)  # of a run that was killed while it tidied up
    return done


@contextmanager
def opened(job: Job, identity: dict[str, Any]) -> Iterator[Path]:
    """The folder of parts, with those of an earlier run if they are of the same; while it is open, no other run can have it.

    Raises:
        UserError: another run is at work on this output.
    """
    job.parts.mkdir(parents=True, exist_ok=True)
    with (job.parts / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{job.parts}: another run is writing {job.target}: wait for it") from None
        plan = job.parts / PLAN
        if _read(plan) != identity:
            for old in job.parts.glob("*.parquet"):
                old.unlink()
            artifacts.write_json(plan, identity)
        job.receipt.unlink(missing_ok=True)  # before the output changes: a receipt is of the output beside it or absent
        yield job.parts


def close(job: Job, receipt: dict[str, Any]) -> None:
    """Writes the receipt, after which the parts are not needed."""
    artifacts.write_json(job.receipt, receipt)
    shutil.rmtree(job.parts)


def _read(path: Path) -> Any:
    """What a JSON file says; None if it is not there, or empty or cut as a machine that lost its power may leave it."""
    try:
        return artifacts.read_json(path)
    except (FileNotFoundError, ValueError):
        return None
