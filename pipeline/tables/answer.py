"""A request to the service with its answer, and what the model weighs, takes and knows, in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline import artifacts
from pipeline.errors import UserError
from pipeline.lock import LOCK, ONNX, check_output
from pipeline.serving.classifier import Classifier
from pipeline.tables.exported import EXPORT
from pipeline.tables.performance import INFERENCE
from pipeline.tables.results import REFERENCE

TEXT, TOP_K = "The machine outside the bakery swallowed my card and went dark.", 2
DIGITS = 4  # of a probability, and of the model's hash, which whole would look like a secret to a scan


def answer() -> str:
    """The request and what the locked model answers; nothing where that model is not there, or this CPU runs another graph of it."""
    try:
        check_output(ONNX, Path(LOCK))
    except UserError:
        return ""
    classifier = Classifier.load(ONNX)
    if classifier.graph != classifier.manifest.graph:
        return ""
    answers = [each.as_record() for each in classifier.answer([TEXT], TOP_K)]
    said = json.dumps({"model": f"{classifier.sha256[:DIGITS]}…", "predictions": answers})
    rounded = json.dumps(json.loads(said, parse_float=lambda digits: round(float(digits), DIGITS)), ensure_ascii=False)
    for key in ("predictions", "top", "accepted"):
        rounded = rounded.replace(f', "{key}"', f',\n  "{key}"')
    body = json.dumps({"text": TEXT, "top_k": TOP_K})
    request = f"curl http://127.0.0.1:8080/v1/predict -H 'Content-Type: application/json' -d '{body}'"
    return f"```bash\n{request}\n```\n\n```json\n{rounded}\n```\n"


def glance() -> str:
    """Size and time of the sample's model, accuracy and cost of BANKING77's."""
    if not (EXPORT.exists() and INFERENCE.exists() and REFERENCE.exists()):
        return "Not measured yet: `make banking77`, `make benchmark-inference RECORD=1`.\n"
    export, inference, reference = (artifacts.read_json(path) for path in (EXPORT, INFERENCE, REFERENCE))
    minutes = sum(reference["wall_seconds"].values()) / 60
    return (
        f"`make repro` builds a {export[export['served']]['bytes'] / 1e6:.1f} MB model that takes {inference['p50_ms']:.1f} ms per text on "
        f"one core of {inference['machine']['cpu']} ([what it costs](docs/performance.md)). `make banking77` trains one that reaches "
        f"{100 * reference['models'][artifacts.STUDENT]['accuracy']['mean']:.1f} % accuracy on BANKING77, in {minutes:.0f} minutes "
        f"on {reference['threads']} cores of {reference['cpu']} ([results](#results)).\n"
    )
