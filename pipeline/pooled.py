"""A BERT encoder, mean pooling and a linear head: the shape of two teachers, frozen and fine-tuned."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from transformers import BertModel
from transformers.modeling_outputs import SequenceClassifierOutput

HEAD_FILE = "head.safetensors"


class PooledClassifier(nn.Module):
    """Logits from the mean of the last hidden states over the tokens of a query.

    Args:
        encoder: BERT without its pooler.
        classes: number of intents.
        normalize: scale the pooled vector to unit length before the head (as the frozen encoder was trained to be used).
    """

    def __init__(self, encoder: BertModel, classes: int, normalize: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, classes)
        self.normalize = normalize

    def embed(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Pooled vectors of shape (B, hidden), float32, from ids and mask of shape (B, T)."""
        hidden_BTH = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()
        mask_BT1 = attention_mask.unsqueeze(-1).float()
        pooled_BH = (hidden_BTH * mask_BT1).sum(dim=1) / mask_BT1.sum(dim=1)
        return F.normalize(pooled_BH, dim=-1) if self.normalize else pooled_BH

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SequenceClassifierOutput:
        """Logits of shape (B, classes)."""
        return SequenceClassifierOutput(logits=self.head(self.embed(input_ids, attention_mask)))

    def save(self, folder: Path, with_encoder: bool) -> None:
        """Writes the head, and the encoder where it is not the raw one."""
        folder.mkdir(parents=True)
        save_file({"weight": self.head.weight.data, "bias": self.head.bias.data}, folder / HEAD_FILE)
        if with_encoder:
            self.encoder.save_pretrained(folder)


def load_encoder(folder: Path, device: str = "cpu") -> BertModel:
    """Loads BERT without a pooler from a local folder, in float32, to a device."""
    encoder: BertModel = BertModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32, local_files_only=True)
    nn.Module.to(encoder, torch.device(device))
    return encoder


def load_pooled(encoder_folder: Path, head_folder: Path, normalize: bool) -> PooledClassifier:
    """Loads what ``PooledClassifier.save`` wrote, with the encoder of a folder (the same, or the raw one)."""
    weights = load_file(head_folder / HEAD_FILE)
    model = PooledClassifier(load_encoder(encoder_folder), len(weights["bias"]), normalize)
    model.head.load_state_dict(weights)
    return model
