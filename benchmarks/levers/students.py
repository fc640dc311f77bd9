"""A student of one recipe on one part of the rows."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax
from torch import nn
from torch.nn import functional as F
from transformers import BertForSequenceClassification, BertModel
from transformers.modeling_outputs import SequenceClassifierOutput

from benchmarks.levers.folds import MORE_COPIES, Fold
from benchmarks.levers.recipes import RECIPES, Recipe
from benchmarks.levers.teachers import FINETUNED, WIDER, Study, product, scored
from pipeline import artifacts
from pipeline.batching import LengthBuckets
from pipeline.inference import run_batches
from pipeline.pooled import load_encoder
from pipeline.recipe import TrainParams, beside_teacher, epoch_rows, schedule
from pipeline.student import build_student
from pipeline.subclone import layer_ends
from pipeline.training import Examples, Lesson, Loss, fit, hard_loss, soft_loss
from pipeline.vocabulary import occurring_rows


def study_student(study: Study, fold: Fold, name: str, params: TrainParams, seed: int) -> dict[str, Any]:
    """Teaches a student by a recipe, judges it by the held-out rows, and keeps its logits for them.

    Returns:
        Its predictions (class indices), accuracy, macro-F1, mean Kullback-Leibler divergence from the teachers' product (nats) and share of
        equal answers, and seconds.
    """
    started, recipe = time.monotonic(), RECIPES[name]
    params = params.model_copy(update={**recipe.params, "seed": seed, "student": params.student.model_copy(update=recipe.start)})
    torch.manual_seed(seed)
    vocabulary = study.data / "data" / "features" / artifacts.TOKENIZER / artifacts.VOCABULARY
    student, kept = build_student(params.student, params.dropout, fold.labels, study.teacher(fold), Path(), vocabulary, fold.train.ids)
    examples, buckets = gather(study, fold, recipe, params)
    learner, examples = beside_teacher(student, kept, study.teacher(fold), examples, params)
    if recipe.attention:
        learner = WithAttention(learner, student, load_encoder(study.teacher(fold), params.device), recipe.attention)
    loss = soft_loss(params.distillation_temperature) if recipe.teacher != "labels" else smooth(recipe.smoothing)
    learn(student, Lesson(learner, student.classifier, examples, buckets, loss, schedule(params)), recipe, fold.held.ids)
    nn.Module.to(student, torch.device(params.device))
    logits_NC = run_batches(student, fold.held.ids, "fp32")
    np.save(study.logits(fold, name), logits_NC.astype(np.float16))
    told = judge(study, fold, logits_NC) | {"seconds": round(time.monotonic() - started, 1)}
    if fold.name == "full":
        ours = fold.more.ids[: len(fold.more) // (1 + MORE_COPIES)]
        told["sample"] = run_batches(student, ours, "fp32").argmax(axis=1).tolist()
    return told


def gather(study: Study, fold: Fold, recipe: Recipe, params: TrainParams) -> tuple[Examples, LengthBuckets]:
    """The texts with their targets, and which of them an epoch has: every query, and some of its copies drawn anew."""
    train, drawn = len(fold.train), params.copies_per_epoch
    sizes = {"train": train, "copies": train * recipe.copies if drawn else 0, "more": len(fold.more) if recipe.more else 0}
    ours = sizes["more"] // (1 + MORE_COPIES)
    ids = [tokens for kind, size in sizes.items() for tokens in getattr(fold, kind).ids[:size]]
    opinions = [opinion(study, fold, kind, recipe)[:size] for kind, size in sizes.items() if size and recipe.teacher != "labels"]
    targets = np.concatenate(opinions) if opinions else fold.train.labels
    assert targets is not None

    of_train = epoch_rows(train, recipe.copies, drawn)

    def with_more(rng: np.random.Generator) -> np.ndarray:
        first = train + sizes["copies"]
        return np.concatenate([of_train(rng), first + np.arange(ours), first + rng.integers(sizes["more"], size=drawn * ours)])

    buckets = LengthBuckets(np.array([len(tokens) for tokens in ids]), with_more, params.batch_size, params.seed)
    return Examples(ids, targets), buckets


def opinion(study: Study, fold: Fold, kind: str, recipe: Recipe) -> np.ndarray:
    """What the recipe's teachers think of a kind of text, shape (N, classes)."""
    members = {"wider": WIDER, "finetuned": FINETUNED[:1]}.get(recipe.teacher)
    if members:
        return product(study, fold, kind, members)
    return product(study, fold, kind, unseen=recipe.teacher == "unseen" and kind != "more")


