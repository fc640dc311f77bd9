"""Reads the rows that an audit looks at, each with its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from pipeline import artifacts
from pipeline.auditing.defects import Query
from pipeline.cleaning import clean
from pipeline.errors import UserError
from pipeline.personal_data import mask
from pipeline.prepared import read_columns
from pipeline.rows import read_rows


def read_raw(dataset: Path, masked: bool) -> dict[str, list[Query]]:
    """The rows as they came, cleaned and, if `prepare` does so, masked; none of an official test split where there is none.

    Raises:
        UserError: there is no dataset.
    """
    if not (dataset / artifacts.RAW_SOURCE).exists():
        raise UserError(f"{dataset / artifacts.RAW_SOURCE}: no such file: run `make repro`, or `dvc pull {dataset}`")
    names = artifacts.read_json(dataset / artifacts.RAW_SOURCE)
    found: dict[str, list[Query]] = {}
    for split, file in (("train", artifacts.RAW_TRAIN), ("test", artifacts.RAW_TEST)):
        rows = [clean(row) for row in read_rows(dataset / file)] if names[split] else []
        found[split] = [Query(f"{names[split]}:{row.line}", split, mask(row.text) if masked else row.text, row.intent) for row in rows]
    return found


def read_prepared(folder: Path, dataset: Path) -> tuple[list[Query], list[str]]:
    """The rows of all splits, each once, and the intents.

    Raises:
        UserError: a split is missing, or was made of another dataset.
    """
    names = artifacts.read_json(dataset / artifacts.RAW_SOURCE)
    sources = {artifacts.RAW_TRAIN: names["train"], artifacts.RAW_TEST: names["test"]}
    queries: dict[str, Query] = {}
    for split in artifacts.SPLITS:  # after prepare.refit training has the validation rows too: they count as validation
        columns = ["id", "text", "label"]
        table = read_columns(folder, split, columns)
        intents: list[str] = artifacts.read_json(folder / artifacts.LABELS)
        for name, text, label in zip(*(table[column].to_pylist() for column in columns), strict=True):
            file, _, line = name.rpartition(":")
            if sources.get(file) is None:
                raise UserError(f"{folder / artifacts.split_table(split)}: row {name} is of no file in {dataset}: run `dvc repro prepare`")
            queries[name] = Query(f"{sources[file]}:{line}", split, text, intents[label])
    return sorted(queries.values(), key=lambda query: artifacts.SPLITS.index(query.split)), intents


def tokenize(encoder: Path, queries: Sequence[Query]) -> list[Encoding]:
    """The word pieces of queries, all of them.

    Raises:
        UserError: there is no encoder.
    """
    if not (encoder / artifacts.TOKENIZER_FILE).exists():
        raise UserError(f"{encoder / artifacts.TOKENIZER_FILE}: no such file: run `make repro`, or `dvc pull {encoder}`")
    tokenizer = Tokenizer.from_file(str(encoder / artifacts.TOKENIZER_FILE))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    encodings: list[Encoding] = tokenizer.encode_batch([query.text for query in queries])
    return encodings
