"""Text to intent, with the graph of ``models/onnx``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from pipeline import artifacts
from pipeline.decision import accepts, label_sets, probabilities
from pipeline.errors import UserError
from pipeline.manifest import REMEDY, Manifest, read_manifest, record
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
        label_set: the intents that cannot be ruled out (see ``pipeline/decision.py``), best first.
        truncated: whether the text was cut to the model's number of word pieces.
    """

    label: str
    confidence: float
    top: tuple[tuple[str, float], ...]
    accepted: bool
    label_set: tuple[str, ...]
    truncated: bool

    def as_record(self) -> dict[str, Any]:
        """The same as JSON has it: lists, and an object a likely intent."""
        top = [{"label": label, "confidence": confidence} for label, confidence in self.top]
        return vars(self) | {"top": top, "label_set": list(self.label_set)}


class Classifier:
    """An exported model, ready to answer; calls from several threads may run side by side.

    The manifest's hash stands for the model: a manifest holds the hashes of all other files.
    """

    def __init__(self, manifest: Manifest, sha256: str, graph: str, labels: tuple[str, ...], tokenizer: Tokenizer, session: Any) -> None:
        self.manifest = manifest
        self.sha256 = sha256
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
        return cls(manifest, record(folder / artifacts.MANIFEST).sha256, graph, tuple(labels), tokenizer, session)

    def answer(self, texts: Sequence[str], top_k: int = 5) -> list[Answer]:
        """One answer a text, in the order of the texts, each with its ``top_k`` likeliest intents (all, if there are fewer).

        Texts are cleaned as training's were, and put into batches of like length. An answer does not depend on its batch-mates but for what
        the manifest's metrics call ``max_batch_effect``.
        """
        if not texts:
            return []
        encodings = [self._tokenizer.encode(clean_text(_well_formed(text))) for text in texts]
        ids = [encoding.ids for encoding in encodings]
        logits_NC = run_session(self._session, ids, order_by_length(ids))
        p_NC = probabilities(logits_NC.astype(np.float64), self.manifest.temperature)
        accepted_N = accepts(p_NC, self.manifest.threshold)
        in_set_NC = label_sets(p_NC, self.manifest.conformal.threshold)
        return [
            Answer(
                label=self.labels[best_C[0]],
                confidence=float(p_C[best_C[0]]),
                top=tuple((self.labels[i], float(p_C[i])) for i in best_C[:top_k]),
                accepted=bool(accepted),
                label_set=tuple(self.labels[i] for i in best_C if in_set_C[i]),
                truncated=bool(encoding.overflowing),
            )
            for p_C, best_C, accepted, in_set_C, encoding in zip(
                p_NC, np.argsort(-p_NC, kind="stable"), accepted_N, in_set_NC, encodings, strict=True
            )
        ]


def _well_formed(text: str) -> str:
    """The text with a replacement character for each half of a surrogate pair, which JSON can bring and the tokenizer cannot take."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
