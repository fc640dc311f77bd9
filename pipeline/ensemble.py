"""The teachers: three models and their product, as `teach` fits them and `evaluate` scores them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.special import log_softmax

from pipeline import artifacts
from pipeline.bag_of_words import BagOfWords
from pipeline.features import Queries
from pipeline.inference import run_batches
from pipeline.pooled import PooledClassifier, load_pooled

ENCODERS = ("base_encoder", "teacher_finetuned")
PRODUCT = "teacher"
NAMES = (artifacts.BAG_OF_WORDS, *ENCODERS, PRODUCT)


class Ensemble:
    """Bag of words, frozen base encoder and fine-tuned base encoder, each with a linear head."""

    def __init__(self, bag_of_words: BagOfWords, base_encoder: PooledClassifier, finetuned: PooledClassifier) -> None:
        self.bag_of_words = bag_of_words
        self.base_encoder = base_encoder
        self.finetuned = finetuned

    def log_probabilities(self, queries: Queries, precision: str) -> dict[str, np.ndarray]:
        """Log-probabilities of shape (N, classes) of each member and of their product.

        The product of experts (Hinton 1999) is the renormalised sum of log-probabilities: one confident "no" is a veto.
        """
        members = {artifacts.BAG_OF_WORDS: self.bag_of_words.log_probabilities(queries.texts)}
        for name, encoder in self._encoders().items():
            members[name] = log_softmax(run_batches(encoder, queries.ids, precision), axis=1)
        return members | {PRODUCT: log_softmax(sum(members.values()), axis=1)}

    def parameters(self) -> dict[str, int]:
        """Number of weights of each member and of all together (both encoders counted)."""
        members = {artifacts.BAG_OF_WORDS: self.bag_of_words.parameters}
        for name, encoder in self._encoders().items():
            members[name] = sum(parameter.numel() for parameter in encoder.parameters())
        return members | {PRODUCT: sum(members.values())}

    def _encoders(self) -> dict[str, PooledClassifier]:
        return dict(zip(ENCODERS, (self.base_encoder, self.finetuned), strict=True))

    def save(self, folder: Path) -> None:
        """Writes a folder a member; the frozen encoder itself stays in ``data/raw/encoder``."""
        self.bag_of_words.save(folder / artifacts.BAG_OF_WORDS)
        self.base_encoder.save(folder / artifacts.BASE_ENCODER, with_encoder=False)
        self.finetuned.save(folder / artifacts.FINETUNED, with_encoder=True)

    @classmethod
    def load(cls, folder: Path, raw_encoder: Path) -> Ensemble:
        """Reads what ``save`` wrote."""
        finetuned = folder / artifacts.FINETUNED
        return cls(
            BagOfWords.load(folder / artifacts.BAG_OF_WORDS),
            load_pooled(raw_encoder, folder / artifacts.BASE_ENCODER, normalize=True),
            load_pooled(finetuned, finetuned, normalize=False),
        )