def learn(student: BertForSequenceClassification, lesson: Lesson, recipe: Recipe, held: list[np.ndarray]) -> None:
    """Trains the student in place."""
    examples, epochs = lesson.examples, lesson.schedule.epochs
    averaged = Average(student, epochs - math.ceil(recipe.average * epochs)) if recipe.average else None
    with occurring_rows(student.bert, [*examples.ids, *held]):
        student.bert.embeddings.word_embeddings.weight.requires_grad_(not recipe.frozen)
        if recipe.two_steps:
            half = replace(lesson, schedule=replace(lesson.schedule, epochs=epochs // 2))
            fit(replace(half, loss=nothing), lambda *_: None)
            fit(replace(half, model=student, examples=Examples(examples.ids, examples.targets)), lambda *_: None)
            return
        fit(lesson, averaged or (lambda *_: None))
        if averaged:
            student.load_state_dict(averaged.mean())


def nothing(logits_BC: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """No loss of the logits: what the model itself adds is all."""
    return logits_BC.sum() * 0


def smooth(smoothing: float) -> Loss:
    """Cross-entropy with class indices, some of the mass on all classes alike (Szegedy et al. 2016, arXiv 1512.00567)."""
    if not smoothing:
        return hard_loss
    return lambda logits_BC, targets_B: F.cross_entropy(logits_BC, targets_B, label_smoothing=smoothing)


class Average:
    """The mean of a model's weights at the ends of the epochs after a first one."""

    def __init__(self, model: nn.Module, after: int) -> None:
        self.model, self.after, self.count = model, after, 0
        self.total: dict[str, torch.Tensor] = {}

    def __call__(self, epoch: int, loss: float) -> None:
        """Adds the weights as they are."""
        if epoch > self.after:
            self.count += 1
            for name, value in self.model.state_dict().items():
                self.total[name] = self.total.get(name, 0) + value.double()

    def mean(self) -> dict[str, torch.Tensor]:
        """The averaged weights."""
        return {name: (value / self.count).to(self.model.state_dict()[name].dtype) for name, value in self.total.items()}


class WithAttention(nn.Module):
    """Adds how far the student's attention is from the teacher's: their divergence at every token, mean of heads and layers (nats).

    After Jiao et al. 2020 (arXiv 1909.10351, equation 6), of the normalised maps instead of the scores, since the widths differ.
    """

    def __init__(self, inner: nn.Module, student: BertForSequenceClassification, teacher: BertModel, weight: float) -> None:
        super().__init__()
        self.inner, self.student, self.weight = inner, student, weight
        teacher.set_attn_implementation("eager")
        self.teacher = teacher.eval().requires_grad_(False)
        self.layers = layer_ends(teacher.config.num_hidden_layers, student.config.num_hidden_layers)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **more: torch.Tensor) -> SequenceClassifierOutput:
        """Logits of shape (B, classes) and all further losses."""
        outputs = self.inner(input_ids=input_ids, attention_mask=attention_mask, **more)
        batch = {"input_ids": input_ids, "attention_mask": attention_mask, "output_attentions": True}
        with torch.no_grad():
            theirs = self.teacher.eval()(**batch).attentions
        ours = self.student.bert(**batch).attentions
        told = attention_mask.bool()
        gaps = []
        for layer, mine_BHTT in zip(self.layers, ours, strict=True):
            wanted, mine = (maps.transpose(1, 2)[told].float() + 1e-9 for maps in (theirs[layer - 1], mine_BHTT))
            gaps.append((wanted * (wanted.log() - mine.log())).sum(dim=-1).mean())
        extra = self.weight * torch.stack(gaps).mean()
        return SequenceClassifierOutput(loss=extra if outputs.loss is None else outputs.loss + extra, logits=outputs.logits)


def judge(study: Study, fold: Fold, logits_NC: np.ndarray) -> dict[str, Any]:
    """Figures of logits on the held-out rows."""
    log_p_NC, theirs_NC = log_softmax(logits_NC, axis=1), product(study, fold, "held")
    return {
        **scored(log_p_NC, fold),
        "divergence": float((np.exp(theirs_NC) * (theirs_NC - log_p_NC)).sum(axis=1).mean()),
        "agreement": float((theirs_NC.argmax(axis=1) == log_p_NC.argmax(axis=1)).mean()),
    }
