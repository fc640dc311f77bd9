"""What a run left in a revision, read and checked: metrics, predictions, params, lock, plots' data. All of it may be absent."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, TypeVar

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter

from pipeline.artifacts import SAMPLE, STUDENT, models_of
from pipeline.calibration import expected_calibration_error
from pipeline.lock import LOCK, Lock, differing, flatten, outputs, parse_lock
from pipeline.metrics import DECIMALS, accuracy, macro_f1
from pipeline.paired import pair
from pipeline.params import PARAMS_FILE
from pipeline.revisions import Revision
from pipeline.rows import read_records

METRICS, DATA, MACHINE = "metrics/evaluate.json", "metrics/data.json", "metrics/machine.json"
PREDICTIONS, PARAMS = "metrics/predictions.csv", str(PARAMS_FILE)
REFERENCES = "metrics/reference"  # runs over seeds, and what benchmarks recorded
PYPROJECT, REQUIREMENTS = "pyproject.toml", "requirements.lock"
RELIABILITY = "plots/evaluate/reliability.csv"
CURVES = {"training loss": "plots/train/loss.tsv", "validation accuracy": "plots/train/validation_accuracy.tsv"}
DATASET = "data/raw/dataset"  # the output whose hash says that two ids mean the same row
BINS = "evaluate.calibration_bins"
ROUNDING, ECE_TOLERANCE = 0.5 * 10**-DECIMALS, 1e-5

Fraction = Annotated[float, Field(ge=0, le=1)]
Parsed = TypeVar("Parsed")


class Prediction(BaseModel):
    """A test query: where it stands in its file, its intent, and what the student said; the other columns are kept as they are."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str] = Field(init=False)

    id: str
    label: str
    predicted: str
    confidence: Fraction


class Band(BaseModel):
    """A bin of the reliability diagram."""

    queries: int = Field(ge=0)
    confidence: Fraction
    accuracy: Fraction


class Results(NamedTuple):
    """Everything a report reads of one revision; empty where a file is missing, and told in ``problems`` where it cannot be read."""

    metrics: dict[str, dict[str, float]]  # by model, then metric
    predictions: list[Prediction]
    params: dict[str, Any]  # dotted keys
    data: dict[str, Any]  # dotted keys
    machine: dict[str, Any]
    lock: Lock
    reliability: list[Band]
    curves: dict[str, list[tuple[int, float]]]  # by title: step and value
    budgets: dict[str, Any]
    packages: dict[str, str]  # locked versions
    texts: dict[str, str]  # by id; of the repository's own sample, and of nothing else
    problems: dict[str, str]  # by file

    @property
    def dataset(self) -> str | None:
        """The hash of the rows that ids name."""
        entry = outputs(self.lock).get(DATASET)
        return None if entry is None else entry.md5


def read_results(revision: Revision) -> Results:
    """Reads what a revision has."""
    problems: dict[str, str] = {}

    def read(path: str, parse: Callable[[bytes], Parsed], absent: Parsed) -> Parsed:
        content = revision.read(path)
        if content is None:
            problems[path] = "no such file"
            return absent
        try:
            return parse(content)
        except (ValueError, yaml.YAMLError, csv.Error) as error:  # pydantic's, json's and codecs' errors are ValueErrors
            problems[path] = " ".join(str(error).split())
            return absent

    params: dict[str, Any] = read(PARAMS, lambda content: flatten(_mapping(yaml.safe_load(content))), {})
    own = params.get("fetch.train") == SAMPLE and params.get("fetch.test") in (SAMPLE, None)
    tool: dict[str, Any] = read(PYPROJECT, lambda content: _mapping(tomllib.loads(content.decode()).get("tool", {})), {})
    packages: dict[str, str] = read(PYPROJECT, parse_packages, {})
    locked: dict[str, str] = read(REQUIREMENTS, parse_packages, {})
    return Results(
        metrics=read(METRICS, TypeAdapter(dict[str, dict[str, FiniteFloat]]).validate_json, {}),
        predictions=read(PREDICTIONS, parse_predictions, []),
        params=params,
        data=read(DATA, lambda content: flatten(_mapping(json.loads(content))), {}),
        machine=read(MACHINE, lambda content: _mapping(json.loads(content)), {}),
        lock=read(LOCK, parse_lock, {}),
        reliability=read(RELIABILITY, lambda content: TypeAdapter(list[Band]).validate_python(_rows(content)), []),
        curves={title: read(path, parse_curve, []) for title, path in CURVES.items()},
        budgets=flatten(tool.get("budgets", {})),
        packages=packages | locked,
        texts=read(SAMPLE, parse_texts, {}) if own else {},
        problems=problems,
    )


