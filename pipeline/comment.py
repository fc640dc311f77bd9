"""The one comment on a pull request, from the report that its own code made: text from a stranger, to be held at arm's length.

Run     python3 -m pipeline.comment check --artifact FOLDER --body FILE    is it for this pull request? writes what is to be posted
        python3 -m pipeline.comment post --number N --body FILE            posts it, or updates what was posted before

Runs in the workflow `comment`, which may write to pull requests and runs none of their code. Whoever opens a pull request can put
anything into the artifact: `number` and `report.md` are read as text, up to a size, and the number counts only where GitHub says that
the run was for this very pull request.
"""

from __future__ import annotations

import argparse
import os
import re
import stat
import unicodedata
from pathlib import Path
from typing import Any

from pipeline import github
from pipeline.errors import UserError, exit_with_one_line
from pipeline.github import MARKER, NUMBER, REPORT

MAX_BYTES = 400_000  # read of a file
MAX_CHARACTERS = 60_000  # GitHub takes 65,536; the rest is for what is added here
# CML finds its last comment by this line: with it in, it makes no difference which of the two posted last time.
WATERMARK = '![](https://cml.dev/watermark.png#{commit} "CML watermark tinybert-intents")'
CML_FINDS = re.compile(re.escape(WATERMARK).replace(re.escape("{commit}"), "[0-9a-fA-F]+"))
CML_READS = 30  # comments: CML 0.20.6 asks for the first page alone


def read_text(path: Path) -> str:
    """Text of a file that a stranger wrote, at most ``MAX_BYTES`` of it.

    Raises:
        UserError: it is missing, or no plain file (a link could point at a secret).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise UserError(f"{path.name}: not to be read ({error.strerror}): look at the run of `pipeline`") from None
    with os.fdopen(descriptor, "rb") as handle:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UserError(f"{path.name}: not a plain file: look at the run of `pipeline`")
        return handle.read(MAX_BYTES).decode("utf-8", errors="replace")


def read_number(path: Path) -> int:
    """Number of a pull request, as the artifact claims it.

    Raises:
        UserError: it is not a positive integer.
    """
    text = read_text(path).strip()
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text, re.ASCII):
        raise UserError(f"{path.name}: {text[:80]!r}: not the number of a pull request: nothing is posted")
    return int(text)


def is_for(run: dict[str, Any], pull_request: dict[str, Any]) -> bool:
    """Whether a run was for a pull request's newest commit.

    Returns:
        False when the pull request has a newer commit by now, whose run will report.

    Raises:
        UserError: the run was for another pull request.
    """
    head = pull_request["head"]
    # a fork that was deleted has no repository
    came_from = ((head["repo"] or {}).get("full_name"), head["ref"])
    ran_for = ((run["head_repository"] or {}).get("full_name"), run["head_branch"])
    if came_from != ran_for:
        raise UserError(f"number: {pull_request['number']} comes from {came_from}, the run was for {ran_for}: nothing is posted")
    return bool(head["sha"] == run["head_sha"])


def make_body(report: str, run: dict[str, Any]) -> str:
    """What is to be posted: who speaks, then the report, plain: no mentions, no invisible characters, cut to ``MAX_CHARACTERS``."""
    text = "".join(letter for letter in report if letter in "\n\t" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs"))
    text = text.removeprefix(MARKER).strip()
    text = re.sub(r"@|&#0*64;?|&#x0*40;?|&commat;?", "@\N{ZERO WIDTH SPACE}", text, flags=re.IGNORECASE)  # a stranger's report calls nobody
    lines = [MARKER, f"*Made by this pull request's own code at {run['head_sha'][:12]}, in [this run]({run['html_url']}).*"]
    if len(text) > MAX_CHARACTERS:
        text = text[:MAX_CHARACTERS].rpartition("\n")[0] or text[:MAX_CHARACTERS]
        lines.append(f"*Cut to {MAX_CHARACTERS:,} characters; the whole report is an artifact of the run.*")
    return "\n\n".join([*lines, text]) + "\n"


def ours(comments: list[dict[str, Any]]) -> int | None:
    """Id of our comment: ours by its first line and by who wrote it, since anybody can write the first line."""
    found = (comment for comment in comments if comment["body"].startswith(MARKER) and comment["user"]["login"] == github.BOT)
    return next((int(comment["id"]) for comment in found), None)


def cml_takes_ours(comments: list[dict[str, Any]]) -> bool:
    """Whether CML would write to the same comment: it takes the last with its watermark, whoever wrote it, and reads few."""
    found = [int(comment["id"]) for comment in comments[:CML_READS] if CML_FINDS.search(comment["body"])]
    return (found[-1] if found else None) == ours(comments)


def check(artifact: Path, body: Path) -> None:
    """Writes the body and hands on the number; hands on none when a newer commit makes the report stale."""
    run = github.event()["workflow_run"]
    number = read_number(artifact / NUMBER)
    if not is_for(run, github.call("GET", f"pulls/{number}")):
        print(f"#{number} has a newer commit than {run['head_sha'][:12]}: its own run will report")
        return
    body.write_text(make_body(read_text(artifact / REPORT), run), encoding="utf-8")
    github.set_output("number", number)
    github.set_output("cml", "yes" if cml_takes_ours(list(github.pages(f"issues/{number}/comments"))) else "no")


def post(number: int, body: Path) -> None:
    """Posts the body as a new comment, or in the place of ours."""
    commit = github.event()["workflow_run"]["head_sha"]
    text = {"body": f"{body.read_text(encoding='utf-8')}\n{WATERMARK.format(commit=commit)}\n"}
    before = ours(list(github.pages(f"issues/{number}/comments")))
    if before is None:
        done = github.call("POST", f"issues/{number}/comments", text)
    else:
        done = github.call("PATCH", f"issues/comments/{before}", text)
    print(f"{'posted' if before is None else 'updated'}: {done['html_url']}")


def main() -> None:
    """Checks or posts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    checking, posting = commands.add_parser("check"), commands.add_parser("post")
    checking.add_argument("--artifact", type=Path, required=True, help="folder of the downloaded artifact")
    checking.add_argument("--body", type=Path, required=True, help="file to write")
    posting.add_argument("--number", type=int, required=True, help="of the pull request")
    posting.add_argument("--body", type=Path, required=True, help="file to post")
    options = parser.parse_args()
    if options.command == "check":
        check(options.artifact, options.body)
    else:
        post(options.number, options.body)


if __name__ == "__main__":
    exit_with_one_line(main)
