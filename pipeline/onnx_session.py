"""Runs an ONNX graph over many queries; needs neither torch nor transformers."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

BATCH_SIZE = 32
SLOWER = ["SkipLayerNormFusion"]  # its fused kernel takes three times as long as the addition and the LayerNormalization that it replaces

Ids = Sequence[Sequence[int] | np.ndarray]  # word-piece ids, [CLS] and [SEP] included, one sequence a query


def open_session(graph: bytes, threads: int) -> Any:
    """A session on the CPU that runs a graph with ``threads`` threads; one thread waits for nobody, so calls may run side by side."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOWER)


def multiplies_bytes(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether a product of unsigned and signed bytes is exact on this CPU, and fast.

    An x86 CPU without VNNI adds neighbouring products in 16 bits, which are too few: in onnxruntime they saturate. An x86 CPU of which
    nobody tells what it has is taken to have none.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    words = cpuinfo.read_text(encoding="utf-8").split() if cpuinfo.exists() else []
    return "avx512_vnni" in words or "avx_vnni" in words


def labels_of(session: Any) -> Any:
    """The label names that a graph carries, in the order of its logits; None if it carries none."""
    return json.loads(session.get_modelmeta().custom_metadata_map.get("labels", "null"))


def order_by_length(ids: Ids) -> np.ndarray:
    """Row indices, shortest query first, so that a batch of neighbours has little padding."""
    return np.argsort([len(tokens) for tokens in ids], kind="stable")


def run_session(session: Any, ids: Ids, order: Iterable[int], batch_size: int = BATCH_SIZE) -> np.ndarray:
    """Computes the logits of N queries.

    Args:
        session: of a graph with the inputs ``input_ids`` and ``attention_mask``.
        ids: of N queries.
        order: the N row indices in the order in which batches take them.
        batch_size: queries a batch; each batch is padded to its longest.

    Returns:
        float32 array of shape (N, C), in the order of ``ids``.
    """
    rows = np.fromiter(order, dtype=np.int64, count=len(ids))
    parts = [
        session.run(None, _pad([ids[row] for row in rows[start : start + batch_size]]))[0] for start in range(0, len(rows), batch_size)
    ]
    logits_NC = np.concatenate(parts)
    result_NC = np.empty_like(logits_NC)
    result_NC[rows] = logits_NC
    return result_NC


def _pad(ids: Ids) -> dict[str, np.ndarray]:
    """Padded with 0, the [PAD] of every BERT vocabulary; both arrays are int64 of shape (B, longest)."""
    lengths = np.array([len(tokens) for tokens in ids])
    mask_BT = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    input_ids_BT = np.zeros_like(mask_BT)
    input_ids_BT[mask_BT == 1] = np.concatenate([np.asarray(tokens, dtype=np.int64) for tokens in ids])
    return {"input_ids": input_ids_BT, "attention_mask": mask_BT}
