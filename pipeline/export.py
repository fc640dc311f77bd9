"""Exports the student as ONNX graphs that need no torch, and fails if the fp32 graph does not agree with the checkpoint.

Reads   models/tinybert, data/features (the whole test split, and training queries that tell how large activations are),
        metrics/abstention.json (when to ask a person)
Writes  models/onnx (graphs in float32 and int8, tokenizer, labels, manifest); metrics/export.json
Run     python -m pipeline.export --features data/features --model models/tinybert --abstention metrics/abstention.json
        --onnx models/onnx --metrics metrics/export.json

Both graphs are written; the one that the params name is served, int8 only when it agrees with the checkpoint within bounds.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from pipeline import artifacts
from pipeline.abstention import Thresholds, measure
from pipeline.command_line import read_paths
from pipeline.decision import probabilities
from pipeline.errors import UserError, exit_with_one_line
from pipeline.features import read_labels, read_split
from pipeline.inference import run_batches
from pipeline.manifest import Conformal, Manifest, record
from pipeline.metrics import DECIMALS, accuracy, macro_f1
from pipeline.onnx_graph import export_graph
from pipeline.onnx_session import open_session, order_by_length, run_session
from pipeline.params import Params, read_params
from pipeline.quantize import quantize
from pipeline.runtime import fix_runtime
from pipeline.student import load_student

LARGEST_DIFFERENCE = 1e-4  # of a float32 logit up to 10 from the checkpoint's: rounding makes about 1e-5, of larger ones more in proportion
CHECKPOINT = ("config.json", "model.safetensors", artifacts.TOKENIZER_FILE, artifacts.CALIBRATION)
VERSIONS = ("numpy", "onnx", "onnxruntime", "onnxscript", "tokenizers", "torch", "transformers")


class ExportParams(Params):
    """Which graph `export` means to serve, and what it asks of the int8 graph."""

    graph: Literal["int8", "fp32"] = Field(description="the graph to serve; int8 only if it is within the two bounds below, else fp32")
    int8_agreement: float = Field(
        ge=0, le=1, description="share of test queries on which the int8 graph must answer as the checkpoint does"
    )
    int8_accuracy_loss: float = Field(ge=0, le=1, description="how much lower its test accuracy may be; else the fp32 graph is served")
    seed: int = Field(ge=0, lt=2**32, description="seed of the batches that measure what batch-mates change")


class Checkpoint(NamedTuple):
    """The N queries of the test split, the checkpoint's logits of them, and how it decides."""

    ids: list[np.ndarray]
    labels_N: np.ndarray  # noqa: N815 (a shape suffix)
    logits_NC: np.ndarray  # noqa: N815
    temperature: float
    thresholds: Thresholds


def compare(graph: bytes, checkpoint: Checkpoint, seed: int) -> dict[str, float]:
    """What a graph does to the test split, beside the checkpoint.

    Returns:
        ``bytes``; ``accuracy`` and ``macro_f1``; ``agreement`` with the checkpoint's answers; ``max_logit_difference`` from its logits;
        ``max_batch_effect``: the largest change of a calibrated probability between a query alone and among batch-mates of like and of
        any length; and what the thresholds do (``abstention.measure``).
    """
    ids, labels_N, reference_NC, temperature, thresholds = checkpoint
    session = open_session(graph, threads=1)
    logits_NC = run_session(session, ids, order_by_length(ids))
    any_length = np.random.default_rng(seed).permutation(len(ids))
    p_NC, alone_NC, among_NC = (
        probabilities(values, temperature)
        for values in (logits_NC, run_session(session, ids, range(len(ids)), batch_size=1), run_session(session, ids, any_length))
    )
    predicted_N = logits_NC.argmax(axis=1)
    figures = {
        "accuracy": accuracy(labels_N, predicted_N),
        "macro_f1": macro_f1(labels_N, predicted_N, logits_NC.shape[1]),
        "agreement": accuracy(reference_NC.argmax(axis=1), predicted_N),
        **measure(p_NC, labels_N, thresholds),
    }
    small = {
        "max_logit_difference": np.abs(logits_NC - reference_NC).max(),
        "max_batch_effect": max(np.abs(alone_NC - other).max() for other in (p_NC, among_NC)),
    }
    return (
        {"bytes": len(graph)}
        | {key: round(value, DECIMALS) for key, value in figures.items()}
        | {key: float(f"{value:.2g}") for key, value in small.items()}
    )


