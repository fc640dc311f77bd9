"""Compares new queries with those that the model was made for: is it still the model for them?

Run     python -m pipeline.drift new.csv [--text-column text] [--output build/drift] [--model models/onnx] [--data data/prepared]
Reads   CSV, JSONL or Parquet; data/prepared (train and test), models/onnx
Writes  report.json, report.png and report.html (needs nothing beside itself) in the output folder
Exit    0 no drift, 1 drift, 2 error

Lengths are compared with those of the training queries. Words that the training queries have not, and what the model says, are compared
with those of the test split: of the queries it learnt from the model knows every word and is more confident than of any other, so that
against those everything new would look like drift.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import artifacts
from pipeline.bulk.records import PART_ROWS, read_parts
from pipeline.drifting.page import draw, summarize, write_page
from pipeline.drifting.profiles import Profile, describe, shares
from pipeline.drifting.shifts import LEAST_EFFECT, LEAST_SIGNIFICANCE, SIGNIFICANCE, compare
from pipeline.errors import UserError, exit_with_one_line
from pipeline.prepared import read_texts
from pipeline.serving.classifier import Classifier
from pipeline.text import clean_text
from pipeline.words import vocabulary, words

ERROR = 2
FEWEST = 50  # fewer queries show only a change that nobody needs a test for


def read_new(path: Path, column: str, most: int, seed: int) -> tuple[list[str], int, int]:
    """Reads the texts of a file, written as the model's are, at random those of ``most`` rows if there are more.

    Returns:
        The texts, the number of rows, and that of rows without a usable text.

    Raises:
        UserError: the file cannot be used, or holds too few texts.
    """
    drawn: list[tuple[int, str]] = []  # a reservoir (Vitter 1985, algorithm R): memory does not grow with the file
    rows = usable = 0
    rng = np.random.default_rng(seed)
    for part in read_parts(path, column, PART_ROWS):
        rows += len(part.texts)
        texts = [text for text, problem in zip(part.texts, part.problems, strict=True) if problem is None]
        for text, place in zip(texts, rng.integers(np.arange(usable, usable + len(texts)) + 1).tolist(), strict=True):
            if usable < most:
                drawn.append((usable, text))
            elif place < most:
                drawn[place] = (usable, text)
            usable += 1
    if usable < FEWEST:
        raise UserError(f"{path}: usable texts: {usable}; give at least {FEWEST}, fewer cannot show drift")
    return [clean_text(text) for _, text in sorted(drawn)], rows, rows - usable


def check_labels(data: Path, model: Path, labels: tuple[str, ...]) -> None:
    """Makes sure that the queries compared with are those of the model: after a run on other data up to `prepare` they are not.

    Raises:
        UserError: the folders do not name the same intents.
    """
    if tuple(artifacts.read_json(data / artifacts.LABELS)) != labels:
        raise UserError(f"{data / artifacts.LABELS}: not the intents of {model}: run `dvc repro`, or name folders of one run")


def write_report(folder: Path, report: dict[str, Any], reference: Profile, new: Profile) -> None:
    """Writes the three files; whatever else is in the folder stays."""
    artifacts.write_json(folder / "report.json", report)
    picture = folder / "report.png"
    with artifacts.whole_file(picture) as partial:
        draw(reference, new, report, partial)
    with artifacts.whole_file(folder / "report.html") as partial:
        write_page(report, picture, partial)


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.drift", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", type=Path, help="new queries: a CSV, JSONL or Parquet file")
    parser.add_argument("--text-column", default="text", help="column (of JSONL: key) that holds the texts (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("build/drift"), help="folder of the report (default: %(default)s)")
    parser.add_argument("--model", type=Path, default=Path("models/onnx"), help="folder written by stage `export` (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data/prepared"), help="folder written by stage `prepare` (default: %(default)s)")
    parser.add_argument(
        "--significance",
        type=float,
        default=SIGNIFICANCE,
        help="significance level, i.e. the accepted false-alarm rate (default: %(default)s)",
    )
    parser.add_argument(
        "--least-effect",
        type=float,
        default=LEAST_EFFECT,
        help="smallest share of queries that must have shifted to count as drift, 0 to 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--most", type=int, default=10_000, help="queries to compare at most; a larger file is sampled at random (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=42, help="random seed of the sampling and the tests (default: %(default)s)")
    args = parser.parse_args()
    if args.most < FEWEST:
        parser.error(f"--most {args.most}: must be {FEWEST} or more")
    if args.seed < 0:
        parser.error(f"--seed {args.seed}: must be 0 or more")
    if not LEAST_SIGNIFICANCE <= args.significance < 1:
        parser.error(f"--significance {args.significance:g}: must be {LEAST_SIGNIFICANCE:g} or more, and less than 1")
    if not 0 <= args.least_effect <= 1:
        parser.error(f"--least-effect {args.least_effect:g}: must be between 0 and 1")
    return args


def main() -> None:
    """Reads, answers, compares, writes the report; exits with 1 if there is a drift."""
    args = read_arguments()
    artifacts.check_folder(args.output)
    classifier = Classifier.load(args.model)
    train, held_out = read_texts(args.data, "train"), read_texts(args.data, "test")
    check_labels(args.data, args.model, classifier.labels)
    texts, rows, missing = read_new(args.input, args.text_column, args.most, args.seed)
    known = vocabulary(train)
    before, now = (classifier.answer(some, top_k=1) for some in (held_out, texts))
    reference = describe(held_out, before, known, classifier.labels)._replace(words=np.array([len(words(text)) for text in train]))
    new = describe(texts, now, known, classifier.labels)

    checks = compare(reference, new, len(classifier.labels), args.seed, args.significance)
    drifted = {check.name: check.drifted(args.significance, args.least_effect) for check in checks}
    report: dict[str, Any] = {
        "drift": any(drifted.values()),
        "source": args.input.name,
        "rows": rows,
        "without_text": missing,
        "queries": len(texts),
        "reference": {"train": len(train), "held_out": len(held_out)},
        "significance": args.significance,
        "least_effect": args.least_effect,
        "checks": [check._asdict() | {"drift": drifted[check.name]} for check in checks],
        "needs_person": {name: 1 - float(np.mean([a.accepted for a in some])) for name, some in (("reference", before), ("new", now))},
        "intents": shares(reference, new, classifier.labels),
    }
    write_report(args.output, report, reference, new)
    print(summarize(report))
    for check in checks:
        told = "DRIFT" if drifted[check.name] else "no drift"
        print(f"{check.name}: about {100 * check.effect:.1f} % moved, p = {check.adjusted_p:.2g}: {told}")
    print(f"report: {args.output}/report.html")
    sys.exit(int(report["drift"]))


if __name__ == "__main__":
    exit_with_one_line(main, code=ERROR)
