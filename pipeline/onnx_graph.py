"""The student as an ONNX graph: what its checkpoint computes, and no more than the logits need."""

from __future__ import annotations

import json
import logging
import warnings
from typing import Any

import onnx
import torch
from torch import nn
from transformers import BertForSequenceClassification

INPUTS = ("input_ids", "attention_mask")
OUTPUT = "logits"
OPSET = 23  # the first with Attention as one operator


class Logits(nn.Module):
    """The student's logits, computed with fewer nodes: (B, T) ids and mask to (B, C).

    The head reads the first position alone, so of the last layer that row alone is computed (from the keys and values of all). Queries,
    keys and values come out of one product, and attention is one node; the only token type's vector is part of the positions'. All that is
    exact but for rounding.
    """

    position: torch.Tensor

    def __init__(self, model: BertForSequenceClassification, max_tokens: int) -> None:
        super().__init__()
        embeddings = model.bert.embeddings
        self.word, self.norm = embeddings.word_embeddings, embeddings.LayerNorm
        position = embeddings.position_embeddings.weight[:max_tokens] + embeddings.token_type_embeddings.weight[0]
        self.register_buffer("position", position.detach())
        self.layers, self.classifier = model.bert.encoder.layer, model.classifier
        self.pooler: Any = model.bert.pooler
        self.heads = model.config.num_attention_heads
        layers: list[Any] = list(self.layers)
        attentions = [layer.attention.self for layer in layers]
        self.projections = nn.ModuleList(_side_by_side([a.query, a.key, a.value]) for a in attentions[:-1])
        self.last_projection = _side_by_side([attentions[-1].key, attentions[-1].value])

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits of shape (B, C)."""
        hidden_BTH = self.norm(self.word(input_ids) + self.position[: input_ids.shape[1]])
        told_B1TT = attention_mask[:, None, None, :].bool().expand(-1, 1, input_ids.shape[1], -1)
        for layer, projection in zip(self.layers[:-1], self.projections, strict=True):
            query, key, value = projection(hidden_BTH).chunk(3, dim=-1)
            hidden_BTH = self._layer(layer, hidden_BTH, query, key, value, told_B1TT)
        last: Any = self.layers[-1]
        key, value = self.last_projection(hidden_BTH).chunk(2, dim=-1)
        first_B1H = hidden_BTH[:, :1]
        first_B1H = self._layer(last, first_B1H, last.attention.self.query(first_B1H), key, value, told_B1TT[:, :, :1])
        logits: torch.Tensor = self.classifier(self.pooler(first_B1H))
        return logits

    def _layer(
        self, layer: Any, hidden: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, told: torch.Tensor
    ) -> torch.Tensor:
        context, *_ = torch.onnx.ops.attention(query, key, value, told, q_num_heads=self.heads, kv_num_heads=self.heads)
        attended = layer.attention.output(context, hidden)
        output: torch.Tensor = layer.output(layer.intermediate(attended), attended)
        return output


def export_graph(model: BertForSequenceClassification, labels: list[str], max_tokens: int) -> onnx.ModelProto:
    """The float32 graph of a student: inputs ``input_ids`` and ``attention_mask`` (int64, B x T), output ``logits`` (float32, B x C).

    T goes up to ``max_tokens``. The graph carries the label names, so that no list of another order can be put beside it. The same weights
    give the same bytes: what the exporter notes about the code it came from (paths and line numbers) is taken out.
    """
    ids = torch.ones((2, 4), dtype=torch.int64)  # 0 and 1 would be taken for constants of the shape
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens", max=max_tokens)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # that torchvision is not installed is no news
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's use of its own dependencies is not ours to be warned about
        program = torch.onnx.export(
            Logits(model, max_tokens).eval(),
            (ids, ids.clone()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes={name: {0: batch, 1: tokens} for name in INPUTS},
            verbose=False,
        )
    if program is None:
        raise AssertionError("dynamo=True returns a program")
    graph: onnx.ModelProto = program.model_proto
    _forget_origin(graph)
    onnx.helper.set_model_props(graph, {"labels": json.dumps(labels)})
    return graph


def _side_by_side(layers: list[nn.Linear]) -> nn.Linear:
    """One linear layer whose output is those of several, concatenated."""
    joined = nn.Linear(layers[0].in_features, sum(layer.out_features for layer in layers))
    with torch.no_grad():
        joined.weight.copy_(torch.cat([layer.weight for layer in layers]))
        joined.bias.copy_(torch.cat([layer.bias for layer in layers]))
    return joined


def _forget_origin(graph: onnx.ModelProto) -> None:
    parts = (graph.graph.node, graph.graph.input, graph.graph.output, graph.graph.initializer, graph.graph.value_info)
    for item in [graph, graph.graph, *(item for part in parts for item in part)]:
        del item.metadata_props[:]
        item.doc_string = ""
