"""The service, with limits and routes as they are, around a model that a text can tell what to answer: ``[label 0.42 unsure]``."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Sequence

from model_standin import serve

from pipeline.serving.classifier import Answer

LABELS = ("$100", "-1_day", "<b>bold</b>", "=cmd|' /C calc'!A1", "card_arrival", "change_pin", "lost_card", "top_up", "twice;-1")
OTHERWISE = os.environ.get("STANDIN_LABEL", "card_arrival")  # what it says where the text tells nothing; another is another model


class Standin:
    sha256 = hashlib.sha256(OTHERWISE.encode()).hexdigest()
    labels = LABELS

    def answer(self, texts: Sequence[str], top_k: int = 5) -> list[Answer]:
        return [self._answer(text, top_k) for text in texts]

    def _answer(self, text: str, top_k: int) -> Answer:
        time.sleep(0.05 * ("slow" in text))
        told = re.search(r"\[(\w+) ([\d.]+)( unsure)?\]", text)
        label, confidence = (told[1], float(told[2])) if told else (OTHERWISE, 0.9)
        others = [name for name in LABELS if name != label]
        top = ((label, confidence), *((name, (1 - confidence) / len(others)) for name in others))
        return Answer(label, confidence, top[:top_k], not (told and told[3]), (label,), len(text) > 1_000)


serve(Standin())
