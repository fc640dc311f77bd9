"""Cleans, checks and splits the rows, and reports on them.

Reads   data/raw/dataset
Writes  data/prepared/{train,validation,test}.parquet (columns id, text, label), data/prepared/labels.json; metrics/data.json
Run     python -m pipeline.prepare --dataset data/raw/dataset --prepared data/prepared --metrics metrics/data.json

An id is ``train.csv:<line>`` or ``test.csv:<line>``, the line being that of the file that `fetch` read (column ``line`` of the file so
named in data/raw/dataset), so that a prediction can be traced to its row. An official test split stays as it is, empty texts excepted;
what is dropped from the training rows is counted in the metrics:

- text without a visible character, or "nan": the row is dropped (``empty``)
- the same text (case, spacing and invisible characters aside) with the same intent again: later rows are dropped (``duplicate``)
- the same text under two intents: all its rows are dropped (``conflicting``)
- the same text in the official test split: the training row is dropped (``also_in_test``)

Personal data is counted, and with ``mask_personal_data`` replaced before anything else is compared: two texts that differ in a card number
alone are then the same text. data/raw is left as it came.

Who is held out depends on a query's own words and on how many of its intent there are, not on where it stands: a row that is added, deleted
or moved leaves the splits of all others as they are, but for one or two of its intent.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from pipeline import artifacts, personal_data
from pipeline.cleaning import REASONS, comparable, drop_ambiguous, drop_empty
from pipeline.command_line import read_paths
from pipeline.errors import UserError, exit_with_one_line
from pipeline.near_twins import TWIN, nearest_by_jaccard, pairs_of_twins
from pipeline.params import Params, read_params
from pipeline.rows import Row, read_rows
from pipeline.words import unknown_share, vocabulary, words

CALIBRATED = ("train.calibration_temperature", "evaluate.threshold", "evaluate.label_threshold")  # on validation, where no params give them


class PrepareParams(Params):
    """How `prepare` splits."""

    test_fraction: float = Field(gt=0, lt=0.5, description="share of rows held out for test, per intent; unused with an official test file")
    validation_fraction: float = Field(gt=0, lt=0.5, description="share of the remaining rows held out for validation, per intent")
    refit: bool = Field(description="let the training split contain the validation rows (once all knobs are chosen)")
    mask_personal_data: bool = Field(
        description="write `[card number]` and the like for card numbers, IBANs, mail addresses and phone numbers, in every split"
    )
    seed: int = Field(ge=0, description="seed of the split")


def check_intents(train: list[Row], test: list[Row], names: dict[str, str | None]) -> list[str]:
    """Checks that each intent can stand in every split.

    Returns:
        The intents, sorted: the position is the class index.

    Raises:
        UserError: fewer than two intents, too few rows of one, or a test intent that train does not have.
    """
    counts = Counter(row.intent for row in train)
    if len(counts) < 2:
        left = f"{len(counts)} ({', '.join(counts)})" if counts else "none"
        raise UserError(f"{names['train']}: intents left after cleaning: {left}: a classifier needs at least 2")
    least = 2 if test else 3
    rare = sorted(intent for intent, count in counts.items() if count < least)
    if rare:
        raise UserError(
            f"{names['train']}: intent '{rare[0]}': rows after cleaning: {counts[rare[0]]}; at least {least} are needed "
            f"(one per split){f'; {len(rare) - 1} more like it' if rare[1:] else ''}: add rows or merge intents"
        )
    for row in test:
        if row.intent not in counts:
            raise UserError(
                f"{names['test']}:{row.line}: intent '{row.intent}' does not occur in {names['train']}: correct the label or add rows"
            )
    return sorted(counts)


def hold_out(rows: list[Row], fraction: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Splits rows in two, the second with ``fraction`` of each intent's rows, but at least one and never all.

    Of an intent those are held out whose texts have the lowest hashes.

    Returns:
        (rest, held out), both in the order of ``rows``.
    """
    by_intent: defaultdict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(rows)), key=lambda index: _hash(rows[index].text, seed)):
        by_intent[rows[index].intent].append(index)
    held: set[int] = set()
    for indices in by_intent.values():
        count = min(max(round(len(indices) * fraction), 1), len(indices) - 1)
        held.update(indices[:count])
    return [row for i, row in enumerate(rows) if i not in held], [row for i, row in enumerate(rows) if i in held]


