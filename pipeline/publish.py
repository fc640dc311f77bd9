"""Uploads the checkpoint of this commit, with its card, to a model repository of the hub. Shows what it would do unless told to do it.

Run     python -m pipeline.publish [--onnx]                           what would be uploaded, and the card in build/publish
        python -m pipeline.publish --repo user/name --push [--public]

Refuses what nobody could trace: a tree with uncommitted changes, a checkpoint or metrics that are not those of dvc.lock, metrics
that are not those of the predictions.
"""

from __future__ import annotations

import argparse
import re

from pipeline.card import OUTPUT, write
from pipeline.errors import UserError, exit_with_one_line
from pipeline.publishing.folder import CARD, files
from pipeline.publishing.repository import push


def main() -> None:
    """Makes the folder, refuses or lists it, and uploads it."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.publish", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repo", help="the hub's repository, as user/name")
    parser.add_argument("--push", action="store_true", help="upload; without it, only show what would be uploaded")
    parser.add_argument("--onnx", action="store_true", help="the ONNX graphs as well, under onnx/")
    parser.add_argument("--public", action="store_true", help="create a public repository, or update one (default: private)")
    parser.add_argument(
        "--replace", action="store_true", help="overwrite a repository that this command did not create; its other files are deleted"
    )
    args = parser.parse_args()
    if args.push and not args.repo:
        raise UserError("--push: name the repository with --repo user/name (`make publish REPO=user/name PUSH=1`)")
    if args.repo is not None and not re.fullmatch("[^/]+/[^/]+", args.repo):
        raise UserError(f"--repo {args.repo}: give user/name")

    facts, problems = write(OUTPUT, args.repo, args.onnx)
    if problems:
        more = f" (and {len(problems) - 1} more: `python -m pipeline.card` lists them)" if len(problems) > 1 else ""
        raise UserError(f"cannot be published: {problems[0]}{more}")
    wanted = files(OUTPUT)
    for name, entry in wanted.items():
        print(f"{entry.sha256}  {entry.bytes:>11,}  {name}")
    total = sum(entry.bytes for entry in wanted.values())
    print(f"{len(wanted)} files, {total:,} bytes, of commit {facts.commit[:12]}; the card: {OUTPUT / CARD}")
    if not args.push:
        print(f"nothing was uploaded: add {'' if args.repo else '--repo user/name '}--push")
        return
    pushed = push(args.repo, OUTPUT, f"{facts.commit[:12]}: checkpoint, card and provenance", args.public, args.replace)
    for name in pushed.deleted:
        print(f"removed there: {name}")
    print(f"published: {pushed.url}")


if __name__ == "__main__":
    exit_with_one_line(main)
