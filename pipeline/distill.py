"""The student during distillation, with the teacher's encoder beside it.

Each student layer is asked for the hidden states of a teacher layer, at every token, through a linear map of its own (Jiao et al. 2020,
TinyBERT, arXiv 1909.10351, equation 7): a far richer signal than the class probabilities alone. The maps are thrown away after.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from transformers import BertForSequenceClassification, BertModel
from transformers.modeling_outputs import SequenceClassifierOutput

from pipeline.subclone import layer_ends


class GuidedStudent(nn.Module):
    """Logits of the student and, as ``loss``, how far its hidden states are from the teacher's.

    Args:
        student: learns.
        teacher: encoder that stays as it is.
        kept: the teacher's hidden dimensions that the student was cut out of, in order, or None: where the maps start.
        weight: of the mean squared error a layer, in units of the variance of the teacher's hidden states.
    """

    def __init__(self, student: BertForSequenceClassification, teacher: BertModel, kept: torch.Tensor | None, weight: float) -> None:
        super().__init__()
        self.student = student
        self._teacher = (teacher.eval(),)  # in a tuple, so that it is neither trained nor put into training mode
        self.weight = weight
        self.ends = layer_ends(teacher.config.num_hidden_layers, student.config.num_hidden_layers)
        narrow, wide = student.config.hidden_size, teacher.config.hidden_size
        self.maps = nn.ModuleList([_map(narrow, wide, kept) for _ in self.ends])

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SequenceClassifierOutput:
        """Logits of shape (B, classes) and the weighted mean error over the layers, from ids and mask of shape (B, T)."""
        outputs = self.student(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        with torch.no_grad():
            targets = self._teacher[0](input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True).hidden_states
        tokens = attention_mask.bool()
        gaps = []
        for layer, (linear, end) in enumerate(zip(self.maps, self.ends, strict=True), start=1):
            target = targets[end][tokens].float()
            gaps.append(F.mse_loss(linear(outputs.hidden_states[layer][tokens]).float(), target) / target.var())
        return SequenceClassifierOutput(loss=self.weight * torch.stack(gaps).mean(), logits=outputs.logits)


def _map(narrow: int, wide: int, kept: torch.Tensor | None) -> nn.Linear:
    """A map that starts by putting every student dimension back where it was cut out, the other teacher dimensions near zero."""
    linear = nn.Linear(narrow, wide)
    if kept is not None:
        with torch.no_grad():
            linear.weight.mul_(0.1)
            linear.weight[kept] = torch.eye(narrow)
            linear.bias.zero_()
    return linear
