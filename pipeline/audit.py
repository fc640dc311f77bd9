"""Looks at the data that the last run used: what is wrong, and in which row?

Run     python -m pipeline.audit [--output build/audit] [--counts FILE]
Reads   data/raw/dataset, data/raw/encoder, data/prepared; params.yaml
Writes  index.html (needs nothing beside itself), balance.png, lengths.png, vocabulary.png, twins.png, suspects.png and audit.json (every
        row) in the output folder; with --counts the figures alone, without any text, to a file

Of other data than the sample: `dvc exp run prepare -S data=banking77` (or `-S data=csv ...`) first.

Label errors are suspected in the training and validation rows, each judged by logistic regressions on the frozen encoder's embeddings that
have not learnt from it. Texts of the report are masked where they hold personal data.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import ConfigDict
from tokenizers import Encoding

from pipeline import artifacts
from pipeline.auditing import charts
from pipeline.auditing.defects import Defect, Defects, Query, count_of, defect, in_raw_rows, in_splits, in_word_pieces
from pipeline.auditing.page import KINDS, write_page
from pipeline.auditing.reading import read_prepared, read_raw, tokenize
from pipeline.errors import exit_with_one_line
from pipeline.inference import run_batches
from pipeline.metrics import DECIMALS
from pipeline.params import Params, read_params
from pipeline.pooled import PooledClassifier, load_encoder
from pipeline.runtime import fix_runtime
from pipeline.suspects import FOLDS, SURENESS, Suspects, out_of_fold, suspects
from pipeline.words import unknown_share, vocabulary, words

THREADS = 2


class Masking(Params):
    """The one knob of `prepare` that changes a text."""

    model_config = ConfigDict(extra="ignore")
    mask_personal_data: bool


class Cut(Params):
    """The one knob of `featurize` that an audit needs."""

    model_config = ConfigDict(extra="ignore")
    max_tokens: int


class Found(NamedTuple):
    """All that an audit looks at and finds.

    Attributes:
        raw: the rows as they came, cleaned, by the file they are in (``train``, ``test``).
        queries: the rows of all splits.
        intents: in the order of the class indices.
        encodings: the word pieces of ``queries``.
        labels: class indices of the N rows that were judged, those of training and validation; shape (N,).
        probabilities: what models that have not learnt from the row say of it; shape (N, classes).
        suspects: of the N rows.
        defects: rows by kind.
    """

    raw: dict[str, list[Query]]
    queries: list[Query]
    intents: list[str]
    encodings: list[Encoding]
    labels: np.ndarray
    probabilities: np.ndarray
    suspects: Suspects
    defects: Defects

    @property
    def source(self) -> str:
        """The name of the training file."""
        return self.raw["train"][0].place.rpartition(":")[0]


def cut(ids: list[int], max_tokens: int) -> list[int]:
    """Word pieces as ``featurize`` cuts them: the last stays, which ends the text."""
    return ids if len(ids) <= max_tokens else [*ids[: max_tokens - 1], ids[-1]]


def judge(encoder: Path, encodings: Sequence[Encoding], labels_N: np.ndarray, classes: int, max_tokens: int, seed: int) -> np.ndarray:
    """Out-of-fold class probabilities of N queries, of shape (N, classes)."""
    model = PooledClassifier(load_encoder(encoder), classes, normalize=True)
    ids = [np.array(cut(encoding.ids, max_tokens), dtype=np.int64) for encoding in encodings]
    embeddings_NH = run_batches(model, ids, "fp32", output=model.embed)
    return out_of_fold(embeddings_NH, labels_N, classes, seed)


def describe_suspects(queries: Sequence[Query], intents: Sequence[str], probabilities_NC: np.ndarray, found: Suspects) -> list[Defect]:
    """The suspects as defects, the least believable label first."""
    return [
        defect(
            queries[row],
            f"perhaps {intents[other]}: probability {probabilities_NC[row, other]:.2f}, "
            f"of the given one {probabilities_NC[row, intents.index(queries[row].intent)]:.2f}",
        )
        for row, other in zip(found.rows, found.suggested, strict=True)
    ]


def look(data: Path, masked: bool, max_tokens: int, seed: int) -> Found:
    """Reads the rows and looks for all that can be wrong with them.

    Raises:
        UserError: there was no run, or its folders do not belong together.
    """
    raw = read_raw(data / "raw" / "dataset", masked)
    queries, intents = read_prepared(data / "prepared", data / "raw" / "dataset")
    encodings = tokenize(data / "raw" / "encoder", queries)
    places = [place for place, query in enumerate(queries) if query.split != "test"]
    learnt = [queries[place] for place in places]
    labels_N = np.array([intents.index(query.intent) for query in learnt])
    print(f"{len(learnt)} rows: judging their labels in {FOLDS} folds", flush=True)
    judged = [encodings[place] for place in places]
    probabilities_NC = judge(data / "raw" / "encoder", judged, labels_N, len(intents), max_tokens, seed)
    suspected = suspects(probabilities_NC, labels_N)
    defects = (
        {"label_error": describe_suspects(learnt, intents, probabilities_NC, suspected)}
        | in_raw_rows(raw["train"], raw["test"])
        | in_splits(queries)
        | in_word_pieces(queries, encodings, max_tokens)
    )
    return Found(raw, queries, intents, encodings, labels_N, probabilities_NC, suspected, defects)


def figures(queries: Sequence[Query], encodings: Sequence[Encoding]) -> dict[str, dict[str, str]]:
    """A table for people: a row a figure, a column a split."""
    known = vocabulary([query.text for query in queries if query.split == "train"])
    table: dict[str, dict[str, str]] = {}
    for split in artifacts.SPLITS:
        own = [query for query in queries if query.split == split]
        lengths = [len(words(query.text)) for query in own]
        pieces = [len(encoding.ids) for query, encoding in zip(queries, encodings, strict=True) if query.split == split]
        rows = list(Counter(query.intent for query in own).values())
        column = {
            "rows": f"{len(own):,}",
            "intents": str(len(rows)),
            "rows an intent: fewest / median / most": f"{min(rows)} / {np.median(rows):g} / {max(rows)}",
            "words a query: median / 95 % / most": f"{np.median(lengths):g} / {np.quantile(lengths, 0.95):g} / {max(lengths)}",
            "word pieces a query: median / most": f"{np.median(pieces):g} / {max(pieces)}",
            "different words": f"{len(vocabulary([query.text for query in own])):,}",
        }
        if split != "train":
            column["words that training does not have, mean share"] = f"{100 * np.mean([unknown_share(q.text, known) for q in own]):.1f} %"
        for name, value in column.items():
            table.setdefault(name, {})[split] = value
    return table


def report_on(found: Found, seed: int) -> dict[str, Any]:
    """The figures of an audit: no text of a row is in them."""
    labels_N, probabilities_NC = found.labels, found.probabilities
    pairs = Counter((int(labels_N[row]), int(other)) for row, other in zip(found.suspects.rows, found.suspects.suggested, strict=True))
    return {
        "command": "python -m pipeline.audit",
        "source": found.source,
        "rows": {"train": len(found.raw["train"]), "test": len(found.raw["test"]), "judged": len(labels_N)},
        "intents": len(found.intents),
        "suspects": {
            "rows": len(found.suspects.rows),
            "share": round(len(found.suspects.rows) / len(labels_N), DECIMALS),
            "folds": FOLDS,
            "sureness": SURENESS,
            "accuracy": round(float((probabilities_NC.argmax(axis=1) == labels_N).mean()), DECIMALS),
        },
        "pairs": [[found.intents[given], found.intents[other], count] for (given, other), count in pairs.most_common(charts.PAIRS_SHOWN)],
        "defects": {kind: count_of(found.defects[kind]) for kind in KINDS},
        "seed": seed,
    }


def summarize(report: dict[str, Any]) -> str:
    """What was judged and what came out, in a sentence."""
    suspected, rows = report["suspects"], report["rows"]["judged"]
    return (
        f"{rows:,} training and validation rows of {report['intents']} intents: {suspected['rows']:,} labels "
        f"({100 * suspected['share']:.1f} %) are suspect. The models that judged them, without having learnt from them, answer "
        f"{100 * suspected['accuracy']:.1f} % as labelled."
    )


def write(folder: Path, found: Found, report: dict[str, Any], max_tokens: int) -> None:
    """Writes pictures, page and all rows; whatever else is in the folder stays."""
    folder.mkdir(parents=True, exist_ok=True)
    own_N = found.probabilities[np.arange(len(found.labels)), found.labels]
    charts.draw_balance(found.queries, folder / "balance.png")
    charts.draw_lengths(found.queries, np.array([len(encoding.ids) for encoding in found.encodings]), max_tokens, folder / "lengths.png")
    charts.draw_vocabulary(found.queries, report["seed"], folder / "vocabulary.png")
    charts.draw_twins(found.queries, folder / "twins.png")
    charts.draw_suspects(own_N, found.suspects.rows, report["pairs"], folder / "suspects.png")
    rows = {kind: [row._asdict() for row in found.defects[kind]] for kind in KINDS}
    artifacts.write_json(folder / "audit.json", report | {"found": rows})
    with artifacts.whole_file(folder / "index.html") as partial:
        write_page(found.source, summarize(report), figures(found.queries, found.encodings), found.defects, folder, partial)


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.audit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("build/audit"), help="folder of the report (default: %(default)s)")
    parser.add_argument("--counts", type=Path, help="file for the figures alone (JSON)")
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="folder with raw/dataset, raw/encoder and prepared (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=42, help="random seed of the cross-validation folds (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    """Reads the data, looks for defects, writes pictures, page and figures."""
    args = read_arguments()
    started = time.monotonic()
    artifacts.check_folder(args.output)
    masked, max_tokens = read_params("prepare", Masking).mask_personal_data, read_params("featurize", Cut).max_tokens
    fix_runtime(THREADS, args.seed)
    found = look(args.data, masked, max_tokens, args.seed)
    report = report_on(found, args.seed)
    write(args.output, found, report, max_tokens)
    if args.counts:
        artifacts.write_json(args.counts, report)
    print(summarize(report))
    counts = report["defects"]
    print("defects: " + (", ".join(f"{kind.title.lower()}: {counts[name]}" for name, kind in KINDS.items() if counts[name]) or "none"))
    print(f"report: {args.output}/index.html ({time.monotonic() - started:.0f} seconds)")


if __name__ == "__main__":
    exit_with_one_line(main)
