"""What the student is asked for beside class probabilities: the teacher's hidden states, computed once and kept in a file.

Each student layer learns the hidden states of a teacher layer, at every token, through a linear map of its own (Jiao et al. 2020,
TinyBERT, arXiv 1909.10351, equation 7): a far richer signal than the class probabilities alone. The maps are thrown away after.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import BertForSequenceClassification, BertModel
from transformers.modeling_outputs import SequenceClassifierOutput

from pipeline.batching import Ids, by_length, pad
from pipeline.errors import UserError
from pipeline.subclone import layer_ends

BATCH_SIZE = 128


class HiddenStates:
    """Hidden states of L layers at every token of N texts, float16, in a file without a name: it is gone with the process.

    Only the rows asked for are read, so that memory stays flat however many texts there are. For BANKING77 and four copies of each
    query the file has 2.5 GB.

    Args:
        encoder: the teacher.
        layers: which of its layers (1-based).
        ids: word-piece ids of the texts.
        precision: of the forward pass, ``bf16`` (autocast) or ``fp32``.

    Attributes:
        variance_L: variance of each layer's hidden states over all texts, tokens and dimensions.

    Raises:
        UserError: there is no room for the file.
    """

    def __init__(self, encoder: BertModel, layers: Sequence[int], ids: Ids, precision: str) -> None:
        self.shape = (len(layers), encoder.config.hidden_size)
        _check_room(sum(map(len, ids)) * len(layers) * encoder.config.hidden_size * np.dtype(np.float16).itemsize)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as this object)
        weakref.finalize(self, self._file.close)
        self._places = np.zeros((len(ids), 2), dtype=np.int64)  # of a text: its first token in the file, and the one after its last
        moments_2L = np.zeros((2, len(layers)))
        tokens, device = 0, encoder.device
        encoder.eval()
        with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            for batch in by_length(ids, BATCH_SIZE):
                inputs = pad([ids[row] for row in batch], device)
                hidden = encoder(**inputs, output_hidden_states=True).hidden_states
                states_BTLH = torch.stack([hidden[layer].float() for layer in layers], dim=2)
                states_NLH = states_BTLH[inputs["attention_mask"].bool()]  # token after token, without padding
                moments_2L += torch.stack([states_NLH.mean(dim=2).sum(dim=0), states_NLH.square().mean(dim=2).sum(dim=0)]).cpu().numpy()
                self._file.write(states_NLH.half().cpu().numpy().tobytes())
                ends = tokens + np.cumsum([len(ids[row]) for row in batch])
                self._places[batch] = np.stack([np.concatenate([[tokens], ends[:-1]]), ends], axis=1)
                tokens = int(ends[-1])
        self._file.flush()
        mean_L, mean_square_L = moments_2L / tokens
        self.variance_L: list[float] = (mean_square_L - np.square(mean_L)).tolist()

    def read(self, rows: Sequence[int]) -> torch.Tensor:
        """The states of some texts, token after token without padding, float16 of shape (tokens of these texts, L, hidden)."""
        told = b"".join(self._read(row) for row in rows)
        return torch.frombuffer(bytearray(told), dtype=torch.float16).view(-1, *self.shape)

    def _read(self, row: int) -> bytes:
        layers, hidden = self.shape
        start, end = (self._places[row] * layers * hidden * np.dtype(np.float16).itemsize).tolist()
        return os.pread(self._file.fileno(), end - start, start)


class GuidedStudent(nn.Module):
    """Logits of the student and, as ``loss``, how far its hidden states are from the teacher's.

    Args:
        student: learns.
        width: of the teacher's hidden states.
        variance_L: of the teacher's hidden states, one number a layer of the student.
        kept: the teacher's hidden dimensions that the student was cut out of, in order, or None: where the maps start.
        weight: of the mean squared error a layer, in units of that variance.
    """

    def __init__(
        self, student: BertForSequenceClassification, width: int, variance_L: list[float], kept: torch.Tensor | None, weight: float
    ) -> None:
        super().__init__()
        self.student = student
        self.variance_L = variance_L
        self.weight = weight
        self.maps = nn.ModuleList([_map(student.config.hidden_size, width, kept) for _ in variance_L])

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, teacher_states: torch.Tensor) -> SequenceClassifierOutput:
        """Logits of shape (B, classes) and the weighted mean error over the layers.

        Args:
            input_ids: shape (B, T).
            attention_mask: the same.
            teacher_states: of the tokens that are not padding, row after row, shape (tokens, layers of the student, width).
        """
        outputs = self.student(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        tokens = attention_mask.bool()
        gaps = [
            F.mse_loss(linear(hidden)[tokens].float(), teacher_states[:, layer].float()) / variance
            for layer, (linear, hidden, variance) in enumerate(zip(self.maps, outputs.hidden_states[1:], self.variance_L, strict=True))
        ]
        return SequenceClassifierOutput(loss=self.weight * torch.stack(gaps).mean(), logits=outputs.logits)


def guide(
    student: BertForSequenceClassification, teacher: BertModel, kept: torch.Tensor | None, ids: Ids, weight: float, precision: str
) -> tuple[GuidedStudent, HiddenStates]:
    """The student beside the teacher's hidden states of all the texts that it will see."""
    layers = layer_ends(teacher.config.num_hidden_layers, student.config.num_hidden_layers)
    states = HiddenStates(teacher, layers, ids, precision)
    return GuidedStudent(student, teacher.config.hidden_size, states.variance_L, kept, weight), states


def _check_room(needed: int) -> None:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: the teacher's hidden states take {needed / 1e6:,.1f} MB there, {free / 1e6:,.1f} are free: free some, "
            "or set TMPDIR to a folder with more room"
        )


def _map(narrow: int, wide: int, kept: torch.Tensor | None) -> nn.Linear:
    """A map that starts by putting every student dimension back where it was cut out, the other teacher dimensions near zero."""
    linear = nn.Linear(narrow, wide)
    if kept is not None:
        with torch.no_grad():
            linear.weight.mul_(0.1)
            linear.weight[kept] = torch.eye(narrow)
            linear.bias.zero_()
    return linear
