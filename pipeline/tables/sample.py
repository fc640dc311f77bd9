"""The texts of our own sample."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path

from pipeline import artifacts
from pipeline.csv_files import read_table
from pipeline.markdown import table

AGREEMENT = Path("metrics/reference/sample.json")
OUT_OF_SCOPE = Path("data/sample/out_of_scope.csv")


def sample() -> str:
    """Statistics of our own queries, and how far a classifier trained on BANKING77 agrees with their labels."""
    rows = read_table(Path(artifacts.SAMPLE))
    words = [len(row["text"].split()) for row in rows]
    per_intent = Counter(row["intent"] for row in rows).values()
    facts = [
        ["queries", str(len(rows))],
        ["intents", str(len(per_intent))],
        ["queries per intent, fewest to most", f"{min(per_intent)} to {max(per_intent)}"],
        ["words, fewest / median / most", f"{min(words)} / {statistics.median(words):g} / {max(words)}"],
        ["up to 7 words", f"{100 * sum(count <= 7 for count in words) / len(words):.0f} %"],
        ["36 words or more", f"{100 * sum(count >= 36 for count in words) / len(words):.0f} %"],
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
    words: dict[str, list[int]] = {}
    for row in read_table(OUT_OF_SCOPE):
        words.setdefault(row["kind"], []).append(len(row["text"].split()))
    words["all"] = [count for counts in words.values() for count in counts]
    rows = [
        [kind if kind == "all" else f"`{kind}`", str(len(counts)), f"{min(counts)} / {statistics.median(counts):g} / {max(counts)}"]
        for kind, counts in words.items()
    ]
    return table(["kind", "messages", "words between spaces, fewest / median / most"], rows)
