"""Tokenizes every text once, and makes and tokenizes the augmented copies of the training queries.

Reads   data/prepared, data/raw/encoder (its tokenizer)
Writes  data/features/{train,validation,test,augmented}.parquet (columns id, text, input_ids, and label but for augmented),
        data/features/labels.json, data/features/tokenizer; metrics/features.json
Run     python -m pipeline.featurize --prepared data/prepared --encoder data/raw/encoder --features data/features
        --metrics metrics/features.json

Ids are unpadded: padding happens per batch, by length. Row ``c * N + i`` of the augmented table is copy ``c`` of training row ``i``.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field
from tokenizers import Encoding

from pipeline import artifacts
from pipeline.augment import augment
from pipeline.command_line import read_paths
from pipeline.errors import exit_with_one_line
from pipeline.params import Params, read_params
from pipeline.tokens import load_tokenizer


class FeaturizeParams(Params):
    """How `featurize` tokenizes and augments."""

    max_tokens: int = Field(ge=8, le=512, description="word pieces kept of a query, [CLS] and [SEP] included")
    augmented_copies: int = Field(ge=0, le=64, description="augmented copies made of each training query")
    seed: int = Field(ge=0, description="seed of the augmentation")


def token_ids(encodings: Sequence[Encoding]) -> pa.Array:
    """A ragged array of word-piece ids, [CLS] and [SEP] included."""
    return pa.array([encoding.ids for encoding in encodings], pa.list_(pa.int32()))


def describe_lengths(encodings: Sequence[Encoding]) -> dict[str, float]:
    """Counts word pieces a query, and the queries that were cut."""
    lengths = np.array([len(encoding.ids) for encoding in encodings])
    cut = sum(bool(encoding.overflowing) for encoding in encodings)
    return {"mean_tokens": round(float(lengths.mean()), 4), "most_tokens": int(lengths.max()), "cut": cut}


def main() -> None:
    """Reads the splits, tokenizes, augments, writes the feature tables."""
    args = read_paths(__doc__, "--prepared", "--encoder", "--features", "--metrics")
    params = read_params("featurize", FeaturizeParams)

    tokenizer = load_tokenizer(args.encoder, params.max_tokens)
    report: dict[str, Any] = {"max_tokens": params.max_tokens}
    with artifacts.whole_folder(args.features) as folder:
        for split in artifacts.SPLITS:
            table = pq.read_table(args.prepared / artifacts.split_table(split))
            encodings = tokenizer.encode_batch(table["text"].to_pylist())
            pq.write_table(table.append_column("input_ids", token_ids(encodings)), folder / artifacts.split_table(split))
            report[split] = describe_lengths(encodings)
            print(f"{split}: {table.num_rows} queries, {report[split]['cut']} cut at {params.max_tokens} word pieces", flush=True)
            if split == "train":
                print(f"augmented copies: {params.augmented_copies} of each query; train.copies_per_epoch can ask for no more", flush=True)
                copies = augment(table["text"].to_pylist(), params.augmented_copies, params.seed)
                names = [f"{name}#{copy}" for copy in range(params.augmented_copies) for name in table["id"].to_pylist()]
                columns = [pa.array(names, pa.string()), pa.array(copies, pa.string()), token_ids(tokenizer.encode_batch(copies))]
                pq.write_table(pa.table(columns, names=["id", "text", "input_ids"]), folder / artifacts.AUGMENTED)
        shutil.copyfile(args.prepared / artifacts.LABELS, folder / artifacts.LABELS)
        tokenizer_folder = folder / artifacts.TOKENIZER
        tokenizer_folder.mkdir()
        tokenizer.save(str(tokenizer_folder / artifacts.TOKENIZER_FILE))
        shutil.copyfile(args.encoder / artifacts.VOCABULARY, tokenizer_folder / artifacts.VOCABULARY)
    artifacts.write_json(args.metrics, report)


if __name__ == "__main__":
    exit_with_one_line(main)
