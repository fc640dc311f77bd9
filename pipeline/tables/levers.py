"""What each piece of the recipe is worth, and what the best one reaches on BANKING77's test split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline import artifacts
from pipeline.reporting.markdown import table

LEVERS = Path("metrics/reference/levers.json")
TEACHERS = {
    "wider": "product of the five below",
    "product": "product of the first three below",
    "finetuned0": "MiniLM-L6, fine-tuned",
    "base_encoder": "MiniLM-L6, frozen + logistic regression (base model)",
    "bag_of_words": "TF-IDF + logistic regression",
    "finetuned1": "MiniLM-L6, fine-tuned, another seed",
    "finetuned2": "MiniLM-L6, fine-tuned, a third seed",
}


def levers() -> str:
    """The recipes that were compared, from their file."""
    return tables(artifacts.read_json(LEVERS)) if LEVERS.exists() else "Not run yet: `python -m benchmarks.levers`.\n"


def best() -> str:
    """The recipes that were trained on all rows, on the official test split, beside their teachers."""
    told = artifacts.read_json(LEVERS)["final"] if LEVERS.exists() else {}
    if not told:
        return "Not run yet: `python -m benchmarks.levers --final long`.\n"
    rows = [[f"**TinyBERT, distilled**: {row['what']}", *_on_test(row)] for row in told["students"].values()]
    rows += [[title, *_on_test(told["teachers"][name])] for name, title in TEACHERS.items()]
    header = ["model", "accuracy, %", "macro-F1, %", "accuracy without twins, %", "accuracy on our sample, %"]
    seeds = "; ".join(f"{name}: seeds {', '.join(map(str, row['seeds']))}" for name, row in told["students"].items())
    machines = "; ".join(_machine(machine) for machine in artifacts.read_json(LEVERS)["machines"])
    alone = f"{told['queries_without_twins']:,} of {told['queries']:,}"
    return table(header, rows) + (
        f"\n`python -m benchmarks.levers --final RECIPE`, mean ± standard deviation over students ({seeds}), official test split, scored "
        f"once a student; {machines}. Without twins: on the {alone} test queries that have no near twin of the same label in train (token "
        "Jaccard similarity of 0.8 or more). Our sample: its 3,080 queries, none of which any of these has seen.\n"
    )


def tables(told: dict[str, Any]) -> str:
    """The recipes, best first, what was done about suspect labels, the test split, and few queries an intent."""
    header = ["recipe", "accuracy, %", "change, points", "McNemar's p", "divergence, nats", "agrees with the teachers, %"]
    first = next(iter(told["recipes"]), None)
    rows = sorted(told["recipes"].items(), key=lambda item: -item[1]["accuracy"]["mean"])
    text = table(header, [_row(row, is_first=name == first) for name, row in rows])
    if told["teachers"]:
        text += (
            f"\nTheir teachers' product on the same rows: {percent(told['teachers']['product'])}; with two more fine-tuned encoders in it: "
        )
        text += f"{percent(told['teachers']['wider'])}.\n"
    for act, row in told["suspects"].items():
        change = row["against_all_labels"]
        text += f"\nSuspect labels ({percent(row['suspects'])} % of the rows) {act}: {_change(change)}, p = {change['mcnemar_p']:.3f}.\n"
    for shots, row in told["shots"].items():
        text += (
            f"\n{shots} queries an intent, official test split: student {percent(row['student'])}, teachers {percent(row['product'])}.\n"
        )
    machines = "; ".join(_machine(machine) for machine in told["machines"])
    return (
        text + f"\n{told['rows']:,} rows judged, three folds, one seed a fold; change against the first recipe without one; {machines}.\n"
    )


def percent(figure: dict[str, Any]) -> str:
    """Mean of a fraction in percent, with its standard deviation where there is more than one."""
    spread = f" ± {100 * figure['std']:.2f}" if len(figure["each"]) > 1 else ""
    return f"{100 * figure['mean']:.2f}{spread}"


def _on_test(row: dict[str, Any]) -> list[str]:
    return [percent(row[key]) for key in ("accuracy", "macro_f1", "without_twins", "sample")]


def _machine(machine: dict[str, Any]) -> str:
    return f"{machine.get('gpu', machine.get('cpu'))}, {machine['precision']}"


def _change(change: dict[str, Any]) -> str:
    return f"{100 * change['change']:+.2f} [{100 * change['low']:+.2f}, {100 * change['high']:+.2f}]"


def _row(row: dict[str, Any], is_first: bool) -> list[str]:
    told, change = row["divergence"], row["against"]
    judged = ["", ""] if is_first else [_change(change), f"{change['mcnemar_p']:.3f}"]
    return [
        row["what"],
        percent(row["accuracy"]),
        *judged,
        f"{told['mean']:.3f} ± {told['std']:.3f}",
        f"{100 * row['agreement']['mean']:.1f}",
    ]
