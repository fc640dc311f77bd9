"""From a text to its label: how long, against whom, on one core.

Run     python -m benchmarks.inference [--quick] [--record] [--longest 22] [--model models/onnx] [--checkpoint models/tinybert]
        [--data data/prepared]

The rivals are our classifier with either graph (fp32 alone on a CPU that does not multiply bytes), `transformers.pipeline` on the same
checkpoint (eager PyTorch, as its documentation says to use it), and TF-IDF with a linear support vector machine, fitted to the training
queries. All answer the same queries of the test split, those as long as BANKING77's, in one process that is held to one core: first one
text after the other (latency), then all at once in batches of like length (bulk). A turn is 25 texts, so that each rival finds the CPU's
caches as it left them, as it would in a service. A figure is the median over repetitions; beside it the lowest and the highest. Ratios are
taken within a repetition.

Prints a table, then one line of JSON.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import transformers
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC
from tokenizers import Tokenizer

from benchmarks.results import add_record, tell
from pipeline import artifacts
from pipeline.errors import UserError, exit_with_one_line
from pipeline.lock import folder_md5
from pipeline.metrics import accuracy
from pipeline.onnx_session import BATCH_SIZE, multiplies_bytes
from pipeline.prepared import read_labelled
from pipeline.runtime import fix_runtime, machine_class
from pipeline.serving.classifier import Classifier
from pipeline.tables.performance import INFERENCE, inference_table

PIPELINE, SVM, TOKENIZER = "transformers.pipeline", "TF-IDF of words and characters + LinearSVC", "tokenizer alone"
WARM_UP = 20
TURN = 25  # texts until it is the next rival's turn
LONGEST = 22  # word pieces: the sample's test queries up to there have 15 on average, as BANKING77's have


class Rival(NamedTuple):
    """Something that labels texts."""

    name: str
    one: Callable[[str], object]  # a text to its label
    many: Callable[[list[str]], list[str]]  # texts to their labels, in the fastest way it has


def hold_to_one_core() -> None:
    """No rival gets a second core, whatever threads it starts."""
    fix_runtime(threads=1, seed=0)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def our_rival(model: Path, graph: str, scratch: Path) -> Rival:
    """The classifier with a graph of the folder, whichever of the two it serves."""
    folder = shutil.copytree(model, scratch / graph)
    manifest = artifacts.read_json(folder / artifacts.MANIFEST)
    artifacts.write_json(folder / artifacts.MANIFEST, manifest | {"graph": graph})
    classifier = Classifier.load(folder)
    return Rival(
        f"ours, {graph}",
        lambda text: classifier.answer([text], top_k=1)[0].label,
        lambda texts: [answer.label for answer in classifier.answer(texts, top_k=1)],
    )


def pipeline_rival(checkpoint: Path) -> Rival:
    """`transformers.pipeline`, which truncates and pads like us."""
    classify = transformers.pipeline("text-classification", model=str(checkpoint), device="cpu")

    def many(texts: list[str]) -> list[str]:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found = classify([texts[i] for i in order], batch_size=BATCH_SIZE, truncation=True)
        labels = dict(zip(order, (row["label"] for row in found), strict=True))
        return [labels[i] for i in range(len(texts))]

    return Rival(PIPELINE, lambda text: classify(text, truncation=True)[0]["label"], many)


def svm_rival(texts: list[str], labels: list[str]) -> Rival:
    """The cheap one."""
    views = make_union(
        TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)), TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 5))
    )
    fitted = make_pipeline(views, LinearSVC()).fit(texts, labels)
    return Rival(SVM, lambda text: fitted.predict([text])[0], lambda texts: list(fitted.predict(texts)))


def tokenizer_alone(model: Path) -> Rival:
    """A part of our way: text to word pieces, and how many there are."""
    tokenizer = Tokenizer.from_file(str(model / artifacts.TOKENIZER_FILE))
    return Rival(
        TOKENIZER, lambda text: len(tokenizer.encode(text)), lambda texts: [str(len(row)) for row in tokenizer.encode_batch(texts)]
    )


def no_longer_than(texts: list[str], labels: list[str], tokenizer: Rival, longest: int) -> tuple[list[str], list[str], float]:
    """The texts of at most ``longest`` word pieces, their labels, and how many word pieces they have on average.

    Raises:
        UserError: there are none.
    """
    lengths_N = np.array([tokenizer.one(text) for text in texts])
    kept = np.flatnonzero(lengths_N <= longest)
    if not len(kept):
        raise UserError(f"--longest {longest}: no query of the test split has so few word pieces: the shortest has {lengths_N.min()}")
    return [texts[i] for i in kept], [labels[i] for i in kept], float(lengths_N[kept].mean())


def time_latency(rivals: list[Rival], texts: list[str], repetitions: int) -> np.ndarray:
    """Milliseconds of every call, shape (repetitions, rivals, texts); who begins changes from turn to turn."""
    taken_RVN = np.empty((repetitions, len(rivals), len(texts)))
    turns = list(enumerate(range(0, len(texts), TURN)))
    for repetition, (turn, start), k in product(range(repetitions), turns, range(len(rivals))):
        v = (k + turn + repetition) % len(rivals)
        for n, text in enumerate(texts[start : start + TURN], start):
            started = time.perf_counter_ns()
            rivals[v].one(text)
            taken_RVN[repetition, v, n] = (time.perf_counter_ns() - started) / 1e6
    return taken_RVN


def time_bulk(rivals: list[Rival], texts: list[str], repetitions: int) -> tuple[np.ndarray, dict[str, list[str]]]:
    """Queries a second of shape (repetitions, rivals), and what each rival said."""
    rates_RV, said = np.empty((repetitions, len(rivals))), {}
    for repetition in range(repetitions):
        for k in range(len(rivals)):
            v = (k + repetition) % len(rivals)
            started = time.perf_counter()
            said[rivals[v].name] = rivals[v].many(texts)
            rates_RV[repetition, v] = len(texts) / (time.perf_counter() - started)
    return rates_RV, said


def summarize(
    graph: str, names: list[str], taken_RVN: np.ndarray, rates_RV: np.ndarray, said: dict[str, list[str]], labels: list[str]
) -> dict[str, Any]:
    """All that was measured; at its head what concerns the graph that is served."""
    p50_RV, p99_RV = np.median(taken_RVN, axis=2), np.quantile(taken_RVN, 0.99, axis=2)
    speedup_RV = p50_RV[:, [names.index(PIPELINE)]] / p50_RV
    ours = names.index(f"ours, {graph}")
    both = [np.array(said[name]) for name in ("ours, int8", "ours, fp32") if name in said]
    return {
        "graph": graph,
        "speedup_vs_pipeline_p50": round(float(np.median(speedup_RV[:, ours])), 2),
        "p50_ms": round(float(np.median(p50_RV[:, ours])), 4),
        "p99_ms": round(float(np.median(p99_RV[:, ours])), 4),
        "bulk_queries_per_second_per_core": round(float(np.median(rates_RV[:, ours]))),
        "int8_agreement": round(accuracy(*both), 4) if len(both) == 2 else None,
        "rivals": {
            name: {
                "p50_ms": p50_RV[:, v].round(4).tolist(),
                "p99_ms": p99_RV[:, v].round(4).tolist(),
                "speedup": speedup_RV[:, v].round(3).tolist(),
                "bulk_queries_per_second": rates_RV[:, v].round(1).tolist(),
                "accuracy": None if name == TOKENIZER else round(accuracy(np.array(labels), np.array(said[name])), 4),
            }
            for v, name in enumerate(names)
        },
        "repetitions": len(taken_RVN),
        "n": len(labels),
        "machine": machine_class(threads=1, precision="fp32"),
    }


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=Path("models/onnx"), help="folder written by stage `export`")
    parser.add_argument("--checkpoint", type=Path, default=Path("models/tinybert"), help="folder written by stage `train`")
    parser.add_argument("--data", type=Path, default=Path("data/prepared"), help="folder written by stage `prepare`")
    parser.add_argument("--longest", type=int, default=LONGEST, help="word pieces of the longest query taken, [CLS] and [SEP] included")
    parser.add_argument("--repetitions", type=int, default=5, help="passes over all queries (default: 5)")
    parser.add_argument("--quick", action="store_true", help="two repetitions over 50 queries: does it run?")
    add_record(parser, INFERENCE)
    return parser.parse_args()


def main() -> None:
    """Loads the rivals, lets them run interleaved, prints."""
    args = read_arguments()
    hold_to_one_core()
    texts, labels = read_labelled(args.data, "test")
    served = Classifier.load(args.model).graph
    tokenizer = tokenizer_alone(args.model)
    texts, labels, pieces = no_longer_than(texts, labels, tokenizer, args.longest)
    repetitions = args.repetitions
    if args.quick:
        repetitions, texts, labels = 2, texts[:50], labels[:50]
    with tempfile.TemporaryDirectory() as scratch:
        ours = [our_rival(args.model, graph, Path(scratch)) for graph in (("int8", "fp32") if multiplies_bytes() else ("fp32",))]
        rivals = [*ours, tokenizer, pipeline_rival(args.checkpoint), svm_rival(*read_labelled(args.data, "train"))]
        time_latency(rivals, texts[:WARM_UP], 1)
        taken_RVN = time_latency(rivals, texts, repetitions)
        rates_RV, said = time_bulk(rivals, texts, repetitions)
    result = summarize(served, [rival.name for rival in rivals], taken_RVN, rates_RV, said, labels)
    result |= {"model": folder_md5(args.model), "longest": args.longest, "word_pieces": round(pieces, 2)}
    tell(result, inference_table, args.record)


if __name__ == "__main__":
    exit_with_one_line(main)
