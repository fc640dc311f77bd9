"""The int8 graph of a float32 one: word embeddings and the weights of all layers in 8 bits, a quarter of the bytes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

INT8 = np.float32(127)  # the largest weight
FLOOR = 1e-9  # no row's largest value is taken for less, lest it be divided by


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


def quantize(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Puts the word embeddings (a scale a row) and the weights (a scale a unit) into 8 bits; the given graph stays as it is.

    Activations are quantized as they come, each row with a scale of its own and not a whole batch with one, so that an answer does not
    depend on its batch-mates. The head (pooler and classifier) computes one row a query and stays in float32.
    """
    small = onnx.ModelProto()
    small.CopyFrom(graph)
    tables = {item.name: numpy_helper.to_array(item) for item in small.graph.initializer}
    activated = {node.output[0] for node in small.graph.node if node.op_type == "Gelu"}
    nodes: list[NodeProto] = []
    added: Constants = {"last_axis": np.array([-1])}
    for node in small.graph.node:
        if node.op_type == "Gather" and node.input[0] in tables:
            nodes += _quantized_lookup(node, tables[node.input[0]], added)
        elif node.op_type == "MatMul" and node.input[1] in tables:
            bytes_ = GELU if node.input[0] in activated else ANY_SIGN
            nodes += _quantized_product(node, tables[node.input[1]], bytes_, added)
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [item for item in small.graph.initializer if item.name in used]
    _replace(small.graph.node, nodes)
    _replace(small.graph.initializer, kept + [numpy_helper.from_array(np.asarray(array), name) for name, array in added.items()])
    small.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return small


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


def _quantized_product(node: NodeProto, weight_KN: np.ndarray, bytes_: Bytes, added: Constants) -> list[NodeProto]:
    """A product of bytes, times the scales of its rows and of its units."""
    (values, weight), (output,) = node.input, node.output
    scale_1N = _scale(weight_KN, axis=0)
    zero, floor, step = f"zero_{bytes_.zero}", f"floor_{bytes_.zero}", f"step_{bytes_.zero}"
    added |= {
        f"{weight}_int8": np.rint(weight_KN / scale_1N).astype(np.int8),
        f"{weight}_scale": scale_1N.squeeze(0),
        zero: np.uint8(bytes_.zero),
        floor: np.float32(bytes_.floor),
        step: np.float32(1 / bytes_.steps),
    }
    sizes = values if bytes_ == GELU else f"{output}_size"
    return [
        *([] if sizes == values else [helper.make_node("Abs", [values], [sizes])]),
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
