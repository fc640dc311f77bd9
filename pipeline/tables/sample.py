"""The texts of our own sample."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path

from pipeline import artifacts
from pipeline.csv_files import read_table
from pipeline.markdown import table
from pipeline.words import words

AGREEMENT = Path("metrics/reference/sample.json")
OUT_OF_SCOPE = Path("data/sample/out_of_scope.csv")


def sample() -> str:
    """Statistics of our own queries, and how far a classifier trained on BANKING77 agrees with their labels."""
    rows = read_table(Path(artifacts.SAMPLE))
    lengths = [len(words(row["text"])) for row in rows]
    per_intent = Counter(row["intent"] for row in rows).values()
    facts = [
        ["queries", str(len(rows))],
        ["intents", str(len(per_intent))],
        ["queries per intent, fewest to most", f"{min(per_intent)} to {max(per_intent)}"],
        ["words, fewest / median / most", f"{min(lengths)} / {statistics.median(lengths):g} / {max(lengths)}"],
        ["up to 7 words", f"{100 * sum(length <= 7 for length in lengths) / len(rows):.0f} %"],
        ["36 words or more", f"{100 * sum(length >= 36 for length in lengths) / len(rows):.0f} %"],
        ["without a question mark", f"{100 * sum('?' not in row['text'] for row in rows) / len(rows):.0f} %"],
    ]
    source = ""
    if AGREEMENT.exists():
        run = artifacts.read_json(AGREEMENT)
        facts += [
            [
                f"labels a classifier trained on BANKING77 agrees with, at C = {each['inverse_regularization']:g} "
                f"(on BANKING77 itself, cross-validated: {100 * each['accuracy_on_banking77']:.1f} %)",
                f"{100 * each['agreement']:.1f} %",
            ]
            for each in run["classifiers"]
        ]
        source = f"\nAgreement and similarity: `{run['command']}`.\n"
        facts.append(["largest token Jaccard with a BANKING77 row", f"{run['largest_similarity']:.2f}"])
    return table(["of `queries.csv`", ""], facts) + source


def out_of_scope() -> str:
    """Messages that belong to none of the intents: how many of each kind, and how long."""
    lengths: dict[str, list[int]] = {}
    for row in read_table(OUT_OF_SCOPE):
        lengths.setdefault(row["kind"], []).append(len(words(row["text"])))
    lengths["all"] = [length for own in lengths.values() for length in own]
    rows = [
        [kind if kind == "all" else f"`{kind}`", str(len(own)), f"{min(own)} / {statistics.median(own):g} / {max(own)}"]
        for kind, own in lengths.items()
    ]
    return table(["kind", "messages", "words, fewest / median / most"], rows)