def describe(splits: dict[str, pa.Table], labels: list[str]) -> dict[str, Any]:
    """Counts rows, balance, lengths, words, and near twins inside a split; of held-out texts also those in train, and unknown words."""
    report: dict[str, Any] = {"intents": len(labels)}
    train = splits["train"]["text"].to_pylist()
    known = vocabulary(train)
    for split, table in splits.items():
        texts, classes = table["text"].to_pylist(), table["label"].to_numpy()
        per_intent = np.bincount(classes, minlength=len(labels))
        lengths = np.array([len(words(text)) for text in texts])
        report[split] = {
            "rows": table.num_rows,
            "fewest_per_intent": int(per_intent.min()),
            "most_per_intent": int(per_intent.max()),
            "median_words": float(np.median(lengths)),
            "most_words": int(lengths.max()),
            "different_words": len(vocabulary(texts)),
        }
        if split != "train":
            report[split]["unknown_words"] = round(float(np.mean([unknown_share(text, known) for text in texts])), 6)
            nearest, similarity = nearest_by_jaccard(texts, train)
            same = splits["train"]["label"].to_numpy()[nearest] == classes
            report[split]["near_twins_in_train_same_intent"] = int(((similarity >= TWIN) & same).sum())
            report[split]["near_twins_in_train_other_intent"] = int(((similarity >= TWIN) & ~same).sum())
        pairs = np.zeros(2, dtype=np.int64)
        for first, later, _ in pairs_of_twins(texts):
            pairs += np.bincount(classes[later] == classes[first], minlength=2)
        report[split]["pairs_of_near_twins_same_intent"] = int(pairs[1])
        report[split]["pairs_of_near_twins_other_intent"] = int(pairs[0])
    return report


def mask_personal_data(rows: list[Row], mask: bool) -> tuple[list[Row], Counter[str]]:
    """Looks for personal data in rows, and replaces it if asked.

    Returns:
        The rows, and how many rows have each kind (of ``personal_data.KINDS``).
    """
    count = Counter(kind for row in rows for kind in {piece.kind for piece in personal_data.find(row.text)})
    return [row._replace(text=personal_data.mask(row.text)) for row in rows] if mask else rows, count


def _hash(text: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\n{comparable(text)}".encode()).digest()


def _table(rows: list[Row], file: str, labels: list[str]) -> pa.Table:
    index = {intent: i for i, intent in enumerate(labels)}
    return pa.table(
        {
            "id": [f"{file}:{row.line}" for row in rows],
            "text": [row.text for row in rows],
            "label": pa.array([index[row.intent] for row in rows], pa.int32()),
        }
    )


def main() -> None:
    """Reads the rows, cleans, splits, writes tables and metrics."""
    args = read_paths(__doc__, "--dataset", "--prepared", "--metrics")
    params = read_params("prepare", PrepareParams)

    names = artifacts.read_json(args.dataset / artifacts.RAW_SOURCE)
    train, empty_train = drop_empty(read_rows(args.dataset / artifacts.RAW_TRAIN), names["train"])
    test, empty_test = drop_empty(read_rows(args.dataset / artifacts.RAW_TEST), names["test"]) if names["test"] else ([], 0)
    if names["test"] and not test:
        raise UserError(f"{names['test']}: none of the {empty_test} rows has a text: is fetch.text_column the column of the texts?")
    train, personal_train = mask_personal_data(train, params.mask_personal_data)
    test, personal_test = mask_personal_data(test, params.mask_personal_data)
    train, dropped = drop_ambiguous(train, test)
    labels = check_intents(train, test, names)

    test_file = artifacts.RAW_TEST if test else artifacts.RAW_TRAIN
    if not test:
        train, test = hold_out(train, params.test_fraction, params.seed)
    rest, validation = hold_out(train, params.validation_fraction, params.seed)
    splits = {
        "train": _table(train if params.refit else rest, artifacts.RAW_TRAIN, labels),
        "validation": _table(validation, artifacts.RAW_TRAIN, labels),
        "test": _table(test, test_file, labels),
    }
    with artifacts.whole_folder(args.prepared) as folder:
        for split, table in splits.items():
            pq.write_table(table, folder / artifacts.split_table(split))
        artifacts.write_json(folder / artifacts.LABELS, labels)
    counts = {"empty": empty_train, "empty_in_test": empty_test, **{reason: dropped[reason] for reason in REASONS}}
    personal = {kind: personal_train[kind] + personal_test[kind] for kind in personal_data.KINDS}
    if params.refit:
        print(
            f"refit: validation is part of train, so train and evaluate need values of a run without it: {', '.join(CALIBRATED)}",
            flush=True,
        )
    rows = sum(table.num_rows for table in splits.values())
    print(f"near-duplicates: comparing {rows} texts with one another; twice as many would take four times as long", flush=True)
    report = describe(splits, labels) | {"dropped": counts, "personal_data": {"masked": params.mask_personal_data} | personal}
    artifacts.write_json(args.metrics, report)
    print(f"{len(labels)} intents; " + ", ".join(f"{split} {table.num_rows}" for split, table in splits.items()), flush=True)
    if sum(counts.values()):
        print("dropped: " + ", ".join(f"{count} {reason}" for reason, count in counts.items() if count), flush=True)
    if sum(personal.values()):
        fate = "masked" if params.mask_personal_data else "not masked: see prepare.mask_personal_data"
        print(f"rows with personal data ({fate}): " + ", ".join(f"{count} {kind}" for kind, count in personal.items() if count), flush=True)


if __name__ == "__main__":
    exit_with_one_line(main)
