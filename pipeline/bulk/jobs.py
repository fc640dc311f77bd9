"""What bulk scoring has to do: which file goes where, and what is done already."""

from __future__ import annotations

import fcntl
import glob
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import artifacts
from pipeline.bulk.records import ENDINGS, FORMATS, check_format
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
    """The files of a path or pattern, with their outputs: in a folder they keep their names and their places.

    Those places are below the folder given, of a pattern below the part of it without wildcards: other files that come change none.

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
        raise UserError(f"{output}: unsupported output type: end the name in {ENDINGS}, or make that folder first")
    if single and suffix not in (None, file_suffix):
        raise UserError(f"{output}: ends in '{output.suffix}' where --format says '{suffix}': leave one out")
    if not single and file_suffix in FORMATS:
        raise UserError(f"{output}: {given} is not a single file: give a folder for the output")
    jobs = [
        Job(source, output if single else output / source.relative_to(root).with_suffix(suffix or source.suffix.lower()))
        for source in sources
    ]
    targets = [job.target.resolve() for job in jobs]
    if len(set(targets)) < len(targets):
        raise UserError(f"{given}: two files would have the same output: leave out --format, or score them one by one")
    if set(targets) & {source.resolve() for source in sources} or _would_find(given, root, output, targets):
        raise UserError(f"{output}: the output would be one of the inputs: choose another path for the output")
    for place in sorted({job.target.parent for job in jobs}):
        artifacts.check_folder(place)
    return jobs


def find_left_out(given: str) -> list[str]:
    """What a folder holds that is no file of a format of ours, links to other folders too; none where something else is given."""
    folder = Path(given)
    others = (path for path in _found_in(folder) if not (path.is_file() and path.suffix.lower() in FORMATS))
    return sorted(f"{path.relative_to(folder)}{'' if path.is_file() else ' (link)'}" for path in others)


def _find_sources(given: str) -> tuple[Path, list[Path]]:
    """The folder that places are told from, and the files."""
    path = Path(given)
    if path.is_file():
        sources = [path]
    elif path.is_dir():
        sources = sorted(file for file in _found_in(path) if file.is_file() and file.suffix.lower() in FORMATS)
    else:
        found = (Path(name) for name in glob.glob(given, recursive=True))  # noqa: PTH207
        sources = sorted(file for file in found if file.is_file() and not _hidden(file.relative_to(_named_outright(path))))
    for source in sources:
        check_format(source)
    if not sources:
        raise UserError(f"{given}: no {ENDINGS} file found: give a file, a folder, or a glob pattern in quotes")
    return path.parent if path.is_file() else path if path.is_dir() else _named_outright(path), sources


def _would_find(given: str, root: Path, output: Path, targets: list[Path]) -> bool:
    """Whether a folder or a pattern would have the outputs among its inputs, once they are there."""
    path, root = Path(given), root.resolve()
    if path.is_dir() or "**" in path.parts:
        return output.resolve().is_relative_to(root)
    pattern = glob.escape(str(root)) / path.relative_to(_named_outright(path))
    return not path.is_file() and any(target.match(str(pattern)) for target in targets)


def _found_in(folder: Path) -> Iterator[Path]:
    """The files in a folder, at any depth, and the links that lead to none; but nothing that is hidden."""
    found = (path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return (path for path in found if not _hidden(path.relative_to(folder)))


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
        raise UserError(
            f"{job.target}: already exists and was not written by this command ({job.receipt.name} is missing): "
            "remove it, or choose another output"
        )
    done = bool((_read(job.receipt) or {}).get("made_from") == identity)
    if done:
        shutil.rmtree(job.parts, ignore_errors=True)  # of a run that was killed while it tidied up
    return done


@contextmanager
def opened(job: Job, identity: dict[str, Any]) -> Iterator[Path | None]:
    """The folder of parts, with those of an earlier run if they are of the same; while it is open, no other run can have it.

    None if the job is done: another run may have ended since this one asked.

    Raises:
        UserError: another run is at work on this output.
    """
    job.parts.mkdir(parents=True, exist_ok=True)
    with (job.parts / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{job.parts}: another run is writing {job.target}: wait for it") from None
        if is_done(job, identity):
            yield None
            return
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
    shutil.rmtree(job.parts, ignore_errors=True)  # another run may be asking for the lock, and finds the job done


def _read(path: Path) -> Any:
    """What a JSON file says; None if it is not there, or empty or cut as a machine that lost its power may leave it."""
    try:
        return artifacts.read_json(path)
    except (FileNotFoundError, ValueError):
        return None
