from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from small_models import LABELS, MAX_TOKENS, TEMPERATURE, export, write_project

from pipeline.errors import UserError
from pipeline.export import ExportParams, choose_graph
from pipeline.features import read_split
from pipeline.inference import run_batches
from pipeline.manifest import read_manifest
from pipeline.onnx_session import multiplies_bytes, open_session, order_by_length, run_session
from pipeline.quantize import quantize
from pipeline.student import load_student

PARAMS = ExportParams(graph="int8", int8_agreement=0.995, int8_accuracy_loss=0.002, seed=1)


def report(difference: float = 1e-6, agreement: float = 1.0, accuracy: float = 0.9) -> dict[str, dict[str, float]]:
    return {
        "checkpoint": {"accuracy": 0.9},
        "fp32": {"max_logit_difference": difference},
        "int8": {"agreement": agreement, "accuracy": accuracy},
    }


def test_the_folder_holds_what_the_manifest_says_and_the_metrics(project: Path) -> None:
    manifest = read_manifest(project / "models/onnx")
    assert set(manifest.files) == {"fp32.onnx", "int8.onnx", "labels.json", "tokenizer.json"}
    assert (manifest.labels, manifest.max_tokens, manifest.temperature) == (len(LABELS), MAX_TOKENS, TEMPERATURE)
    assert (manifest.threshold, manifest.target_accuracy, manifest.conformal.threshold) == (0.6, 0.98, 0.1)
    assert set(manifest.checkpoint) == {"config.json", "model.safetensors", "tokenizer.json", "calibration.json"}
    metrics = json.loads((project / "metrics/export.json").read_text())
    assert manifest.metrics == metrics
    assert metrics["fp32"]["bytes"] == (project / "models/onnx/fp32.onnx").stat().st_size
    assert metrics["fp32"]["agreement"] == 1
    assert metrics["int8"]["coverage"] <= 1 <= metrics["int8"]["mean_labels"]
    assert metrics["fp32"]["max_batch_effect"] < 1e-5


@pytest.mark.slow
def test_the_same_checkpoint_gives_the_same_bytes_wherever_it_lies(project: Path, tmp_path: Path) -> None:
    write_project(tmp_path / "elsewhere")
    export(tmp_path / "elsewhere")
    first, second = (
        {path.name: path.read_bytes() for path in (folder / "models/onnx").iterdir()} for folder in (project, tmp_path / "elsewhere")
    )
    assert first == second
    assert str(Path.cwd()).encode() not in first["fp32.onnx"]


def test_both_graphs_answer_the_test_split_as_the_checkpoint_does(project: Path) -> None:
    queries, _ = read_split(project / "data/features", "test")
    expected = run_batches(load_student(project / "models/tinybert")[0], queries.ids, "fp32")
    for name, bound in (("fp32", 1e-5), ("int8", 0.2)):
        session = open_session((project / f"models/onnx/{name}.onnx").read_bytes(), threads=1)
        logits = run_session(session, queries.ids, order_by_length(queries.ids), batch_size=7)
        assert logits.dtype == np.float32
        assert np.abs(logits - expected).max() < bound
        alone = run_session(session, queries.ids, range(len(queries)), batch_size=1)
        assert np.abs(alone - logits).max() < 1e-4


def test_the_int8_graph_is_small_and_its_weights_are_bytes(project: Path) -> None:
    tables = {item.name: item for item in onnx.load(project / "models/onnx/int8.onnx").graph.initializer}
    large = [item for item in tables.values() if np.prod(item.dims) > 512 and "pooler" not in item.name]
    assert {item.data_type for item in large} <= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}


def test_the_int8_graph_is_measured_on_training_queries_and_not_on_those_that_judge_it(project: Path) -> None:
    graph = onnx.load(project / "models/onnx/fp32.onnx")
    small = {
        split: quantize(graph, read_split(project / "data/features", split)[0].ids).SerializeToString(deterministic=True)
        for split in ("train", "test")
    }
    assert (project / "models/onnx/int8.onnx").read_bytes() == small["train"] != small["test"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other CPUs multiply bytes exactly")
@pytest.mark.parametrize(
    ("flags", "exact"), [("fma avx2 avx512f", False), ("avx2 avx512_vnni amx_int8", True), ("avx2 avx_vnni", True), (None, False)]
)
def test_bytes_are_multiplied_where_the_cpu_does_it_exactly(tmp_path: Path, flags: str | None, exact: bool) -> None:
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flags} sse2\n")
    assert multiplies_bytes(tmp_path / "cpuinfo") is exact


@pytest.mark.skipif(not multiplies_bytes() or not shutil.which("qemu-x86_64"), reason="needs VNNI, and qemu-user to do without")
def test_without_vnni_products_of_bytes_do_saturate(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMulInteger", ["bytes", "weight"], ["product"])]
    weight = numpy_helper.from_array(np.full((4, 1), 127, dtype=np.int8), "weight")
    inputs = [helper.make_tensor_value_info("bytes", onnx.TensorProto.UINT8, [1, 4])]
    outputs = [helper.make_tensor_value_info("product", onnx.TensorProto.INT32, [1, 1])]
    graph = helper.make_graph(nodes, "product", inputs, outputs, [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path / "product.onnx")
    code = (
        "import numpy, onnxruntime; session = onnxruntime.InferenceSession('product.onnx', providers=['CPUExecutionProvider']); "
        "print(session.run(None, {'bytes': numpy.full((1, 4), 255, dtype=numpy.uint8)})[0].item())"
    )
    commands = ([sys.executable, "-c", code], ["qemu-x86_64", "-cpu", "Haswell", sys.executable, "-c", code])
    exact, saturated = (int(subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout) for command in commands)
    assert (exact, saturated) == (4 * 255 * 127, 2 * (2**15 - 1))


@pytest.mark.parametrize(
    ("figures", "graph"),
    [({}, "int8"), ({"agreement": 0.995, "accuracy": 0.898}, "int8"), ({"agreement": 0.994}, "fp32"), ({"accuracy": 0.897}, "fp32")],
)
def test_the_int8_graph_is_served_within_its_bounds_alone(figures: dict[str, float], graph: str) -> None:
    assert choose_graph(report(**figures), PARAMS, 5.0) == graph
    assert choose_graph(report(**figures), PARAMS.model_copy(update={"graph": "fp32"}), 5.0) == "fp32"


@pytest.mark.parametrize(
    ("difference", "largest"), [(2e-4, 0.1), (2e-4, 10.0), (2e-3, 100.0), (float("nan"), 100.0), (float("nan"), float("nan"))]
)
def test_a_float_graph_that_differs_from_the_checkpoint_is_refused(difference: float, largest: float) -> None:
    with pytest.raises(UserError, match=r"differs by .* nothing was written"):
        choose_graph(report(difference=difference), PARAMS, largest)


def test_large_logits_may_differ_by_as_much_more_as_they_are_rounded() -> None:
    assert choose_graph(report(difference=9e-4), PARAMS, 100.0) == "int8"
