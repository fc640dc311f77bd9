"""Cuts a smaller BERT out of a larger one.

After weight subcloning (Samragh et al. 2023, arXiv 2312.09299) and weight selection (Xu et al. 2024, arXiv 2311.18823): the
small model starts with the most used coordinates of the large one, so that distillation repairs it rather than starts from nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from transformers import BertConfig, BertModel
from transformers.models.bert.modeling_bert import BertLayer

from pipeline.batching import Ids, by_length, pad

SAMPLE = 2000  # queries whose hidden states tell which coordinates are used
BATCH_SIZE = 128


def subclone(large: BertModel, small: BertModel, ids: Ids) -> torch.Tensor:
    """Fills ``small`` (in place), which must fit (``check_fits``), with the coordinates of ``large`` that carry most.

    Kept are: the hidden dimensions with the most energy over the corpus; layers at even distances, first and last among them, rounded up
    (of six, for four: the first, third, fifth and sixth);
    of each head the query/key and the value/output dimensions with the largest products of norms; the feed-forward units with the
    largest products of norms. Queries are scaled so that attention scores keep their size with fewer dimensions.

    Returns:
        The kept hidden dimensions of ``large``, ascending, shape (hidden of ``small``,).
    """
    dims = _largest(_hidden_energy(large, ids), small.config.hidden_size)
    with torch.no_grad():
        _copy_embeddings(large, small, dims)
        for target, end in zip(
            small.encoder.layer, layer_ends(large.config.num_hidden_layers, small.config.num_hidden_layers), strict=True
        ):
            _copy_layer(cast(BertLayer, large.encoder.layer[end - 1]), cast(BertLayer, target), dims, large.config, small.config)
    return dims


def layer_ends(large: int, small: int) -> list[int]:
    """Which layer of ``large`` layers (1-based) each of ``small`` layers stands for.

    Even distances; the last is among them, and of several the first.
    """
    if small == 1:
        return [large]
    layers: list[int] = torch.linspace(0, large - 1, small).ceil().long().tolist()
    return [layer + 1 for layer in layers]


def check_fits(large: BertConfig, small: BertConfig) -> None:
    """Raises ValueError where ``small`` cannot be cut out of ``large``."""
    for key in ("hidden_size", "num_hidden_layers", "intermediate_size"):
        if getattr(small, key) > getattr(large, key):
            raise ValueError(f"{key} is {getattr(small, key)}, but the teacher has only {getattr(large, key)}")
    if small.num_attention_heads != large.num_attention_heads:
        raise ValueError(f"num_attention_heads is {small.num_attention_heads}, but it must equal the teacher's {large.num_attention_heads}")


def _hidden_energy(large: BertModel, ids: Ids) -> torch.Tensor:
    """Sum of squares of each hidden dimension over all layers and tokens of a part of the corpus, shape (hidden,)."""
    some = ids[:: max(1, len(ids) // SAMPLE)]
    energy_H = torch.zeros(large.config.hidden_size)
    large.eval()
    with torch.inference_mode():
        for batch in by_length(some, BATCH_SIZE):
            inputs = pad([some[i] for i in batch])
            mask_BT1 = inputs["attention_mask"].unsqueeze(-1)
            for hidden_BTH in large(**inputs, output_hidden_states=True).hidden_states:
                energy_H += (hidden_BTH.square() * mask_BT1).sum(dim=(0, 1))
    return energy_H


def _largest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Indices of the ``count`` largest scores, ascending; ties go to the lower index."""
    return torch.sort(torch.sort(scores, descending=True, stable=True).indices[:count]).values


def _copy_embeddings(large: BertModel, small: BertModel, dims: torch.Tensor) -> None:
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        source, target = getattr(large.embeddings, name).weight, getattr(small.embeddings, name).weight
        target.copy_(source[: len(target), dims])
    _copy_norm(large.embeddings.LayerNorm, small.embeddings.LayerNorm, dims)


def _copy_layer(source: BertLayer, target: BertLayer, dims: torch.Tensor, large: BertConfig, small: BertConfig) -> None:
    wide = large.hidden_size // large.num_attention_heads
    narrow = small.hidden_size // small.num_attention_heads
    attention, query = source.attention.self, source.attention.self.query
    output = source.attention.output.dense
    match = torch.cat(list(_head_dims(query.weight.norm(dim=1) * attention.key.weight.norm(dim=1), wide, narrow)))
    carry = torch.cat(list(_head_dims(attention.value.weight.norm(dim=1) * output.weight.norm(dim=0), wide, narrow)))
    _copy_linear(query, target.attention.self.query, match, dims)
    _copy_linear(attention.key, target.attention.self.key, match, dims)
    _copy_linear(attention.value, target.attention.self.value, carry, dims)
    _copy_linear(output, target.attention.output.dense, dims, carry)
    scale = (narrow / wide) ** 0.5
    target.attention.self.query.weight.mul_(scale)
    target.attention.self.query.bias.mul_(scale)
    _copy_norm(source.attention.output.LayerNorm, target.attention.output.LayerNorm, dims)

    up, down = source.intermediate.dense, source.output.dense
    units = _largest(up.weight.norm(dim=1) * down.weight.norm(dim=0), small.intermediate_size)
    _copy_linear(up, target.intermediate.dense, units, dims)
    _copy_linear(down, target.output.dense, dims, units)
    _copy_norm(source.output.LayerNorm, target.output.LayerNorm, dims)


def _head_dims(scores: torch.Tensor, wide: int, narrow: int) -> Iterator[torch.Tensor]:
    for start in range(0, len(scores), wide):
        yield start + _largest(scores[start : start + wide], narrow)


def _copy_linear(source: torch.nn.Linear, target: torch.nn.Linear, rows: torch.Tensor, columns: torch.Tensor) -> None:
    target.weight.copy_(source.weight[rows][:, columns])
    target.bias.copy_(source.bias[rows])


def _copy_norm(source: torch.nn.LayerNorm, target: torch.nn.LayerNorm, dims: torch.Tensor) -> None:
    target.weight.copy_(source.weight[dims])
    target.bias.copy_(source.bias[dims])
