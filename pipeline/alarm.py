"""Opens an issue, or adds to the open one of the same title, so that a weekly failure does not become a pile of issues.

Run     python3 -m pipeline.alarm --title TITLE --text TEXT

Runs in the workflow `verify`, in a job of its own that may write issues and runs nothing else.
"""

from __future__ import annotations

import argparse

from pipeline import github
from pipeline.errors import exit_with_one_line


def raise_alarm(title: str, text: str) -> str:
    """Writes the issue or the addition.

    Returns:
        Its page.
    """
    for issue in github.pages("issues?state=open"):
        if issue["title"] == title and issue["user"]["login"] == github.BOT and "pull_request" not in issue:
            return str(github.call("POST", f"issues/{issue['number']}/comments", {"body": text})["html_url"])
    return str(github.call("POST", "issues", {"title": title, "body": text})["html_url"])


def main() -> None:
    """Raises the alarm, with a link to the run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--title", required=True, help="of the issue")
    parser.add_argument("--text", required=True, help="what happened")
    options = parser.parse_args()
    print(raise_alarm(options.title, f"{options.text}\n\n{github.run_url() or ''}".strip()))


if __name__ == "__main__":
    exit_with_one_line(main)
