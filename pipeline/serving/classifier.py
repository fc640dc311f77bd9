"""Text to intent, with the graph of ``models/onnx``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from pipeline import artifacts
from pipeline.errors import UserError
from pipeline.manifest import REMEDY, Manifest, read_manifest
from pipeline.onnx_session import labels_of, multiplies_bytes, open_session, order_by_length, run_session
from pipeline.text import clean_text


@dataclass(frozen=True)
class Answer:
    """What a text is about.

    Attributes:
        label: the likeliest intent.
        confidence: its calibrated probability.
        top: the likeliest intents with their calibrated probabilities, best first.
        accepted: whether the confidence reaches the threshold; if not, a person should look.
        label_set: the intents that cannot be ruled out (see ``pipeline/abstention.py``), best first.
        truncated: whether the text was cut to the model's number of word pieces.
    """

    label: str
    confidence: float
    top: tuple[tuple[str, float], ...]
    accepted: bool
    label_set: tuple[str, ...]
    truncated: bool


class Classifier:
    """An exported model, ready to answer; calls from several threads may run side by side."""

    def __init__(self, manifest: Manifest, graph: str, labels: tuple[str, ...], tokenizer: Tokenizer, session: Any) -> None:
        self.manifest = manifest
        self.graph = graph
        self.labels = labels
        self._tokenizer = tokenizer
        self._session = session

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> Classifier:
        """Loads the graph that the manifest names, or fp32 where this CPU cannot run int8 exactly, with ``threads`` threads a call.

        Raises:
            UserError: the folder is not what its manifest says, or graph, labels and tokenizer do not belong together.
        """
        manifest = read_manifest(folder)
        graph = manifest.graph if multiplies_bytes() else "fp32"
        session = open_session((folder / artifacts.graph_file(graph)).read_bytes(), threads)
        labels = artifacts.read_json(folder / artifacts.LABELS)
        if labels != labels_of(session) or len(labels) != manifest.labels:
            raise UserError(f"{folder / artifacts.LABELS}: not the labels of the {graph} graph, in its order: {REMEDY}")
        tokenizer = Tokenizer.from_file(str(folder / artifacts.TOKENIZER_FILE))
        cut_at = (tokenizer.truncation or {}).get("max_length")
        if cut_at != manifest.max_tokens:
            raise UserError(f"{folder / artifacts.TOKENIZER_FILE}: cuts at {cut_at} word pieces, not at {manifest.max_tokens}: {REMEDY}")
        return cls(manifest, graph, tuple(labels), tokenizer, session)

    def answer(self, texts: Sequence[str], top_k: int = 5) -> list[Answer]:
        """One answer a text, in the order of the texts, each with its ``top_k`` likeliest intents (all, if there are fewer).

        Texts are cleaned as training's were, and put into batches of like length. An answer does not depend on its batch-mates but for what
        the manifest's metrics call ``max_batch_effect``.
        """
        if not texts:
            return []
        encodings = [self._tokenizer.encode(clean_text(_well_formed(text))) for text in texts]
        ids = [encoding.ids for encoding in encodings]
        p_NC = _softmax(run_session(self._session, ids, order_by_length(ids)) / self.manifest.temperature)
        return [self._answer(p_C, top_k, bool(encoding.overflowing)) for p_C, encoding in zip(p_NC, encodings, strict=True)]

    def _answer(self, p_C: np.ndarray, top_k: int, truncated: bool) -> Answer:
        best = np.argsort(-p_C, kind="stable")
        in_set = max(1, int((p_C >= self.manifest.conformal.threshold).sum()))
        confidence = float(p_C[best[0]])
        return Answer(
            label=self.labels[best[0]],
            confidence=confidence,
            top=tuple((self.labels[i], float(p_C[i])) for i in best[:top_k]),
            accepted=confidence >= self.manifest.threshold,
            label_set=tuple(self.labels[i] for i in best[:in_set]),
            truncated=truncated,
        )


def _softmax(logits_NC: np.ndarray) -> np.ndarray:
    exp_NC = np.exp(logits_NC.astype(np.float64) - logits_NC.max(axis=1, keepdims=True))
    p_NC: np.ndarray = exp_NC / exp_NC.sum(axis=1, keepdims=True)
    return p_NC


def _well_formed(text: str) -> str:
    """The text with a replacement character for each half of a surrogate pair, which JSON can bring and the tokenizer cannot take."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
