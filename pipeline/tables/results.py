"""The results of the last run and of the reference run."""

from __future__ import annotations

from pathlib import Path

import yaml

from pipeline import artifacts
from pipeline.artifacts import SAMPLE, STUDENT
from pipeline.errors import UserError
from pipeline.lock import flatten
from pipeline.markdown import table
from pipeline.near_twins import TWIN
from pipeline.params import PARAMS_FILE
from pipeline.reporting.budgets import measured_spread, read_budgets
from pipeline.revisions import Revision
from pipeline.run_files import METRICS, is_of_recipe
from pipeline.tables.cells import interval, mean

REFERENCE, SEEDS = Path("metrics/reference/banking77.json"), Path("metrics/reference/sample_seeds.json")
REVISED = "some of its rows were revised where a BANKING77 classifier on MiniLM-L6 disagreed, which favours models built on MiniLM-L6"
WITHOUT_TWINS = (
    f"queries whose most similar training query is not a near-duplicate (token Jaccard similarity of {TWIN} or more) with the same label"
)
HEADER = ["model", "accuracy, %", "macro-F1, %", "accuracy without near-duplicates, %", "accuracy on our sample, %"]
MODELS = {
    STUDENT: "**TinyBERT, distilled** (student)",
    "teacher": "ensemble (product) of the three below (teacher)",
    "teacher_finetuned": "MiniLM-L6, fine-tuned",
    "base_encoder": "MiniLM-L6, frozen + logistic regression (base model)",
    "bag_of_words": "TF-IDF + logistic regression",
}


def titles(distilled: bool) -> dict[str, str]:
    """The models' names in a table; where the labels alone taught the student, no model is its teacher."""
    alone = {STUDENT: "**TinyBERT, labels alone** (student)", "teacher": "ensemble (product) of the three below"}
    return MODELS if distilled else MODELS | alone


def results() -> str:
    """Quality of every model of the last run, with 95 % intervals.

    Raises:
        UserError: there was no run.
    """
    if not Path(METRICS).exists():
        raise UserError(f"{METRICS}: no such file: run `make repro`")
    names = titles(yaml.safe_load(PARAMS_FILE.read_text(encoding="utf-8"))["train"]["targets"] == "soft")
    rows = [
        [names[name], interval(row, "accuracy"), interval(row, "macro_f1"), f"{100 * row['ece']:.1f}", f"{row['parameters'] / 1e6:.1f}"]
        for name, row in artifacts.read_json(Path(METRICS)).items()
    ]
    return table(["model", "accuracy, %", "macro-F1, %", "ECE, %", "parameters, millions"], rows)


def results_and_seeds() -> str:
    """``results``, and below them how far other seeds move them, where the last run is of the recipe of which that was measured."""
    told = artifacts.read_json(SEEDS) if SEEDS.exists() else {}
    if not told or not is_of_recipe(told, flatten(yaml.safe_load(PARAMS_FILE.read_text(encoding="utf-8")))):
        return results()
    student, teacher = (
        " and ".join(mean(told["models"][model][metric]) for metric in ("accuracy", "macro_f1")) for model in (STUDENT, "teacher")
    )
    return results() + (
        f"\nIn brackets: 95 % intervals, over queries. Over seeds (`{told['command']}`, mean ± standard deviation) accuracy and macro-F1 "
        f"are {student} (student), {teacher} (teacher).\n"
    )


def noise_floor() -> str:
    """What two seeds differ by on the sample, as `make report` computes it."""
    spread, budgets = measured_spread(Revision(Path()), SAMPLE), read_budgets(Path())
    if spread is None:
        return "Not measured yet: `make seeds`.\n"
    level = budgets.significance
    std, floor = (100 * figure for figure in (spread.std["accuracy"], spread.floor("accuracy", level)))
    return (
        f"On the sample accuracy has a standard deviation of {std:.2f} points over {spread.seeds} seeds (`{spread.source}`), so the floor "
        f"is {spread.quantile(level):.2f} · √2 · {std:.2f} = {floor:.1f} points. The gate tolerates no drop of more than "
        f"{100 * budgets.accuracy_drop:.1f}.\n"
    )


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
    stages = list(run["wall_seconds"])
    again = sum(run["wall_seconds"][stage] for stage in stages[stages.index("train") :]) * (len(run["seeds"]) - 1)
    versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    elsewhere = (
        f" Without near-duplicates: on the {run['without_twins']['queries']:,} test {WITHOUT_TWINS}. "
        f"Our sample: its {run['sample']['queries']:,} queries, none of which any model has seen; {REVISED}."
        if "sample" in run
        else ""
    )
    return table([*HEADER, "parameters, millions"], rows) + (
        f"\n`{run['command']}`, n = {len(run['seeds'])} students (mean ± standard deviation; seeds "
        f"{', '.join(map(str, run['seeds']))}), official test split, "
        f"scored {run['test_scorings']} times by this command (and by the experiments in docs/experiments.md); "
        f"{sum(run['wall_seconds'].values()) / 60:.0f} minutes for the teachers and one student, "
        f"{(sum(run['wall_seconds'].values()) + again) / 60:.0f} for all students, peak memory "
        f"{run['peak_rss_mib'] / 1024:.1f} GiB, on {run['threads']} threads of {run['cpu']}; {versions}.{elsewhere}\n"
    )
