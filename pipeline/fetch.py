"""Brings the dataset and the base encoder: the only stage that may touch the network.

Reads   the CSV files or source card named by its params
Writes  data/raw/dataset (rows under canonical column names), data/raw/encoder, data/raw/student_encoder
        (the last without weights unless one is named)
Run     python -m pipeline.fetch --dataset data/raw/dataset --encoder data/raw/encoder --student-encoder data/raw/student_encoder
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pipeline import artifacts
from pipeline.command_line import read_paths
from pipeline.encoders import bring_encoder
from pipeline.errors import UserError, exit_with_one_line
from pipeline.params import Params, read_params
from pipeline.rows import Row, write_rows
from pipeline.sources import CARD_SUFFIX, bring_card, read_card, read_csv


class FetchParams(Params):
    """What `fetch` brings."""

    train: str = Field(min_length=1, description="training queries: a CSV file, or a source card (.yaml) of a pinned dataset on the hub")
    test: str = Field(
        min_length=1,
        description="test file; same path as `train`: use the card's own test split, or hold out part of the CSV",
    )
    text_column: str = Field(min_length=1, description="CSV column with the query")
    label_column: str = Field(min_length=1, description="CSV column with the intent")
    encoder: str = Field(description="base encoder of the teachers, a name in `pipeline/encoders.py`")
    student_encoder: str | None = Field(description="pre-trained student to fetch as well, a name in `pipeline/encoders.py`, or null")


def bring_dataset(params: FetchParams) -> tuple[dict[str, list[Row]], dict[str, str | None]]:
    """Reads the splits that params name.

    Returns:
        Rows by split (``train`` and, where there is an official one, ``test``), and the name of each split's source.

    Raises:
        UserError: see ``pipeline.sources``; or a test file is named beside a source card.
    """
    train, test = Path(params.train), Path(params.test)
    if train.suffix == CARD_SUFFIX:
        if test != train:
            raise UserError(f"params.yaml: fetch.test: {test}: {train} has a test split of its own: write fetch.test: {train}")
        card = read_card(train)
        return bring_card(card), {"train": f"{card.name} train", "test": f"{card.name} test"}
    splits = {"train": read_csv(train, params.text_column, params.label_column)}
    if test == train:
        return splits, {"train": str(train), "test": None}
    splits["test"] = read_csv(test, params.text_column, params.label_column)
    return splits, {"train": str(train), "test": str(test)}


def main() -> None:
    """Reads params, brings everything, writes the folders."""
    args = read_paths(__doc__, "--dataset", "--encoder", "--student-encoder")
    params = read_params("fetch", FetchParams)

    splits, names = bring_dataset(params)
    with artifacts.whole_folder(args.dataset) as folder:
        for split, rows in splits.items():
            write_rows(folder / {"train": artifacts.RAW_TRAIN, "test": artifacts.RAW_TEST}[split], rows)
            print(f"{split}: {len(rows)} rows from {names[split]}", flush=True)
        artifacts.write_json(folder / artifacts.RAW_SOURCE, names)
    with artifacts.whole_folder(args.encoder) as folder:
        bring_encoder("fetch.encoder", params.encoder, folder)
    with artifacts.whole_folder(args.student_encoder) as folder:
        bring_encoder("fetch.student_encoder", params.student_encoder, folder)


if __name__ == "__main__":
    exit_with_one_line(main)
