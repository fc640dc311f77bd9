"""Says in one line whether the remote in `.dvc/config` can be used, and whether it holds what `dvc.lock` refers to.

Run     python -m pipeline.remote check [--read-only]     credentials, bucket, rights
        python -m pipeline.remote verify [--download]     every object is there, with the right content
        python -m pipeline.remote mend                    removes from the bucket what `verify` blames, so that `dvc push` sends it again

`dvc push` asks of a folder only whether its listing (`.dir`) is in the remote, and of an object only whether it is there. So what was
lost or changed in the bucket later is never sent again by itself, and only `verify` finds it without pulling.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

from dvc.exceptions import DvcException
from dvc.repo import Repo

from pipeline.bucket import FILE_VARIABLE, PULL_RIGHTS, PUSH_RIGHTS, Bucket
from pipeline.errors import UserError, exit_with_one_line

PLACEHOLDER = "YOUR-BUCKET"  # as committed; no valid name of a bucket, so that nobody can own it
SET_UP = "run `make remote BUCKET=gs://NAME/FOLDER` first, see docs/remote.md"
NAMED = 5  # objects that an error names


@dataclass(frozen=True)
class Wanted:
    """An object that dvc.lock refers to.

    Attributes:
        path: of the output, or of the file in it.
        md5: of its bytes.
        key: of the object in the remote.
        listing: key of the folder's listing it stands in, if any.
    """

    path: str
    md5: str
    key: str
    listing: str | None = None


@dataclass(frozen=True)
class Fault:
    """What is wrong with an object: missing, or other bytes."""

    wanted: Wanted
    missing: bool

    def __str__(self) -> str:
        return f"{self.wanted.path} ({self.wanted.key}) {'is missing' if self.missing else 'has other bytes'}"


def open_bucket(repo: Repo) -> Bucket:
    """The default remote.

    Raises:
        UserError: none is set, or it is not on Google Cloud Storage.
    """
    name = repo.config["core"].get("remote")
    remote = repo.config["remote"].get(name) if name else None
    if not remote or PLACEHOLDER in remote["url"]:
        raise UserError(f".dvc/config: no remote is set: {SET_UP}")
    if remote.get("credentialpath"):
        os.environ[FILE_VARIABLE] = remote["credentialpath"]  # where google-auth looks for DVC's setting
    return Bucket.at(remote["url"], bool(remote.get("allow_anonymous_login")))


def outputs(repo: Repo) -> list[Wanted]:
    """What DVC keeps of every stage's outputs, as ``dvc.lock`` has it: one object each, of a folder its listing.

    Raises:
        UserError: an output has no hash yet.
    """
    found = []
    for out in repo.index.outs:
        if not (out.use_cache and out.can_push):
            continue
        if not out.hash_info:
            raise UserError(f"dvc.lock: {out}: has no hash: run `dvc repro` and commit dvc.lock")
        found.append(Wanted(str(out), out.hash_info.value.removesuffix(".dir"), _key(out.hash_info.value)))
    return found


def faults(bucket: Bucket, wanted: list[Wanted], download: bool) -> tuple[list[Fault], int]:
    """Compares the bucket with what is wanted, files in folders included.

    Returns:
        The faults, and the number of objects looked at. What stands in a listing that is missing or changed is not looked at.
    """
    found, looked_at = [], 0
    for output in wanted:
        listing = output.key.endswith(".dir")
        fault = _fault(bucket, output, download or listing)
        files = list(_files(bucket, output)) if listing and not fault else []
        found += [fault, *(_fault(bucket, file, download) for file in files)]
        looked_at += 1 + len(files)
    return [fault for fault in found if fault], looked_at


def _fault(bucket: Bucket, wanted: Wanted, download: bool) -> Fault | None:
    md5 = bucket.md5(wanted.key, download)
    return None if md5 == wanted.md5 else Fault(wanted, missing=md5 is None)


def _files(bucket: Bucket, folder: Wanted) -> Iterator[Wanted]:
    for entry in json.loads(bucket.read(folder.key)):
        yield Wanted(f"{folder.path}/{entry['relpath']}", entry["md5"], _key(entry["md5"]), folder.key)


def _key(md5: str) -> str:
    return f"files/md5/{md5[:2]}/{md5[2:]}"


def check(repo: Repo, read_only: bool) -> str:
    """The verdict on credentials, bucket and rights, in one line."""
    bucket = open_bucket(repo)
    bucket.check(PULL_RIGHTS if read_only else PULL_RIGHTS + PUSH_RIGHTS)
    return f"{bucket}: can be used for {'pull' if read_only else 'pull and push'}"


def verify(repo: Repo, download: bool) -> str:
    """The verdict on the objects, in one line.

    Raises:
        UserError: some are missing or changed; the first ones are named.
    """
    bucket = open_bucket(repo)
    bucket.check(PULL_RIGHTS)  # without them every object looks missing
    found, looked_at = faults(bucket, outputs(repo), download)
    if not found:
        return f"{bucket}: holds all {looked_at} objects that dvc.lock refers to, {'every byte read' if download else 'by their hashes'}"
    named = "; ".join(map(str, found[:NAMED])) + (f"; and {len(found) - NAMED} more" if len(found) > NAMED else "")
    by_itself = all(fault.missing and not fault.wanted.listing for fault in found)
    remedy = "run `dvc push`" if by_itself else "run `python -m pipeline.remote mend`, then `dvc push`,"
    raise UserError(f"{bucket}: {len(found)} of {looked_at} objects do not match dvc.lock: {named}: {remedy} where they were made")


def mend(repo: Repo) -> str:
    """Removes changed objects, and the listings of folders that lack a file."""
    bucket = open_bucket(repo)
    bucket.check(PULL_RIGHTS)
    found, _ = faults(bucket, outputs(repo), download=True)
    changed = {fault.wanted.key for fault in found if not fault.missing}
    keys = changed | {fault.wanted.listing for fault in found if fault.wanted.listing}
    for key in sorted(keys):
        bucket.remove(key)
    return f"{bucket}: removed {len(keys)} object(s): run `dvc push` where they were made" if keys else f"{bucket}: nothing to remove"


def main() -> None:
    """Runs one of the commands."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.remote", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check").add_argument("--read-only", action="store_true", help="check only the permissions that `dvc pull` needs")
    commands.add_parser("verify").add_argument(
        "--download", action="store_true", help="download and hash every object instead of trusting the stored hashes"
    )
    commands.add_parser("mend")
    arguments = parser.parse_args()
    try:
        with Repo() as repo:
            if arguments.command == "check":
                print(check(repo, arguments.read_only))
            elif arguments.command == "verify":
                print(verify(repo, arguments.download))
            else:
                print(mend(repo))
    except DvcException as error:
        raise UserError(f"dvc: {error}") from None


if __name__ == "__main__":
    exit_with_one_line(main)
