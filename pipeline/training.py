"""Fits a model to targets with the Hugging Face ``Trainer``; the teacher and the student both learn here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from pipeline.batching import Ids, LengthBuckets, pad

NO_DECAY = ("bias", "LayerNorm", "embeddings")

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
StatesOf = Callable[[Sequence[int]], torch.Tensor]  # of some rows


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn.

    Attributes:
        epochs: passes over what an epoch consists of.
        learning_rate: peak, reached after ``warmup_fraction`` of the steps; then linear decay to 0.
        head_learning_rate: the same for the head.
        weight_decay: of matrices outside the embeddings (AdamW, decoupled).
        precision: ``bf16`` (autocast) or ``fp32``.
        device: ``cpu`` or ``cuda``.
        seed: of order and dropout.
    """

    epochs: int
    learning_rate: float
    head_learning_rate: float
    warmup_fraction: float
    weight_decay: float
    precision: str
    device: str
    seed: int


class Examples(Dataset[int]):
    """Word-piece ids of N queries and their targets: class indices (N,) or log-probabilities (N, classes).

    An item is a row's index; ``batch`` gathers what belongs to many.
    """

    def __init__(self, ids: Ids, targets: np.ndarray, teacher_states: StatesOf | None = None) -> None:
        self.ids = ids
        self.targets = targets
        self.teacher_states = teacher_states

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> int:
        return row

    def batch(self, rows: list[int]) -> dict[str, torch.Tensor]:
        """Padded ids and mask, ``targets`` and, where there are any, ``teacher_states``."""
        targets = torch.from_numpy(self.targets[rows])
        inputs = pad([self.ids[row] for row in rows])
        inputs["targets"] = targets.float() if targets.is_floating_point() else targets.long()
        if self.teacher_states is not None:
            inputs["teacher_states"] = self.teacher_states(rows)
        return inputs


@dataclass(frozen=True)
class Lesson:
    """Who learns, and what.

    Attributes:
        model: takes ids and mask, returns logits, and a further loss or None.
        head: the part of it that learns with ``head_learning_rate``.
        examples: all rows that ``buckets`` may name.
        buckets: which rows, in which batches.
        loss: mean loss of a batch.
        schedule: how long and how fast.
    """

    model: nn.Module
    head: nn.Module
    examples: Examples
    buckets: LengthBuckets
    loss: Loss
    schedule: Schedule


class BucketTrainer(Trainer):
    """A ``Trainer`` with a loss of (logits, targets) and batches of like length."""

    def __init__(self, lesson: Lesson, **arguments: Any) -> None:
        super().__init__(model=lesson.model, train_dataset=lesson.examples, **arguments)
        self.lesson = lesson

    def get_train_dataloader(self) -> DataLoader[int]:
        """The training batches, in the order of the buckets."""
        examples = self.lesson.examples
        loader = DataLoader(examples, batch_sampler=self.lesson.buckets, collate_fn=examples.batch)
        # the buckets know which rows are this process's: accelerate must not share the batches out once more
        device = self.accelerator.device
        prepared: DataLoader[int] = prepare_data_loader(loader, device, num_processes=1, process_index=0, put_on_device=True)
        return prepared

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, torch.Tensor], return_outputs: bool = False, num_items_in_batch: object = None
    ) -> torch.Tensor:
        """Mean loss of a batch, and what the model itself adds to it."""
        targets = inputs.pop("targets")
        # not `bf16` of the TrainingArguments: that leaves the model with an autocast of its own, whatever precision it is asked for later
        with torch.autocast(self.args.device.type, dtype=torch.bfloat16, enabled=self.lesson.schedule.precision == "bf16"):
            outputs = model(**inputs)
        loss = self.lesson.loss(outputs.logits.float(), targets)
        return loss if outputs.loss is None else loss + outputs.loss


class EpochEnd(TrainerCallback):
    """Calls a function with the epoch (1-based) and the mean training loss since the last call."""

    def __init__(self, call: Callable[[int, float], None]) -> None:
        self.call = call

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float] | None = None, **_: object
    ) -> None:
        """The Trainer logs once an epoch."""
        if logs is not None and "loss" in logs:
            self.call(round(state.epoch or 0), float(logs["loss"]))


def hard_loss(logits_BC: torch.Tensor, targets_B: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with class indices."""
    return nn.functional.cross_entropy(logits_BC, targets_B)


def soft_loss(temperature: float) -> Loss:
    """Cross-entropy with a teacher's log-probabilities, both at a temperature (Hinton et al. 2015, arXiv 1503.02531, section 2).

    It differs from the Kullback-Leibler divergence by the teacher's entropy, which has no gradient; the factor T^2 keeps the
    gradient's size independent of T.
    """

    def loss(logits_BC: torch.Tensor, log_p_BC: torch.Tensor) -> torch.Tensor:
        teacher_BC = torch.softmax(log_p_BC / temperature, dim=-1)
        return nn.functional.cross_entropy(logits_BC / temperature, teacher_BC) * temperature**2

    return loss


def fit(lesson: Lesson, at_epoch_end: Callable[[int, float], None]) -> None:
    """Trains the lesson's model in place and leaves it on the CPU; under ``torchrun`` all processes train one and the same.

    Args:
        lesson: who learns, and what.
        at_epoch_end: called with epoch (1-based) and mean training loss.
    """
    schedule = lesson.schedule
    with tempfile.TemporaryDirectory() as unused:  # nothing is saved there; the Trainer wants a folder
        arguments = TrainingArguments(
            output_dir=unused,
            num_train_epochs=schedule.epochs,
            per_device_train_batch_size=lesson.buckets.batch_size,
            learning_rate=schedule.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=schedule.warmup_fraction,
            use_cpu=schedule.device == "cpu",
            seed=schedule.seed,
            logging_strategy="epoch",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        arguments._n_gpu = min(arguments.n_gpu, 1)  # several are for torchrun; DataParallel would cut a query's hidden states apart
        trainer = BucketTrainer(lesson, args=arguments, callbacks=[EpochEnd(at_epoch_end)], optimizers=(_optimizer(lesson), None))
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        lesson.model.cpu()


def _optimizer(lesson: Lesson) -> torch.optim.Optimizer:
    schedule, in_head = lesson.schedule, {id(parameter) for parameter in lesson.head.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in lesson.model.named_parameters():
        key = (id(parameter) in in_head, not any(part in name for part in NO_DECAY))
        groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": schedule.head_learning_rate if is_head else schedule.learning_rate,
                "weight_decay": schedule.weight_decay if decays else 0.0,
            }
            for (is_head, decays), parameters in groups.items()
        ],
        fused=True,
    )
