"""Fine-tuning as SetFit does it (Tunstall et al. 2022, arXiv 2209.11055): the encoder on pairs of queries, then logistic regression.

SetFit is in no lock, since nothing else needs it: where it is not installed, the comparison goes without.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments

ITERATIONS = 5  # times that a query is in a pair of one intent, and in one of two; all other settings are SetFit's own
TEXTS = 2 * 2 * ITERATIONS  # that it reads for a query of the training set


def train(encoder: Path, texts: list[str], labels: np.ndarray, seed: int) -> tuple[SetFitModel, float]:
    """Trains the encoder of a folder and its head.

    Returns:
        The model, which predicts labels of texts, and the texts that it read a second.
    """
    model = SetFitModel.from_pretrained(str(encoder))
    with tempfile.TemporaryDirectory() as unused:  # nothing is saved there
        arguments = TrainingArguments(
            output_dir=unused, num_iterations=ITERATIONS, save_strategy="no", report_to="none", show_progress_bar=False, seed=seed
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=Dataset.from_dict({"text": texts, "label": labels.tolist()}))
        started = time.perf_counter()
        trainer.train()
    return model, TEXTS * len(texts) / (time.perf_counter() - started)
