"""The results of the last run and of the reference run."""

from __future__ import annotations

from pathlib import Path

from pipeline import artifacts
from pipeline.errors import UserError
from pipeline.markdown import table
from pipeline.tables.cells import interval, mean

METRICS = Path("metrics/evaluate.json")
REFERENCE = Path("metrics/reference/banking77.json")
MODELS = {
    "tinybert": "**TinyBERT, distilled** (student)",
    "teacher": "product of the three below (teacher)",
    "teacher_finetuned": "MiniLM-L6, fine-tuned",
    "base_encoder": "MiniLM-L6, frozen + logistic regression (base model)",
    "bag_of_words": "TF-IDF + logistic regression",
}


def results() -> str:
    """Quality of every model of the last run, with 95 % intervals.

    Raises:
        UserError: there was no run.
    """
    if not METRICS.exists():
        raise UserError(f"{METRICS}: no such file: run `make repro` first")
    rows = [
        [MODELS[name], interval(row, "accuracy"), interval(row, "macro_f1"), f"{100 * row['ece']:.1f}", f"{row['parameters'] / 1e6:.1f}"]
        for name, row in artifacts.read_json(METRICS).items()
    ]
    return table(["model", "accuracy, %", "macro-F1, %", "ECE, %", "parameters, millions"], rows)


def reference() -> str:
    """The reference run on BANKING77, with what it ran on."""
    if not REFERENCE.exists():
        return "Not run yet: `make banking77`.\n"
    run = artifacts.read_json(REFERENCE)
    rows = [
        [
            MODELS[name],
            *(mean(row[metric]) for metric in ("accuracy", "macro_f1")),
            *(mean(run[part]["accuracy"][name]) if part in run else "" for part in ("without_twins", "sample")),
            f"{row['parameters'] / 1e6:.1f}",
        ]
        for name, row in run["models"].items()
    ]
    header = ["model", "accuracy, %", "macro-F1, %", "accuracy without twins, %", "accuracy on our sample, %", "parameters, millions"]
    versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    elsewhere = (
        f" Without twins: on the {run['without_twins']['queries']:,} test queries whose most similar training query is no near twin of "
        "the same label (token Jaccard similarity of 0.8 or more). "
        f"Our sample: its {run['sample']['queries']:,} queries, none of which any model has seen."
        if "sample" in run
        else ""
    )
    return table(header, rows) + (
        f"\n`{run['command']}`, n = {len(run['seeds'])} students (mean ± standard deviation; seeds "
        f"{', '.join(map(str, run['seeds']))}), official test split, "
        f"scored {run['test_scorings']} times by this command (and by what docs/experiments.md tells of); "
        f"{sum(run['wall_seconds'].values()) / 60:.0f} minutes for the teachers and one student, and "
        f"{run['peak_rss_mib'] / 1024:.1f} GiB, on {run['threads']} threads of {run['cpu']}; {versions}.{elsewhere}\n"
    )