def choose_graph(report: dict[str, Any], params: ExportParams, largest_logit: float) -> str:
    """The graph to serve: ``int8`` where the params ask for it and it is within their bounds, else ``fp32``.

    Args:
        report: what ``compare`` found of both graphs, and the checkpoint's accuracy.
        params: the bounds.
        largest_logit: of the checkpoint, as an absolute value.

    Raises:
        UserError: the float32 graph differs from the checkpoint.
    """
    difference = report["fp32"]["max_logit_difference"]
    allowed = LARGEST_DIFFERENCE * max(1.0, largest_logit / 10)
    if not difference <= allowed:
        raise UserError(
            f"models/onnx: a logit of the fp32 graph differs by {difference} from the checkpoint's, {allowed:.2g} is allowed: "
            "nothing was written: this is a defect of export or of a library's version, please report it"
        )
    loss = round(report["checkpoint"]["accuracy"] - report["int8"]["accuracy"], DECIMALS)
    fits = report["int8"]["agreement"] >= params.int8_agreement and loss <= params.int8_accuracy_loss
    return "int8" if fits and params.graph == "int8" else "fp32"


def write_folder(
    folder: Path, graphs: dict[str, bytes], labels: list[str], model: Path, report: dict[str, Any], abstention: dict[str, Any]
) -> None:
    """Fills ``models/onnx``; the manifest names every other file with its hash."""
    for name, graph in graphs.items():
        (folder / artifacts.graph_file(name)).write_bytes(graph)
    shutil.copyfile(model / artifacts.TOKENIZER_FILE, folder / artifacts.TOKENIZER_FILE)
    artifacts.write_json(folder / artifacts.LABELS, labels)
    calibration = artifacts.read_json(model / artifacts.CALIBRATION)
    manifest = Manifest(
        format=1,
        files={path.name: record(path) for path in sorted(folder.iterdir())},
        graph=report["served"],
        labels=len(labels),
        max_tokens=calibration["max_tokens"],
        temperature=calibration["temperature"],
        threshold=abstention["threshold"],
        target_accuracy=abstention["target_accuracy"],
        conformal=Conformal(coverage=abstention["conformal"]["coverage"], threshold=abstention["conformal"]["threshold"]),
        checkpoint={name: record(model / name).sha256 for name in CHECKPOINT},
        versions={name: importlib.metadata.version(name) for name in VERSIONS},
        metrics=report,
    )
    artifacts.write_json(folder / artifacts.MANIFEST, manifest.model_dump())


def main() -> None:
    """Reads checkpoint and test features, makes both graphs, compares, writes or refuses."""
    args = read_paths(__doc__, "--features", "--model", "--abstention", "--onnx", "--metrics")
    params = read_params("export", ExportParams)
    fix_runtime(1, params.seed)

    labels = read_labels(args.features)
    queries, labels_N = read_split(args.features, "test")
    abstention = artifacts.read_json(args.abstention)
    student, temperature = load_student(args.model)
    thresholds = Thresholds(abstention["threshold"], abstention["conformal"]["threshold"])
    checkpoint = Checkpoint(queries.ids, labels_N, run_batches(student, queries.ids, "fp32"), temperature, thresholds)
    predicted_N = checkpoint.logits_NC.argmax(axis=1)
    graph = export_graph(student, labels, artifacts.read_json(args.model / artifacts.CALIBRATION)["max_tokens"])
    small = quantize(graph, read_split(args.features, "train")[0].ids)
    graphs = {name: model.SerializeToString(deterministic=True) for name, model in (("fp32", graph), ("int8", small))}
    report: dict[str, Any] = {
        "queries": len(queries),
        "checkpoint": {
            "accuracy": round(accuracy(labels_N, predicted_N), DECIMALS),
            "macro_f1": round(macro_f1(labels_N, predicted_N, len(labels)), DECIMALS),
        },
    }
    for name, content in graphs.items():
        report[name] = compare(content, checkpoint, params.seed)
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in report[name].items()), flush=True)
    report = {"served": choose_graph(report, params, float(np.abs(checkpoint.logits_NC).max()))} | report
    with artifacts.whole_folder(args.onnx) as folder:
        write_folder(folder, graphs, labels, args.model, report, abstention)
    artifacts.write_json(args.metrics, report)
    print(f"served: {report['served']}", flush=True)


if __name__ == "__main__":
    exit_with_one_line(main)
