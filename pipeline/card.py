"""Writes the model card of the last run, beside a copy of its checkpoint: what `publish` would upload.

Reads   models/tinybert (and with --onnx models/onnx), metrics/, plots/evaluate, params.yaml, dvc.lock, git
Writes  build/publish: checkpoint, README.md (the card), provenance.json, plots/, onnx/
Run     python -m pipeline.card [--onnx] [--output build/publish]

Works on any tree that was run, and notes what `publish` would refuse.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.errors import UserError, exit_with_one_line
from pipeline.lock import LOCK, MODEL, ONNX, check_output
from pipeline.publishing.facts import PICTURES, Facts, read_facts
from pipeline.publishing.folder import check_replaceable, lay_out
from pipeline.publishing.model_card import Tables, make_card
from pipeline.reporting.lockfile import stale
from pipeline.run_files import METRICS, contradictions
from pipeline.tables.exported import EXPORT, abstention, export
from pipeline.tables.results import results

OUTPUT = Path("build/publish")
NAME = "tinybert-intents"


def write(output: Path, repository: str | None, onnx: bool) -> tuple[Facts, list[str]]:
    """Makes the folder, whose card says that the model lies in a repository of the hub, or where none is named in the folder.

    Returns:
        What the card tells, and why it must not be published: one line a reason.

    Raises:
        UserError: a file that it needs is missing or cannot be read, or the folder holds what is not ours.
    """
    check_replaceable(output)
    facts = read_facts(Path())
    folders = [MODEL, *([ONNX] if onnx else [])]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder: run `make repro`, or `dvc pull {folder}`")
    if onnx and not EXPORT.is_file():
        raise UserError(f"{EXPORT}: no such file: run `make repro`")
    told = Tables(results(), abstention(), export() if onnx else "")
    card = make_card(facts, told, repository or str(output), repository.rsplit("/", maxsplit=1)[-1] if repository else NAME)
    lay_out(output, MODEL, ONNX if onnx else None, PICTURES, card, facts)
    return facts, [
        *(["the working tree has changes that are in no commit: commit them first"] if facts.dirty else []),
        *(problem for problem in map(_not_locked, folders) if problem),
        *(f"{LOCK}: {line}: run `make repro` and commit" for line in stale(Path())),
        *(f"{METRICS}: {line}: run `dvc repro --force evaluate` and commit" for line in contradictions(facts.results)),
    ]


def _not_locked(folder: Path) -> str | None:
    """Why a folder is not the one in the lock; DVC's own status does not say it where its cache lacks the folder."""
    try:
        check_output(folder, Path(LOCK))
    except UserError as error:
        return str(error)
    return None


def main() -> None:
    """Writes the folder and says what is in the way of publishing it."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.card", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--onnx", action="store_true", help="the ONNX graphs as well, under onnx/")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"output folder, replaced as a whole (default: {OUTPUT})")
    args = parser.parse_args()
    _, problems = write(args.output, None, args.onnx)
    print(f"{args.output / 'README.md'}: the card of {MODEL}")
    for problem in problems:
        print(f"note: cannot be published: {problem}")


if __name__ == "__main__":
    exit_with_one_line(main)
