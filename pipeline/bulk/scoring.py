"""Answers to the rows of a part, as columns beside the rows' own: the one function behind a process pool and Ray Data."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import artifacts
from pipeline.bulk.records import Part
from pipeline.errors import UserError
from pipeline.serving.classifier import Classifier

DIGITS = 6
ANSWERS = pa.schema(
    [
        ("label", pa.string()),
        ("confidence", pa.float64()),
        ("accepted", pa.bool_()),
        ("label_set", pa.list_(pa.string())),
        ("truncated", pa.bool_()),
        ("top", pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float64())]))),
        ("problem", pa.string()),  # why there is no answer: the others are null then
    ]
)


def check_names(path: Path, part: Part) -> None:
    """Makes sure that no answer would replace what the rows hold.

    Raises:
        UserError: a column, or a key of a JSONL object, has the name of a column of ours.
    """
    taken = sorted(part.names & set(ANSWERS.names))
    if taken:
        raise UserError(f"{path}: column '{taken[0]}' would also be a column of the output: rename it in the input")


def score(classifier: Classifier, part: Part, top_k: int) -> pa.Table:
    """The rows of a part with the columns of `ANSWERS` behind their own."""
    good = [i for i, problem in enumerate(part.problems) if problem is None]
    rows: list[dict[str, Any]] = [{"problem": problem} for problem in part.problems]
    for i, answer in zip(good, classifier.answer([part.texts[i] for i in good], top_k), strict=True):
        rows[i] |= {
            "label": answer.label,
            "confidence": round(answer.confidence, DIGITS),
            "accepted": answer.accepted,
            "label_set": list(answer.label_set),
            "truncated": answer.truncated,
            "top": [{"label": label, "probability": round(probability, DIGITS)} for label, probability in answer.top],
        }
    answers = pa.Table.from_pylist(rows, schema=ANSWERS)
    names = [*part.rows.column_names, *ANSWERS.names]
    return pa.table([*part.rows.columns, *answers.columns], names=names).replace_schema_metadata(part.rows.schema.metadata)


@cache
def load(model: Path) -> Classifier:
    """One classifier a process."""
    return Classifier.load(model, threads=1)


def score_part(model: Path, top_k: int, part: Part, target: Path) -> None:
    """Scores a part and writes it whole."""
    table = score(load(model), part, top_k)
    with artifacts.whole_file(target) as partial:
        pq.write_table(table, partial)
