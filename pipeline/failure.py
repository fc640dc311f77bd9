"""The report of a pipeline that did not get as far as a report: which stage failed, and what it said.

Run     python3 -m pipeline.failure --log FILE --output FOLDER

Needs nothing installed, since the installation may be what failed.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from pipeline import artifacts, github
from pipeline.errors import exit_with_one_line
from pipeline.github import MARKER, REPORT

LINES = 30  # of the log, at its end
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def describe(log: str, url: str | None) -> str:
    """Markdown about a failed run.

    Args:
        log: what the steps printed.
        url: page of the run, if there is one.
    """
    log = ESCAPES.sub("", log)
    stages = re.findall(r"failed to reproduce '([\w.@-]+)'", log)  # DVC's own words
    where = f"in stage `{stages[-1]}`" if stages else "outside its stages"
    text = f"{MARKER}\n\n## The pipeline failed {where}\n\nSo there are no figures for this commit.{f' [The run]({url}).' if url else ''}\n"
    if said := re.findall(r"^error: .*$", log, re.MULTILINE):
        text += f"\n{fence(said[-1])}"
    last = "\n".join(log.splitlines()[-LINES:])
    return text + (f"\n<details><summary>The end of its log</summary>\n\n{fence(last)}\n</details>\n" if last else "")


def fence(text: str) -> str:
    """A block of code that its text cannot end."""
    ticks = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{ticks}text\n{text}\n{ticks}\n"


def main() -> None:
    """Reads the log, writes the report."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.failure", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", type=Path, required=True, help="what the steps printed; may be missing")
    parser.add_argument("--output", type=Path, required=True, help="folder of the report")
    options = parser.parse_args()
    artifacts.check_folder(options.output)
    log = options.log.read_text(encoding="utf-8", errors="replace") if options.log.exists() else ""
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / REPORT).write_text(describe(log, github.run_url()), encoding="utf-8")


if __name__ == "__main__":
    exit_with_one_line(main)
