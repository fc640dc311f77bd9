"""How often `pipeline.drift` is alarmed without a cause, and how often it sees one, by the number of new queries.

Run     python -m benchmarks.drift_power [--draws 100] [--model models/onnx] [--data data/prepared]

Each draw cuts the test split in two: one half is the reference, new queries are drawn from the other. Without a cause they are left as they
are; else a share of them is changed: predicted as one of five intents (words and confidence stay: there are too few queries of five intents
to draw from), written with typing errors, or replaced by queries of no intent (data/sample/out_of_scope.csv). No query is drawn twice. A
last row shows what the reference is for: held-out queries against the confidence of queries that the model learnt from.
Writes metrics/reference/drift.json, from which docs/drift.md is generated; ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline import artifacts
from pipeline.csv_files import read_table
from pipeline.drifting.profiles import Profile, describe
from pipeline.drifting.shifts import LEAST_EFFECT, SIGNIFICANCE, compare
from pipeline.errors import UserError, exit_with_one_line
from pipeline.lock import folder_md5
from pipeline.prepared import read_texts
from pipeline.serving.classifier import Classifier
from pipeline.tables.drift import DRIFT, drift
from pipeline.tables.sample import OUT_OF_SCOPE
from pipeline.words import vocabulary

QUERIES, SHARES = (50, 100, 200, 300), (0.1, 0.2, 0.4)
CAUSES = ("intents", "typing errors", "out of scope")
INTENTS_MORE = 5  # that a share of the queries is of
FOR_A_RATE_NEAR_ZERO = 5  # times the draws
LETTERS_WRONG = 0.08  # of the letters of a query with typing errors, swapped with the next


def misspell(text: str, draw: random.Random) -> str:
    """Swaps some letters with the next."""
    letters = list(text)
    for i in range(len(letters) - 1):
        if letters[i].isalpha() and letters[i + 1].isalpha() and draw.random() < LETTERS_WRONG:
            letters[i], letters[i + 1] = letters[i + 1], letters[i]
    return "".join(letters)


def take(profile: Profile, rows: np.ndarray) -> Profile:
    """Some rows of a profile."""
    return Profile(*(values[rows] for values in profile))


def join(first: Profile, second: Profile) -> Profile:
    """The rows of both."""
    return Profile(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))


def change(cause: str, rows: np.ndarray, pools: dict[str, Profile], rng: np.random.Generator) -> Profile:
    """What becomes of test rows by a cause; none is there twice, or the Kolmogorov-Smirnov test would take one query for several."""
    if cause == "typing errors":
        return take(pools[cause], rows)
    if cause == "out of scope":
        return take(pools[cause], rng.choice(len(pools[cause].words), len(rows), replace=False))
    intents = pools["test"].intents
    more = rng.choice(np.unique(intents), min(INTENTS_MORE, len(np.unique(intents))), replace=False)
    return take(pools["test"], rows)._replace(intents=rng.choice(intents[np.isin(intents, more)], len(rows)))


class Case(NamedTuple):
    """What becomes of new queries."""

    cause: str | None
    share: float = 0.0  # of them that are changed
    learnt: bool = False  # whether their confidence is held against that of queries that the model learnt from


def one_draw(case: Case, queries: int, pools: dict[str, Profile], classes: int, seed: int) -> dict[str, bool]:
    """Which checks are alarmed in one draw."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pools["test"].words))
    reference, rows = take(pools["test"], order[: len(order) // 2]), order[len(order) // 2 :][:queries]
    moved = round(case.share * queries)
    new = take(pools["test"], rows[moved:])
    if case.cause:
        new = join(new, change(case.cause, rows[:moved], pools, rng))
    reference = reference._replace(words=pools["train"].words)
    if case.learnt:
        reference = reference._replace(confidence=pools["train"].confidence)
    return {check.name: check.drifted() for check in compare(reference, new, classes, seed)}


def alarm_rates(pools: dict[str, Profile], classes: int, draws: int) -> list[dict[str, Any]]:
    """Share of draws with an alarm, by cause, share replaced and number of queries; and by check at the largest number."""
    sizes = sizes_of(len(pools["test"].words))
    rows = []
    for case in [Case(None), *(Case(cause, share) for cause in CAUSES for share in SHARES), Case(None, learnt=True)]:
        by_size, seeds = {}, range(draws if case.cause or case.learnt else FOR_A_RATE_NEAR_ZERO * draws)
        for queries in sizes:
            found = [one_draw(case, queries, pools, classes, seed) for seed in seeds]
            by_size[str(queries)] = round(float(np.mean([any(alarms.values()) for alarms in found])), 4)
        checks = {name: round(float(np.mean([alarms[name] for alarms in found])), 4) for name in Profile._fields}
        rows.append(case._asdict() | {"draws": len(seeds), "alarms": by_size, "checks": checks})
        print(f"{case.cause or ('against training rows' if case.learnt else 'none')} {case.share:g}: {by_size}", flush=True)
    return rows


def sizes_of(tests: int) -> list[int]:
    """Numbers of new queries that half of the test split has."""
    return [queries for queries in QUERIES if queries <= tests // 2]


def read_pools(classifier: Classifier, data: Path, out_of_scope: Path) -> dict[str, Profile]:
    """What is compared of every query that may be drawn, so that each is answered once.

    Raises:
        UserError: there are too few test queries, or too few of no intent, to draw none twice.
    """
    train, test = read_texts(data, "train"), read_texts(data, "test")
    sizes = sizes_of(len(test))
    if not sizes:
        raise UserError(f"{data / artifacts.split_table('test')}: {len(test)} queries: at least {2 * QUERIES[0]} are needed")
    if not out_of_scope.exists():
        raise UserError(f"{out_of_scope}: no such file: check the path, and run in the root of the repository")
    strange = [row["text"] for row in read_table(out_of_scope)]
    if len(strange) < (needed := round(SHARES[-1] * sizes[-1])):
        raise UserError(f"{out_of_scope}: {len(strange)} queries: at least {needed} are needed")
    draw = random.Random(0)
    misspelt = [misspell(text, draw) for text in test]
    known = vocabulary(train)
    texts = {"train": train, "test": test, "typing errors": misspelt, "out of scope": strange}
    return {name: describe(some, classifier.answer(some, top_k=1), known, classifier.labels) for name, some in texts.items()}


def main() -> None:
    """Answers every query once, draws, writes the rates."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.drift_power", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--draws",
        type=int,
        default=100,
        help="draws per table cell; five times as many in the first row, where nothing was changed (default: 100)",
    )
    parser.add_argument("--model", type=Path, default=Path("models/onnx"), help="folder written by stage `export`")
    parser.add_argument("--data", type=Path, default=Path("data/prepared"), help="folder written by stage `prepare`")
    parser.add_argument("--out-of-scope", type=Path, default=OUT_OF_SCOPE, help="CSV with a column `text`")
    parser.add_argument("--output", type=Path, default=DRIFT, help=f"JSON file to write (default: {DRIFT})")
    args = parser.parse_args()
    classifier = Classifier.load(args.model)
    pools = read_pools(classifier, args.data, args.out_of_scope)
    rows = alarm_rates(pools, len(classifier.labels), args.draws)
    result = {
        "command": f"python -m benchmarks.drift_power --draws {args.draws}",
        "model": folder_md5(args.model),
        "significance": SIGNIFICANCE,
        "least_effect": LEAST_EFFECT,
        "train": len(pools["train"].words),
        "test": len(pools["test"].words),
        "rows": rows,
    }
    artifacts.write_json(args.output, result)
    print(drift(args.output))
    print(json.dumps({"false_alarms": rows[0]["alarms"], "n": rows[0]["draws"]}))


if __name__ == "__main__":
    exit_with_one_line(main)
