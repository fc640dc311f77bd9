"""What a change did to the model: the working tree against a revision, as Markdown on stdout. Needs nothing but a clone.

Run     python -m pipeline.report [--base REV] [--output FOLDER] [--max-characters N] [--fail-on-regression]

The base is the merge base of HEAD and REV: where this branch left it. Verdicts rest on the predictions of both runs for the same test
queries; budgets are in `pyproject.toml`, section `[tool.budgets]`. With `--output` the report and its pictures go to a folder too. With
`--fail-on-regression` each broken budget is a line on stderr, and the exit code is 1. One that cannot be judged is a line too, a note.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline import artifacts
from pipeline.errors import UserError, exit_with_one_line
from pipeline.github import REPORT
from pipeline.markdown import code, join_within, printable
from pipeline.paired import compare
from pipeline.reporting import closer_sections, sections
from pipeline.reporting.before_after import draw
from pipeline.reporting.budgets import check, declared_spread, measured_spread, read_budgets, unvaried
from pipeline.reporting.findings import Findings
from pipeline.reporting.lockfile import stale
from pipeline.reporting.matching import Unpaired, match
from pipeline.revisions import Revision, head, merge_base
from pipeline.run_files import read_results

GITHUB_LIMIT = 65_536  # characters of a comment
LEAST_CHARACTERS = 4_000  # what the headline may need


def examine(root: Path, base: str) -> Findings:
    """Compares the working tree at ``root`` with the revision named ``base``.

    Raises:
        UserError: no such revision, no repository, or budgets that cannot be read.
    """
    budgets = read_budgets(root)
    revision, where, found_as = merge_base(root, base)
    commit, dirty = head(root)
    before, after = read_results(revision), read_results(Revision(root))
    dataset = after.params.get("fetch.train")
    measured = measured_spread(revision, dataset), measured_spread(Revision(root), dataset)
    spread = measured[0] or measured[1] or declared_spread(budgets)
    spread = spread._replace(unvaried=unvaried(spread, before, after))
    mismatches = stale(root)
    try:
        found, why_not = match(before, after), ""
        differences = compare(found.pairs, budgets.significance)
    except Unpaired as reason:
        found, why_not, differences = None, str(reason), {}
    title = (
        f"The working tree ({code(commit[:7])}{' and uncommitted changes' if dirty else ''}) against {code(str(revision.commit)[:7])}, "
        f"{where} {code(found_as)}."
    )
    checks = check(budgets, after, differences, spread, mismatches, why_not)
    return Findings(title, before, after, found, why_not, differences, measured, spread, budgets, checks, mismatches)


def compose(findings: Findings, pictures: list[str], most: int) -> str:
    """The report, cut to ``most`` characters at the border of a section, the most important sections first."""
    parts = [
        ("verdict", sections.headline(findings)),
        ("budgets", sections.budgets(findings)),
        ("params", sections.params(findings)),
        ("packages", sections.packages(findings)),
        ("stages", sections.stages(findings)),
        ("models", sections.models(findings)),
        ("intents", closer_sections.intents(findings)),
        ("data", sections.data(findings)),
        ("size", sections.size(findings)),
        ("queries", closer_sections.queries(findings)),
        ("training and calibration", closer_sections.training(findings)),
        ("pictures", f"### Pictures\n\nBeside this report: {', '.join(code(name) for name in pictures)}.\n" if pictures else ""),
        ("missing files", sections.unreadable(findings)),
    ]
    return join_within([(title, text) for title, text in parts if text], most)


def main() -> None:
    """Reads, compares, prints, writes, judges."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", metavar="REV", default="main", help="the revision to compare with (default: main)")
    parser.add_argument("--output", metavar="FOLDER", type=Path, help=f"write {REPORT} and the pictures there too")
    parser.add_argument("--max-characters", metavar="N", type=int, default=GITHUB_LIMIT, help="cut at N (default: GitHub's limit)")
    parser.add_argument("--fail-on-regression", action="store_true", help="exit with 1 when a budget is broken")
    args = parser.parse_args()
    if args.max_characters < LEAST_CHARACTERS:
        raise UserError(f"--max-characters {args.max_characters}: at least {LEAST_CHARACTERS}, which the verdict may need")
    if args.output:
        artifacts.check_folder(args.output)

    findings = examine(Path(), args.base)
    pictures = draw(findings, args.output) if args.output else []
    report = compose(findings, pictures, args.max_characters)
    print(report, end="", flush=True)
    if args.output:
        with artifacts.whole_file(args.output / REPORT) as partial:
            partial.write_text(report, encoding="utf-8")
    if args.fail_on_regression:
        for row in findings.checks:
            if row.line:
                print(("error: " if row.broken else "note: ") + printable(row.line, 1_000), file=sys.stderr)
        if any(row.broken for row in findings.checks):
            sys.exit(1)


if __name__ == "__main__":
    exit_with_one_line(main)
