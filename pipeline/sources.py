"""Datasets: a CSV file of the user's, or a source card that pins a dataset of the hub by revision and content.

A card (see ``data/banking77.yaml``) names a folder variable too: who has the files already points it at them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from pathlib import Path

import yaml
from pydantic import ValidationError

from pipeline import hub
from pipeline.errors import UserError, misfit
from pipeline.params import Params
from pipeline.rows import Row, read_records

NAME_THEM = "name yours with fetch.text_column and fetch.label_column"
CARD_SUFFIX = ".yaml"
CHECK = "check the path (fetch.train, fetch.test or evaluate.out_of_scope in params.yaml)"


class CardSplit(Params):
    """Number of rows and sha256 of the content (see ``content_sha256``) of a split."""

    rows: int
    sha256: str


class Card(Params):
    """A pinned dataset: where it is on the hub, and what must be in it."""

    name: str
    licence: str
    citation: str
    repository: str
    revision: str
    text_column: str
    label_column: str
    folder_variable: str
    folder_label_column: str
    train: CardSplit
    test: CardSplit


def read_csv(path: Path, text_column: str, label_column: str, remedy: str = NAME_THEM) -> list[Row]:
    """Reads the two columns of a UTF-8 CSV file (a BOM and CRLF are fine), in the order of the file.

    Args:
        path: the file.
        text_column: the name of its column of texts.
        label_column: that of its labels.
        remedy: what is said to a user whose file lacks a column.

    Raises:
        UserError: the file is missing, not UTF-8 or no CSV, a column is missing, or there is no row.
    """
    records = read_records(io.StringIO(_decode(path), newline=""))
    rows: list[Row] = []
    try:
        line, header = next(records, (0, []))
        if not line:
            raise UserError(f"{path}: the file is empty: it needs a header row and rows below it")
        text_at, label_at = (_find_column(path, header, column, remedy) for column in (text_column, label_column))
        for line, fields in records:
            if fields:
                if len(fields) != len(header):
                    raise UserError(f"{path}:{line}: fields: {len(fields)}, in the header: {len(header)}: quote texts that contain commas")
                rows.append(Row(line, fields[text_at], fields[label_at]))
    except csv.Error as error:
        raise UserError(f"{path}:{error}") from None
    if not rows:
        raise UserError(f"{path}: 0 rows below the header: nothing to learn from")
    return rows


def read_card(path: Path) -> Card:
    """Reads a source card.

    Raises:
        UserError: it is missing or malformed.
    """
    try:
        return Card.model_validate(yaml.safe_load(_decode(path)))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    except ValidationError as error:
        key, message = misfit(error)
        raise UserError(f"{path}: {key}: {message}") from None


def bring_card(card: Card) -> dict[str, list[Row]]:
    """Brings the splits of a card from the folder its variable names, else from the hub, as the very same rows.

    Raises:
        UserError: neither can be had, or the content is not the pinned one.
    """
    folder = os.environ.get(card.folder_variable)
    splits = _from_folder(card, Path(folder)) if folder else _from_hub(card)
    for split, pinned in (("train", card.train), ("test", card.test)):
        content = content_sha256(splits[split])
        if (len(splits[split]), content) != (pinned.rows, pinned.sha256):
            raise UserError(
                f"{folder or card.repository}: {card.name} {split}: {len(splits[split])} rows with content sha256 {content}, "
                f"expected {pinned.rows} rows with {pinned.sha256}: this is another version of the dataset"
                f"{f': fix or unset ${card.folder_variable}' if folder else ''}"
            )
    return splits


def content_sha256(rows: list[Row]) -> str:
    """sha256 over ``text TAB intent`` lines."""
    return hashlib.sha256("".join(f"{row.text}\t{row.intent}\n" for row in rows).encode()).hexdigest()


def _from_folder(card: Card, folder: Path) -> dict[str, list[Row]]:
    print(f"{card.name}: from ${card.folder_variable}", flush=True)
    files = {split: folder / f"{split}.csv" for split in ("train", "test")}
    remedy = (
        f"set ${card.folder_variable}, now '{folder}', to the absolute path of a folder with train.csv and test.csv; "
        f"columns {card.text_column},{card.folder_label_column}"
    )
    for path in files.values():
        if not path.is_file():
            raise UserError(f"{path}: no such file: {remedy}")
    return {split: _canonical(read_csv(path, card.text_column, card.folder_label_column, remedy)) for split, path in files.items()}


def _from_hub(card: Card) -> dict[str, list[Row]]:
    from datasets import load_dataset  # noqa: PLC0415  imports slowly, and only this path needs it
    from datasets.exceptions import DatasetsError  # noqa: PLC0415

    remedy = f"run where the hub can be reached, or set ${card.folder_variable} to a folder with train.csv and test.csv"
    try:
        hub.preflight()
        print(f"{card.name}: from the hub, revision {card.revision[:12]}", flush=True)
        dataset = load_dataset(card.repository, revision=card.revision)
    except hub.HubError as error:
        raise UserError(f"{card.name}: {error}: {remedy}") from None
    except (DatasetsError, *hub.BROKEN, ValueError) as error:
        raise UserError(f"{card.name}: downloading {card.repository} from the hub failed: {hub.first_line(error)}: {remedy}") from None
    splits: dict[str, list[Row]] = {}
    for split in ("train", "test"):
        intents = dataset[split].features[card.label_column].int2str(dataset[split][card.label_column])
        splits[split] = _canonical([Row(0, text, intent) for text, intent in zip(dataset[split][card.text_column], intents, strict=True)])
    return splits


def _canonical(rows: list[Row]) -> list[Row]:
    """Single spaces, sorted, numbered as lines of a CSV file: two copies of a dataset agree however they were stored."""
    pairs = sorted((row.intent, " ".join(row.text.split())) for row in rows)
    return [Row(line, text, intent) for line, (intent, text) in enumerate(pairs, start=2)]


def _decode(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: {CHECK}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, not a file: {CHECK}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1  # its object is the content without the BOM
        raise UserError(f"{path}:{line}: byte 0x{error.object[error.start]:02x} is not UTF-8: save the file as UTF-8") from None


def _find_column(path: Path, header: list[str], column: str, remedy: str) -> int:
    if header.count(column) != 1:
        problem = "occurs more than once" if column in header else "is missing"
        if len(header) == 1 and ";" in header[0]:
            remedy = "separate the columns by commas, not semicolons"
        raise UserError(f"{path}:1: column '{column}' {problem}: the header has {header}: {remedy}")
    return header.index(column)
