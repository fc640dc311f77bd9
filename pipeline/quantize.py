"""The int8 graph of a float32 one: word embeddings and the weights of all layers in 8 bits, a quarter of the bytes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from pipeline.onnx_session import Ids, open_session

INT8 = np.float32(127)  # the largest weight
FLOOR = 1e-9  # no row's largest value is taken for less, lest it be divided by
SAMPLE = 256  # queries that tell how large the activations are


Constants = dict[str, np.ndarray | np.generic]


class Bytes(NamedTuple):
    """How activations stand in unsigned bytes.

    Attributes:
        zero: what stands for 0.
        steps: how many steps the largest value of a row is above that.
        floor: what the largest value of a row is taken for at least.
    """

    zero: int
    steps: int
    floor: float


ANY_SIGN = Bytes(128, 127, FLOOR)
GELU = Bytes(16, 239, 0.17 * 239 / 16)  # never below -0.17: nearly all steps are for what is above 0


def quantize(graph: onnx.ModelProto, queries: Ids) -> onnx.ModelProto:
    """Puts the word embeddings (a scale a row) and the weights (a scale a unit) into 8 bits; the given graph stays as it is.

    Activations are quantized as they come, each row with a scale of its own and not a whole batch with one, so that an answer does not
    depend on its batch-mates. A channel that is large in every row would leave the others few steps, so half of its size is moved into the
    weights first (SmoothQuant, Xiao et al. 2023, arXiv 2211.10438). The head (pooler and classifier) computes one row a query and stays
    in float32.

    Args:
        graph: of the student.
        queries: word-piece ids of some that the student may know; they tell how large each channel is.
    """
    small = onnx.ModelProto()
    small.CopyFrom(graph)
    tables = {item.name: numpy_helper.to_array(item) for item in small.graph.initializer}
    activated = {node.output[0] for node in small.graph.node if node.op_type == "Gelu"}
    multiplied = {node.input[0] for node in small.graph.node if node.op_type == "MatMul" and node.input[1] in tables}
    largest = _largest(graph, sorted(multiplied - activated), queries[:: max(1, len(queries) // SAMPLE)])
    nodes: list[NodeProto] = []
    added: Constants = {"last_axis": np.array([-1])}
    for node in small.graph.node:
        if node.op_type == "Gather" and node.input[0] in tables:
            nodes += _quantized_lookup(node, tables[node.input[0]], added)
        elif node.op_type == "MatMul" and node.input[1] in tables:
            weight_KN = tables[node.input[1]]
            if node.input[0] in activated:
                nodes += _quantized_product(node, weight_KN, GELU, added)
            else:
                nodes += _balanced_product(node, weight_KN, largest[node.input[0]], added)
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [item for item in small.graph.initializer if item.name in used]
    _replace(small.graph.node, nodes)
    _replace(small.graph.initializer, kept + [numpy_helper.from_array(np.asarray(array), name) for name, array in added.items()])
    small.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return small


def _largest(graph: onnx.ModelProto, names: list[str], queries: Ids) -> dict[str, np.ndarray]:
    """The largest absolute value of every channel of some activations, by their names; each is of shape (channels,)."""
    telling = onnx.ModelProto()
    telling.CopyFrom(graph)
    telling.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = open_session(telling.SerializeToString(), threads=1)
    largest = [np.zeros(1, dtype=np.float32) for _ in names]
    for tokens in queries:
        ids_1T = np.asarray(tokens, dtype=np.int64)[None]
        told = session.run(names, {"input_ids": ids_1T, "attention_mask": np.ones_like(ids_1T)})
        largest = [np.maximum(so_far, np.abs(values).max(axis=(0, 1))) for so_far, values in zip(largest, told, strict=True)]
    return dict(zip(names, largest, strict=True))


def _balanced_product(node: NodeProto, weight_KN: np.ndarray, largest_K: np.ndarray, added: Constants) -> list[NodeProto]:
    """A product of bytes whose channels are divided, and their weights multiplied, so that the largest of both are of one size."""
    (values, weight), (output,) = node.input, node.output
    activation_K, weight_K = (np.maximum(most, most.max() / 1000 + FLOOR) for most in (largest_K, np.abs(weight_KN).max(axis=1)))
    size_K = np.sqrt(activation_K / weight_K).astype(np.float32)
    added[f"{output}_factor"] = 1 / size_K
    balanced = helper.make_node("Mul", [values, f"{output}_factor"], [f"{output}_balanced"])
    product = helper.make_node("MatMul", [f"{output}_balanced", weight], [output])
    return [balanced, *_quantized_product(product, weight_KN * size_K[:, None], ANY_SIGN, added)]


def _quantized_lookup(node: NodeProto, table_VH: np.ndarray, added: Constants) -> list[NodeProto]:
    """Look-ups in int8 and in the scales, and their product."""
    (table, ids), (output,) = node.input, node.output
    scale_V1 = _scale(table_VH, axis=1)
    added |= {f"{table}_int8": np.rint(table_VH / scale_V1).astype(np.int8), f"{table}_scale": scale_V1}
    return [
        helper.make_node("Gather", [f"{table}_int8", ids], [f"{output}_int8"]),
        helper.make_node("Gather", [f"{table}_scale", ids], [f"{output}_scale"]),
        helper.make_node("Cast", [f"{output}_int8"], [f"{output}_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{output}_float", f"{output}_scale"], [output]),
    ]


def _quantized_product(node: NodeProto, weight_KN: np.ndarray, form: Bytes, added: Constants) -> list[NodeProto]:
    """A product of bytes, times the scales of its rows and of its units."""
    (values, weight), (output,) = node.input, node.output
    scale_1N = _scale(weight_KN, axis=0)
    zero, floor, step = f"zero_{form.zero}", f"floor_{form.zero}", f"step_{form.zero}"
    added |= {
        f"{weight}_int8": np.rint(weight_KN / scale_1N).astype(np.int8),
        f"{weight}_scale": scale_1N.squeeze(0),
        zero: np.uint8(form.zero),
        floor: np.float32(form.floor),
        step: np.float32(1 / form.steps),
    }
    nodes, sizes = [], values
    if form is ANY_SIGN:
        sizes = f"{output}_size"
        nodes.append(helper.make_node("Abs", [values], [sizes]))
    return [
        *nodes,
        helper.make_node("ReduceMax", [sizes, "last_axis"], [f"{output}_largest"]),
        helper.make_node("Max", [f"{output}_largest", floor], [f"{output}_range"]),
        helper.make_node("Div", [values, f"{output}_range"], [f"{output}_shares"]),
        helper.make_node("QuantizeLinear", [f"{output}_shares", step, zero], [f"{output}_bytes"]),
        helper.make_node(
            "MatMulIntegerToFloat",
            [f"{output}_bytes", f"{weight}_int8", step, f"{weight}_scale", zero],
            [f"{output}_product"],
            domain="com.microsoft",
        ),
        helper.make_node("Mul", [f"{output}_product", f"{output}_range"], [output]),
    ]


def _scale(values: np.ndarray, axis: int) -> np.ndarray:
    """What the largest of an axis is 127 times of; the axis stays, with length 1."""
    scale: np.ndarray = np.maximum(np.abs(values).max(axis=axis, keepdims=True) / INT8, np.finfo(np.float32).tiny)
    return scale


def _replace(field: object, items: list[NodeProto] | list[TensorProto]) -> None:
    del field[:]  # type: ignore[attr-defined]  # protobuf's repeated fields have no common type
    field.extend(items)  # type: ignore[attr-defined]
