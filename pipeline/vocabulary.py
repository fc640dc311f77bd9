"""Training only the word embeddings that occur.

Most rows of a BERT's embedding table never get a gradient in a small corpus, but a dense optimizer pays for all of them, and
weight decay would wear them away. Here the table is replaced by its occurring rows while a model trains; the others come back
bit by bit as they were, so that words first seen in production keep their pre-trained vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import BertModel

from pipeline.batching import Ids

PAD = 0


class OccurringEmbedding(nn.Embedding):
    """Rows of an embedding table, addressed by their ids in the whole table."""

    position: torch.Tensor

    def __init__(self, table: nn.Embedding, ids: torch.Tensor) -> None:
        super().__init__(len(ids), table.embedding_dim, _weight=table.weight.detach()[ids].clone())
        position = torch.full((table.num_embeddings,), -1, dtype=torch.int64)
        position[ids] = torch.arange(len(ids))
        self.register_buffer("position", position, persistent=False)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Vectors of shape (..., hidden); an id outside the rows is an IndexError."""
        return F.embedding(self.position[input_ids], self.weight)


@contextmanager
def occurring_rows(encoder: BertModel, ids: Ids) -> Iterator[None]:
    """Lets a model train only the word embeddings that occur in ``ids``, and restores the whole table after."""
    table = encoder.get_input_embeddings()
    occurring = torch.from_numpy(np.unique(np.concatenate([np.array([PAD]), *ids])).astype(np.int64))
    rows = OccurringEmbedding(table, occurring)
    encoder.embeddings.word_embeddings = rows
    try:
        yield
    finally:
        with torch.no_grad():
            table.weight[occurring] = rows.weight.to(table.weight.device)
        encoder.embeddings.word_embeddings = table
