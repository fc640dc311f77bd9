"""The recipes that are compared: each differs from `base`, the committed one, in what its row says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.tables.levers import TITLES


@dataclass(frozen=True)
class Recipe:
    """One way to teach the student.

    Attributes:
        what: the difference, for the table.
        params: overrides of the section `train`.
        start: overrides of `train.student`.
        teacher: whose probabilities: the product's, that of more fine-tuned seeds, the fine-tuned encoder's alone, or the product of
            teachers that have not seen the row; or the labels.
        copies: how many there are to draw from.
        more: whether our own sample, without its labels, is among the texts.
        smoothing: of the labels.
        average: share of the last epochs whose weights are averaged.
        attention: weight of the distance to the teacher's attention.
        two_steps: hidden states alone first, class probabilities alone after, half of the epochs each.
        frozen: whether word embeddings stay as they were cut out.
    """

    what: str
    params: dict[str, Any] = field(default_factory=dict)
    start: dict[str, Any] = field(default_factory=dict)
    teacher: Literal["product", "wider", "finetuned", "unseen", "labels"] = "product"
    copies: int = 4
    more: bool = False
    smoothing: float = 0.0
    average: float = 0.0
    attention: float = 0.0
    two_steps: bool = False
    frozen: bool = False


LONG = {"epochs": 24}
RECIPES = {
    "base": Recipe("the committed recipe"),
    "labels": Recipe(TITLES["labels"], {"epochs": 24, "hidden_weight": 0.0, "copies_per_epoch": 0}, teacher="labels"),
    "smoothed": Recipe(
        "the same, labels smoothed by 0.1", {"epochs": 24, "hidden_weight": 0.0, "copies_per_epoch": 0}, teacher="labels", smoothing=0.1
    ),
    "scratch": Recipe("random initialisation", start={"start": "scratch"}),
    "no_hidden": Recipe("class probabilities alone", {"hidden_weight": 0.0}),
    "hidden_40": Recipe("hidden states weigh 40", {"hidden_weight": 40.0}),
    "attention": Recipe("attention maps of the teacher as well", attention=1.0),
    "two_steps": Recipe("hidden states first, class probabilities after", two_steps=True),
    "no_copies": Recipe("no augmented copies, as many steps", {"epochs": 24, "copies_per_epoch": 0}),
    "copies_12": Recipe("twelve copies to draw from instead of four", copies=12),
    "finetuned": Recipe("the fine-tuned encoder as the only teacher", teacher="finetuned"),
    "wider": Recipe("two more fine-tuned encoders in the product", teacher="wider"),
    "unseen": Recipe("out-of-fold soft targets: of teachers that have not seen the row", teacher="unseen"),
    "more": Recipe("our own sample's queries as further texts, without labels", more=True),
    "rate_1e-3": Recipe("learning rate 1e-3", {"learning_rate": 1e-3}),
    "batch_32": Recipe("batches of 32", {"batch_size": 32}),
    "temperature_1": Recipe("temperature 1", {"distillation_temperature": 1.0}),
    "temperature_3": Recipe("temperature 3", {"distillation_temperature": 3.0}),
    "dropout": Recipe("dropout 0.1", {"dropout": 0.1}),
    "average": Recipe("weights averaged over the last quarter of the epochs", average=0.25),
    "frozen": Recipe("word embeddings frozen", frozen=True),
    "long": Recipe("three times as long, twelve copies", LONG, copies=12),
    "long_wider": Recipe("three times as long, twelve copies, two more fine-tuned encoders", LONG, teacher="wider", copies=12),
    "long_wider_more": Recipe("the same, and our own sample's queries", LONG, teacher="wider", copies=12, more=True),
    "long_unseen": Recipe("three times as long, twelve copies, out-of-fold soft targets", LONG, teacher="unseen", copies=12),
}