def is_of_recipe(run: dict[str, Any], params: dict[str, Any]) -> bool:
    """Whether a reference run had these params (dotted keys), but for the seeds that it varied."""
    return set(differing(flatten(run["params"]), params)) <= set(run.get("varied", ["train.seed"]))


def contradictions(results: Results) -> list[str]:
    """Where the metrics are not what the predictions give, counted anew: accuracy and macro-F1 of every model, the student's ECE.

    Returns:
        One line each, for example ``tinybert: accuracy is 0.9, by metrics/predictions.csv 0.840909``.
    """
    if unread := [f"{path}: {results.problems[path]}" for path in (METRICS, PREDICTIONS) if path in results.problems]:
        return unread
    rows = [row.model_dump() for row in results.predictions]
    columns = {model: [row[column] for row in rows] for model, column in models_of((rows or [{}])[0]).items()}
    lines = [f"{model}: not in both {METRICS} and {PREDICTIONS}" for model in sorted(columns.keys() ^ results.metrics.keys())]
    for model in [model for model in results.metrics if model in columns]:
        pairs = pair([], [row["label"] for row in rows], columns[model], columns[model])
        counted = accuracy(pairs.labels_N, pairs.after_N), macro_f1(pairs.labels_N, pairs.after_N, len(pairs.intents))
        for metric, value in zip(("accuracy", "macro_f1"), counted, strict=True):
            if results.metrics[model].get(metric) != round(value, DECIMALS):
                lines.append(f"{model}: {metric} is {results.metrics[model].get(metric)}, by {PREDICTIONS} {value:.{DECIMALS}f}")
    return lines + (_calibration(results) if STUDENT in columns and STUDENT in results.metrics else [])


def _calibration(results: Results) -> list[str]:
    bins, written = results.params.get(BINS), results.metrics[STUDENT].get("ece", math.nan)
    if not isinstance(bins, int) or bins < 1:
        return [f"{PARAMS}: {BINS}: {bins}, so that the calibration error cannot be counted"]
    right_N = np.array([row.predicted == row.label for row in results.predictions])
    confidence_N = np.array([row.confidence for row in results.predictions])
    # confidences are written to six decimals: one at the border of two bins may have been in either
    counted = [expected_calibration_error(confidence_N + shift, right_N, bins) for shift in (0, -ROUNDING, ROUNDING)]
    if any(abs(value - written) <= ECE_TOLERANCE for value in counted):
        return []
    return [f"{STUDENT}: ece is {written}, by {PREDICTIONS} {counted[0]:.{DECIMALS}f}"]


def parse_predictions(content: bytes) -> list[Prediction]:
    """The rows of ``metrics/predictions.csv``.

    Raises:
        ValueError: a column is missing, or an id occurs twice.
    """
    rows = TypeAdapter(list[Prediction]).validate_python(_rows(content))
    if len({row.id for row in rows}) < len(rows):
        raise ValueError("an id occurs twice")
    return rows


def parse_curve(content: bytes) -> list[tuple[int, float]]:
    """Step and value of every row of a curve's TSV, whose last column is the value."""
    return TypeAdapter(list[tuple[int, FiniteFloat]]).validate_python(
        [(row.get("step"), row[list(row)[-1]]) for row in _rows(content, "\t")]
    )


def parse_packages(content: bytes) -> dict[str, str]:
    """The exact versions that ``requirements.lock`` or ``pyproject.toml`` names."""
    return dict(re.findall(r"""(?:^|["'\s])([\w.-]+)==([^\s\\;"',]+)""", content.decode()))


def parse_texts(content: bytes) -> dict[str, str]:
    """The sample's texts by the ids that ``prepare`` gives them: the line of the file a row starts on."""
    records = read_records(io.StringIO(content.decode(), newline=""))
    _, header = next(records, (1, []))
    if "text" not in header:
        raise ValueError("no column 'text'")
    at = header.index("text")
    return {f"train.csv:{line}": fields[at] for line, fields in records if len(fields) > at}


def _rows(content: bytes, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline=""), delimiter=delimiter))


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("not a mapping")
    return dict(value)
