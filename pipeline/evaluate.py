"""Scores the student and all teachers once on the test split, and chooses below which confidence a query goes to a person.

Reads   models/tinybert, models/teacher, data/raw/encoder (behind the frozen baseline), data/features, and the out-of-scope texts
        that its params name
Writes  metrics/evaluate.json, metrics/abstention.json, metrics/predictions.csv, plots/evaluate (data and PNG)
Run     python -m pipeline.evaluate --features data/features --encoder data/raw/encoder --teacher models/teacher
        --model models/tinybert --metrics metrics/evaluate.json --abstention metrics/abstention.json
        --predictions metrics/predictions.csv --plots plots/evaluate

The student's probabilities are calibrated by the temperature saved with it; the teachers' are as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from scipy.special import log_softmax
from tokenizers import Tokenizer

from pipeline import artifacts, charts
from pipeline.abstention import Thresholds, choose_thresholds, measure_out_of_scope, measure_with_intervals, risk_coverage
from pipeline.artifacts import STUDENT
from pipeline.batching import Ids
from pipeline.calibration import reliability
from pipeline.command_line import read_paths
from pipeline.csv_files import write_table
from pipeline.ensemble import NAMES, Ensemble
from pipeline.errors import exit_with_one_line
from pipeline.features import read_labels, read_split
from pipeline.inference import run_batches
from pipeline.metrics import DECIMALS, f1_per_class, score_with_intervals
from pipeline.params import Params, read_params
from pipeline.runtime import fix_runtime
from pipeline.sources import read_csv
from pipeline.student import load_student
from pipeline.tokens import encode

MODELS = (STUDENT, *reversed(NAMES))
CONFUSIONS = 30


class EvaluateParams(Params):
    """How `evaluate` measures."""

    bootstrap_samples: int = Field(ge=100, description="resamples behind each 95 % interval that is not of a proportion")
    calibration_bins: int = Field(ge=2, le=100, description="equal-width bins of the expected calibration error")
    target_accuracy: float = Field(gt=0, le=1, description="accuracy among the accepted, for which the confidence threshold is chosen")
    coverage: float = Field(gt=0, lt=1, description="share of label sets that must contain the true label")
    threshold: float | None = Field(
        ge=0, le=1, description="confidence below which a query goes to a person (1: always); null: chosen on validation"
    )
    label_threshold: float | None = Field(
        ge=0, le=1, description="least probability for a label to be in a query's set; null: chosen on validation"
    )
    out_of_scope: str = Field(description="CSV of out-of-scope texts (columns `text` and `kind`), only to measure how many are accepted")
    threads: int = Field(ge=1, le=256, description="CPU threads; another number gives other bits")
    seed: int = Field(ge=0, lt=2**32, description="seed of the bootstrap")


def write_predictions(path: Path, names: list[str], labels_N: np.ndarray, log_p: dict[str, np.ndarray], intents: list[str]) -> None:
    """Writes one row per query: id, label, the student's prediction and confidence, and the other models' predictions."""
    predicted = {model: values.argmax(axis=1) for model, values in log_p.items()}
    confidence = np.exp(log_p[STUDENT].max(axis=1))
    others = [model for model in MODELS if model != STUDENT]
    rows = [
        (names[i], intents[label], intents[predicted[STUDENT][i]], f"{confidence[i]:.6f}", *(intents[predicted[m][i]] for m in others))
        for i, label in enumerate(labels_N)
    ]
    with artifacts.whole_file(path) as partial:
        write_table(partial, [*artifacts.PREDICTION_COLUMNS, *others], rows)


def write_plots(folder: Path, labels_N: np.ndarray, log_p_NC: np.ndarray, report: dict[str, Any], intents: list[str], bins: int) -> None:
    """Writes the data of every plot, and the plots."""
    predicted_N = log_p_NC.argmax(axis=1)
    f1_C = f1_per_class(labels_N, predicted_N, len(intents))
    occurring = [i for i in np.argsort(f1_C, kind="stable") if not np.isnan(f1_C[i])]
    write_table(folder / "f1_by_intent.csv", ["intent", "f1"], [(intents[i], f"{f1_C[i]:.{DECIMALS}f}") for i in occurring])
    charts.draw_f1(folder)

    wrong = Counter((int(a), int(b)) for a, b in zip(labels_N, predicted_N, strict=True) if a != b)
    strongest = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:CONFUSIONS]
    write_table(folder / "confusions.csv", ["intent", "predicted", "queries"], [(intents[a], intents[b], n) for (a, b), n in strongest])
    charts.draw_confusions(folder)

    bands = reliability(np.exp(log_p_NC.max(axis=1)), predicted_N == labels_N, bins)
    write_table(
        folder / "reliability.csv",
        ["queries", "confidence", "accuracy"],
        [(rows, f"{confidence:.{DECIMALS}f}", f"{accuracy:.{DECIMALS}f}") for rows, confidence, accuracy in bands],
    )
    charts.draw_reliability(folder)

    columns = ["parameters", "accuracy", "accuracy_low", "accuracy_high"]
    write_table(
        folder / "accuracy_by_size.csv", ["model", *columns], [(name, *(row[key] for key in columns)) for name, row in report.items()]
    )
    charts.draw_size(folder)


def write_risk_coverage(
    folder: Path, p_NC: np.ndarray, labels_N: np.ndarray, p_OC: np.ndarray, thresholds: Thresholds, target: float
) -> None:
    """Writes what every confidence threshold would do to test queries and to out-of-scope texts, and its plot."""
    rows = [tuple(f"{value:.{DECIMALS}f}" for value in row) for row in risk_coverage(p_NC, labels_N, p_OC)]
    write_table(folder / "risk_coverage.csv", ["threshold", "accepted", "accuracy", "out_of_scope"], rows)
    charts.draw_risk_coverage(folder, thresholds.confidence, target)


def read_out_of_scope(path: Path, tokenizer_file: Path) -> tuple[list[np.ndarray], list[str]]:
    """Word-piece ids and kinds of out-of-scope texts."""
    rows = read_csv(path, "text", "kind", remedy="evaluate.out_of_scope must have the columns text and kind")
    return encode(Tokenizer.from_file(str(tokenizer_file)), [row.text for row in rows]), [row.intent for row in rows]


def choose(answer: Callable[[Ids], np.ndarray], features: Path, params: EvaluateParams) -> Thresholds:
    """When the student asks a person, and which labels it names: chosen on validation, or as the params say."""
    validation, labels_N = read_split(features, "validation")
    in_train = validation.overlaps(read_split(features, "train")[0])
    given = (params.threshold, params.label_threshold)
    return choose_thresholds(np.exp(answer(validation.ids)), labels_N, params.target_accuracy, params.coverage, given, in_train)


def main() -> None:
    """Reads models and features, predicts, scores, writes metrics, predictions and plots."""
    args = read_paths(__doc__, "--features", "--encoder", "--teacher", "--model", "--metrics", "--abstention", "--predictions", "--plots")
    params = read_params("evaluate", EvaluateParams)
    fix_runtime(params.threads, params.seed)

    intents = read_labels(args.features)
    queries, labels = read_split(args.features, "test")
    strangers, kinds = read_out_of_scope(Path(params.out_of_scope), args.model / artifacts.TOKENIZER_FILE)
    student, temperature = load_student(args.model)

    def answer(ids: Ids) -> np.ndarray:
        log_p_NC: np.ndarray = log_softmax(run_batches(student, ids, "fp32") / temperature, axis=1)
        return log_p_NC

    thresholds = choose(answer, args.features, params)
    ensemble = Ensemble.load(args.teacher, args.encoder)
    log_p = {STUDENT: answer(queries.ids)} | ensemble.log_probabilities(queries, "fp32")
    parameters = {STUDENT: student.num_parameters()} | ensemble.parameters()
    report = {
        model: {"parameters": parameters[model]}
        | score_with_intervals(log_p[model], labels, params.calibration_bins, params.bootstrap_samples, params.seed)
        for model in MODELS
    }
    p_NC, p_OC = np.exp(log_p[STUDENT]), np.exp(answer(strangers))
    figures = measure_with_intervals(p_NC, labels, thresholds, params.bootstrap_samples, params.seed)
    abstention = {
        "target_accuracy": params.target_accuracy,
        "threshold": thresholds.confidence,
        "conformal": {"coverage": params.coverage, "threshold": thresholds.label_threshold},
        "test": figures,
        "out_of_scope": measure_out_of_scope(p_NC, p_OC, kinds, thresholds.confidence),
    }
    with artifacts.whole_folder(args.plots) as folder:
        write_plots(folder, labels, log_p[STUDENT], report, intents, params.calibration_bins)
        write_risk_coverage(folder, p_NC, labels, p_OC, thresholds, params.target_accuracy)
    write_predictions(args.predictions, queries.names, labels, log_p, intents)
    artifacts.write_json(args.metrics, report)
    artifacts.write_json(args.abstention, abstention)
    for model, row in report.items():
        print(f"{model}: accuracy {row['accuracy']:.4f} [{row['accuracy_low']:.4f}, {row['accuracy_high']:.4f}]", flush=True)
    print(f"{STUDENT}: {figures['accepted']:.4f} accepted, accuracy among them {figures['accepted_accuracy']:.4f}", flush=True)


if __name__ == "__main__":
    exit_with_one_line(main)
