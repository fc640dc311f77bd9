"""Answers to the rows of a part, as columns beside the rows' own: the one function behind a process pool and Ray Data."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

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
        ("top", pa.list_(pa.struct([("label", pa.string()), ("confidence", pa.float64())]))),
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
        rows[i] |= answer.as_record()
        for rounded in (rows[i], *rows[i]["top"]):
            rounded["confidence"] = round(rounded["confidence"], DIGITS)
    answers = pa.Table.from_pylist(rows, schema=ANSWERS)
    schema = pa.schema([*part.rows.schema, *ANSWERS], part.rows.schema.metadata)
    return pa.table([*part.rows.columns, *answers.columns], schema=schema)


class Model(NamedTuple):
    """The model that has to answer every part of a job."""

    folder: Path
    sha256: str  # of its manifest
    graph: str


@cache
def load(model: Model) -> Classifier:
    """One classifier a process.

    Raises:
        UserError: the folder does not hold this model any more, or this machine runs another graph of it.
    """
    classifier = Classifier.load(model.folder, threads=1)
    if classifier.sha256 != model.sha256:
        raise UserError(f"{model.folder}: the model was replaced while it was at work: run again")
    if classifier.graph != model.graph:
        raise UserError(
            f"{model.folder}: one machine runs the {model.graph} graph, another {classifier.graph}: `dvc exp run -S export.graph=fp32`"
        )
    return classifier


def is_scored(target: Path) -> bool:
    """Whether a part is there and whole: a machine that lost its power may leave an empty one."""
    try:
        pq.read_metadata(target)
    except (OSError, pa.ArrowException):
        return False
    return True


def score_part(model: Model, top_k: int, part: Part, target: Path) -> None:
    """Scores a part and writes it whole."""
    table = score(load(model), part, top_k)
    with artifacts.whole_file(target) as partial:
        pq.write_table(table, partial)
