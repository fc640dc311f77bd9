"""Runs a model over many queries."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from pipeline.batching import Ids, by_length, pad

BATCH_SIZE = 128


def run_batches(model: nn.Module, ids: Ids, precision: str, output: Callable[..., torch.Tensor] | None = None) -> np.ndarray:
    """Computes an output of a model for every query, on the device where it lies, in evaluation mode and without gradients.

    Args:
        model: takes ``input_ids`` and ``attention_mask``.
        ids: word-piece ids of N queries.
        precision: ``bf16`` (autocast) or ``fp32``.
        output: called with the padded batch; by default the ``logits`` of the model.

    Returns:
        float32 array of shape (N, width of the output), in the order of ``ids``.
    """
    call = output or (lambda **batch: model(**batch).logits)
    was_training = model.training
    model.eval()
    rows: list[np.ndarray | None] = [None] * len(ids)
    device = next(model.parameters()).device
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        for batch in by_length(ids, BATCH_SIZE):
            values = call(**pad([ids[i] for i in batch], device)).float().cpu().numpy()
            for i, value in zip(batch, values, strict=True):
                rows[i] = value
    model.train(was_training)
    return np.stack([row for row in rows if row is not None])
