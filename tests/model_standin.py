"""The service, with limits and routes as they are, around a model that does what a text says: ``sleep 0.5``, ``hang``, ``fail``."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from pipeline.serve import Server
from pipeline.serving.app import Version, create_app
from pipeline.serving.classifier import Answer
from pipeline.serving.settings import read_settings


class Standin:
    sha256 = "0" * 64
    labels = ("first", "second")

    def answer(self, texts: Sequence[str], top_k: int = 5) -> list[Answer]:
        for text in texts:
            if text == "fail":
                raise ValueError(f"cannot answer {text} of SECRET TEXT")
            time.sleep(3600 if text == "hang" else float(text.removeprefix("sleep ")) if text.startswith("sleep ") else 0)
        top = (("first", 0.75), ("second", 0.25))
        return [Answer("first", 0.75, top[:top_k], text != "unsure", ("first",), False) for text in texts]


def serve(model: Any) -> None:
    """Runs the service around what stands in for a ``Classifier``."""
    settings = read_settings(sys.argv[1:], os.environ)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    version = Version(commit=None, model_sha256=model.sha256, graph="none", labels=len(model.labels), threshold=0.5, metrics={})
    Server(create_app(model, settings, version), settings).run()


if __name__ == "__main__":
    serve(Standin())
