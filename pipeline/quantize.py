"""The int8 graph of a float32 one: word embeddings and the weights of all layers in 8 bits, a quarter of the bytes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

BLOCK = 64  # neighbouring inputs of a unit that share a scale
INT8_ARITHMETIC = 4  # of MatMulNBits's accuracy_level: activations become int8 too, each row of each block with a scale of its own
ZERO = 128  # what stands for 0 in its unsigned bytes


def quantize(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Puts the word embeddings (a scale a row) and the weights (a scale a unit and block) into 8 bits; the given graph stays as it is.

    Activations are quantized row by row as they come (onnxruntime's MatMulNBits), not with one scale for a whole batch, so that an answer
    does not depend on its batch-mates. The head (pooler and classifier) computes one row a query and stays in float32.
    """
    small = onnx.ModelProto()
    small.CopyFrom(graph)
    tables = {item.name: numpy_helper.to_array(item) for item in small.graph.initializer}
    nodes: list[NodeProto] = []
    added: dict[str, np.ndarray] = {}
    for node in small.graph.node:
        if node.op_type == "Gather" and node.input[0] in tables:
            nodes += _quantized_lookup(node, tables[node.input[0]], added)
        elif node.op_type == "MatMul" and node.input[1] in tables:
            nodes.append(_quantized_product(node, tables[node.input[1]], added))
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [item for item in small.graph.initializer if item.name in used]
    _replace(small.graph.node, nodes)
    _replace(small.graph.initializer, kept + [numpy_helper.from_array(array, name) for name, array in added.items()])
    small.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return small


def _quantized_lookup(node: NodeProto, table_VH: np.ndarray, added: dict[str, np.ndarray]) -> list[NodeProto]:
    """Look-ups in int8 and in the scales, and their product."""
    (table, ids), (output,) = node.input, node.output
    scale_V1 = _scale(table_VH)
    added |= {f"{table}_int8": np.rint(table_VH / scale_V1).astype(np.int8), f"{table}_scale": scale_V1}
    return [
        helper.make_node("Gather", [f"{table}_int8", ids], [f"{output}_int8"]),
        helper.make_node("Gather", [f"{table}_scale", ids], [f"{output}_scale"]),
        helper.make_node("Cast", [f"{output}_int8"], [f"{output}_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{output}_float", f"{output}_scale"], [output]),
    ]


def _quantized_product(node: NodeProto, weight_KN: np.ndarray, added: dict[str, np.ndarray]) -> NodeProto:
    """A product with int8 weights, laid out as onnxruntime's MatMulNBits wants them: units, blocks, inputs."""
    inputs, units = weight_KN.shape
    blocks = -(-inputs // BLOCK)
    padded = np.zeros((units, blocks * BLOCK), dtype=np.float32)
    padded[:, :inputs] = weight_KN.T
    block_NBK = padded.reshape(units, blocks, BLOCK)
    scale_NB1 = _scale(block_NBK)
    weight = node.input[1]
    added |= {
        f"{weight}_int8": (np.rint(block_NBK / scale_NB1) + ZERO).astype(np.uint8),
        f"{weight}_scale": scale_NB1.squeeze(-1),
    }
    return helper.make_node(
        "MatMulNBits",
        [node.input[0], f"{weight}_int8", f"{weight}_scale"],
        list(node.output),
        domain="com.microsoft",
        K=inputs,
        N=units,
        bits=8,
        block_size=BLOCK,
        accuracy_level=INT8_ARITHMETIC,
    )


def _scale(values: np.ndarray) -> np.ndarray:
    """What the largest of the last axis is 127 times of."""
    scale: np.ndarray = np.maximum(np.abs(values).max(axis=-1, keepdims=True) / np.float32(127), np.finfo(np.float32).tiny)
    return scale


def _replace(field: object, items: list[NodeProto] | list[TensorProto]) -> None:
    del field[:]  # type: ignore[attr-defined]  # protobuf's repeated fields have no common type
    field.extend(items)  # type: ignore[attr-defined]
