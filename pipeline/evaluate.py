"""Scores the student and all teachers once on the test split.

Reads   models/tinybert, models/teacher, data/raw/encoder (behind the frozen baseline), data/features
Writes  metrics/evaluate.json, metrics/predictions.csv, plots/evaluate (data and PNG)
Run     python -m pipeline.evaluate --features data/features --encoder data/raw/encoder --teacher models/teacher
        --model models/tinybert --metrics metrics/evaluate.json --predictions metrics/predictions.csv --plots plots/evaluate

The student's probabilities are calibrated by the temperature saved with it; the teachers' are as they are.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from scipy.special import log_softmax

from pipeline import artifacts, charts
from pipeline.calibration import reliability
from pipeline.command_line import read_paths
from pipeline.ensemble import PRODUCT, Ensemble
from pipeline.errors import exit_with_one_line
from pipeline.features import Queries, read_labels, read_split
from pipeline.inference import run_batches
from pipeline.metrics import DECIMALS, f1_per_class, score_with_intervals
from pipeline.params import Params, read_params
from pipeline.runtime import fix_runtime
from pipeline.student import load_student

STUDENT = "tinybert"
MODELS = (STUDENT, PRODUCT, "teacher_finetuned", "base_encoder", "bag_of_words")
CONFUSIONS = 30


class EvaluateParams(Params):
    """How `evaluate` measures."""

    bootstrap_samples: int = Field(ge=100, description="resamples behind each 95 % interval")
    calibration_bins: int = Field(ge=2, le=100, description="equal-width bins of the expected calibration error")
    threads: int = Field(ge=1, le=256, description="CPU threads; another number gives other bits")
    seed: int = Field(ge=0, description="seed of the bootstrap")


def write_predictions(path: Path, names: list[str], labels_N: np.ndarray, log_p: dict[str, np.ndarray], intents: list[str]) -> None:
    """Writes one row a query: id, label, the student's prediction and confidence, and the other models' predictions."""
    predicted = {model: values.argmax(axis=1) for model, values in log_p.items()}
    confidence = np.exp(log_p[STUDENT].max(axis=1))
    others = [model for model in MODELS if model != STUDENT]
    rows = [
        (names[i], intents[label], intents[predicted[STUDENT][i]], f"{confidence[i]:.6f}", *(intents[predicted[m][i]] for m in others))
        for i, label in enumerate(labels_N)
    ]
    with artifacts.whole_file(path) as partial:
        charts.write_table(partial, ["id", "label", "predicted", "confidence", *others], rows)


def write_plots(folder: Path, labels_N: np.ndarray, log_p_NC: np.ndarray, report: dict[str, Any], intents: list[str], bins: int) -> None:
    """Writes the data of every plot, and the plots."""
    predicted_N = log_p_NC.argmax(axis=1)
    f1_C = f1_per_class(labels_N, predicted_N, len(intents))
    occurring = [i for i in np.argsort(f1_C, kind="stable") if not np.isnan(f1_C[i])]
    charts.write_table(folder / "f1_by_intent.csv", ["intent", "f1"], [(intents[i], f"{f1_C[i]:.{DECIMALS}f}") for i in occurring])
    charts.draw_f1(folder)

    wrong = Counter((int(a), int(b)) for a, b in zip(labels_N, predicted_N, strict=True) if a != b)
    strongest = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:CONFUSIONS]
    charts.write_table(
        folder / "confusions.csv", ["intent", "predicted", "queries"], [(intents[a], intents[b], n) for (a, b), n in strongest]
    )
    charts.draw_confusions(folder)

    bands = reliability(np.exp(log_p_NC.max(axis=1)), predicted_N == labels_N, bins)
    charts.write_table(
        folder / "reliability.csv",
        ["queries", "confidence", "accuracy"],
        [(rows, f"{confidence:.{DECIMALS}f}", f"{accuracy:.{DECIMALS}f}") for rows, confidence, accuracy in bands],
    )
    charts.draw_reliability(folder)

    columns = ["parameters", "accuracy", "accuracy_low", "accuracy_high"]
    charts.write_table(
        folder / "accuracy_by_size.csv", ["model", *columns], [(name, *(row[key] for key in columns)) for name, row in report.items()]
    )
    charts.draw_size(folder)


def predict(args: argparse.Namespace, queries: Queries) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Log-probabilities of shape (N, classes) and number of parameters of every model, student first."""
    student, temperature = load_student(args.model)
    ensemble = Ensemble.load(args.teacher, args.encoder)
    log_p = {STUDENT: log_softmax(run_batches(student, queries.ids, "fp32") / temperature, axis=1)}
    log_p |= ensemble.log_probabilities(queries, "fp32")
    parameters = {STUDENT: student.num_parameters()} | ensemble.parameters()
    return {model: log_p[model] for model in MODELS}, parameters


def main() -> None:
    """Reads models and test features, predicts, scores, writes metrics, predictions and plots."""
    args = read_paths(__doc__, "--features", "--encoder", "--teacher", "--model", "--metrics", "--predictions", "--plots")
    params = read_params("evaluate", EvaluateParams)
    fix_runtime(params.threads, params.seed)

    intents = read_labels(args.features)
    queries, labels = read_split(args.features, "test")
    log_p, parameters = predict(args, queries)
    report = {
        model: {"parameters": parameters[model]}
        | score_with_intervals(values, labels, params.calibration_bins, params.bootstrap_samples, params.seed)
        for model, values in log_p.items()
    }
    with artifacts.whole_folder(args.plots) as folder:
        write_plots(folder, labels, log_p[STUDENT], report, intents, params.calibration_bins)
    write_predictions(args.predictions, queries.names, labels, log_p, intents)
    artifacts.write_json(args.metrics, report)
    for model, row in report.items():
        print(f"{model}: accuracy {row['accuracy']:.4f} [{row['accuracy_low']:.4f}, {row['accuracy_high']:.4f}]", flush=True)


if __name__ == "__main__":
    exit_with_one_line(main)
