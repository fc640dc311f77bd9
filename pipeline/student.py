"""The student: a stock ``BertForSequenceClassification``, its three starts, and its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from tokenizers import Tokenizer
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from pipeline import artifacts
from pipeline.batching import Ids
from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.pooled import load_encoder
from pipeline.subclone import check_fits, subclone

CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-classification
---
An intent classifier of {parameters:,} parameters for {classes} intents, distilled by this repository's pipeline.

Load it with `AutoModelForSequenceClassification.from_pretrained(folder)`; `id2label` is filled. Divide the logits by the `temperature` in
`calibration.json` before the softmax to get calibrated confidences. Let the tokenizer cut queries (`truncation=True`), as in training: at
{max_tokens} word pieces.

What it was measured to do, where it fails and what it was made of: in the whole card, which `python -m pipeline.card` writes.
"""


class StudentParams(Params):
    """Where the student starts and what shape it has."""

    start: Literal["subclone", "pretrained", "scratch"] = Field(
        description="subclone: cut out of the fine-tuned teacher; pretrained: `fetch.student_encoder`; scratch: random"
    )
    layers: int = Field(ge=1, le=24, description="transformer layers (of a pretrained student these four must state its shape)")
    hidden: int = Field(ge=8, le=1024, description="hidden width")
    heads: int = Field(ge=1, le=64, description="attention heads; divides `hidden`")
    intermediate: int = Field(ge=8, le=4096, description="feed-forward width")

    @model_validator(mode="after")
    def _heads_divide_hidden(self) -> StudentParams:
        if self.hidden % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide hidden ({self.hidden})")
        return self


def build_student(
    params: StudentParams, dropout: float, labels: list[str], teacher: Path, pretrained: Path, vocabulary: Path, ids: Ids
) -> tuple[BertForSequenceClassification, torch.Tensor | None]:
    """Makes the student as it starts.

    Args:
        params: start and shape.
        dropout: of hidden states and attention.
        labels: the intents in the order of the class indices.
        teacher: folder of the fine-tuned teacher's encoder, the source of a subclone.
        pretrained: folder of the pre-trained student; empty unless `fetch` brought one.
        vocabulary: the vocab.txt that the features were made with.
        ids: word-piece ids of the training queries, from which a subclone learns which dimensions are used.

    Returns:
        The student, and of a subclone the teacher's hidden dimensions that it kept.

    Raises:
        UserError: the shape cannot be cut out of the teacher, or the pre-trained student is absent, or has another shape or vocabulary.
    """
    own: dict[str, Any] = {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    kept = None
    if params.start == "pretrained":
        model = _load_pretrained(params, pretrained, vocabulary, own)
    else:
        model = BertForSequenceClassification(_shape(params, teacher, own))
    if params.start == "subclone":
        large = load_encoder(teacher)
        try:
            check_fits(large.config, model.config)
        except ValueError as error:
            remedy = "choose layers, hidden, heads and intermediate that fit the teacher, or use student=scratch"
            raise UserError(f"params.yaml: train.student: {error}: {remedy}") from None
        kept = subclone(large, model.bert, ids)
    model.set_attn_implementation("eager")  # a head of 26 dimensions is a quarter slower through the fused kernel
    return model, kept


def _shape(params: StudentParams, teacher: Path, own: dict[str, Any]) -> BertConfig:
    """The teacher's configuration, but for the shape, and for what is the student's own."""
    config = BertConfig.from_pretrained(teacher).to_dict()
    for unwanted in ("architectures", "_name_or_path", "dtype", "transformers_version"):
        config.pop(unwanted, None)
    shape = {
        "num_hidden_layers": params.layers,
        "hidden_size": params.hidden,
        "num_attention_heads": params.heads,
        "intermediate_size": params.intermediate,
    }
    return BertConfig(**(config | shape | own))


def save_student(model: BertForSequenceClassification, tokenizer_file: Path, temperature: float, folder: Path) -> None:
    """Writes a folder that stock ``transformers`` loads: model, tokenizer, calibration, model card."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    max_tokens = (tokenizer.truncation or {})["max_length"]
    model.save_pretrained(folder)
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_tokens, **special).save_pretrained(folder)
    artifacts.write_json(folder / artifacts.CALIBRATION, {"temperature": temperature, "max_tokens": max_tokens})
    card = CARD.format(parameters=model.num_parameters(), classes=model.config.num_labels, max_tokens=max_tokens)
    (folder / "README.md").write_text(card, encoding="utf-8")


def load_student(folder: Path) -> tuple[BertForSequenceClassification, float]:
    """Reads the model, and the temperature of its confidences."""
    model = BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model, float(artifacts.read_json(folder / artifacts.CALIBRATION)["temperature"])


def _load_pretrained(params: StudentParams, folder: Path, vocabulary: Path, config: dict[str, Any]) -> BertForSequenceClassification:
    if not (folder / "config.json").exists():
        raise UserError(f"{folder}: no pre-trained student: set fetch.student_encoder (student=tinybert_hub does)")
    own = BertConfig.from_pretrained(folder)
    for key, asked, has in (
        ("layers", params.layers, own.num_hidden_layers),
        ("hidden", params.hidden, own.hidden_size),
        ("heads", params.heads, own.num_attention_heads),
        ("intermediate", params.intermediate, own.intermediate_size),
    ):
        if asked != has:
            raise UserError(f"params.yaml: train.student.{key}: {asked}: the pre-trained student has {has}: write that")
    own_vocabulary = folder / artifacts.VOCABULARY
    if own_vocabulary.read_bytes().split() != vocabulary.read_bytes().split():
        raise UserError(f"{own_vocabulary}: another vocabulary than the base encoder's: choose encoders that share one")
    # the hub's checkpoint is a pickle: torch reads tensors from it and nothing else (weights_only)
    model: BertForSequenceClassification = BertForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, **config
    )
    return model
