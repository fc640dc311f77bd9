"""What each piece of the recipe is worth, what few queries give, and what the best recipe reaches on BANKING77's test split."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pipeline import artifacts
from pipeline.drifting.shifts import holm
from pipeline.markdown import table
from pipeline.tables.cells import mean
from pipeline.tables.results import HEADER, MODELS, REVISED, WITHOUT_TWINS

LEVERS = Path("metrics/reference/levers.json")
LEAST_P = 0.001  # that is told as a number
TITLES = {"labels": "labels instead of teachers (no hidden states, no copies), as many steps"}  # of a recipe whose recorded title says less
TEACHERS = {
    "wider": "ensemble (product) of the five single models below",
    "product": "ensemble (product) of the first three single models below",
    "finetuned0": MODELS["teacher_finetuned"],
    "base_encoder": MODELS["base_encoder"],
    "bag_of_words": MODELS["bag_of_words"],
    "finetuned1": "MiniLM-L6, fine-tuned, another seed",
    "finetuned2": "MiniLM-L6, fine-tuned, a third seed",
}
CHANGE = (
    "mean over the parts, with the wider of two 95 % intervals, by Student's t over the parts and by the normal law over the held-out "
    "rows; p: the larger of the two, corrected by Holm's method for the comparisons of the table"
)
ACTS = {
    "dropped": "left out",
    "relabelled": "given the label that the teachers suggest",
    "softened": "all labels replaced by what the teachers think",
}


def recipes_table(judged: str, told: dict[str, Any]) -> str:
    """The recipes that were compared, best first, and the teachers' ensemble on the same rows.

    Args:
        judged: by whom a row is judged.
        told: a section of the study.
    """
    header = ["recipe", "accuracy, %", "change, points", "p", "by part", "divergence, nats", "agrees with the teachers, %"]
    first, *others = told["recipes"]
    corrected = dict(zip(others, holm([told["recipes"][name]["against"]["p"] for name in others]), strict=True))
    rows = sorted(told["recipes"].items(), key=lambda item: -item[1]["accuracy"]["mean"])
    text = table(header, [_row(TITLES.get(name, row["what"]), row, None if name == first else corrected[name]) for name, row in rows])
    text += f"\nTheir teachers' ensemble on the same rows: {mean(told['teachers']['product'])}"
    if "wider" in told["teachers"]:
        text += f"; with two more fine-tuned encoders in it: {mean(told['teachers']['wider'])}"
    judgements = f"{told['judgements']:,} judgements, each row by {judged}; three parts, one seed per part"
    return text + f".\n\n{judgements}; change: against the recipe whose row has none, {CHANGE}{_note(told)}; {_machines(told)}.\n"


def suspects_table(told: dict[str, Any]) -> str:
    """What acting on suspect labels is worth."""
    header = ["who learns", "suspect labels", "accuracy, %", "change, points", "p", "by part"]
    acts = {(learner, act): after for learner, row in told["learners"].items() for act, after in row["acts"].items()}
    corrected = dict(zip(acts, holm([after["against_all_labels"]["p"] for after in acts.values()]), strict=True))
    rows = []
    for learner, row in told["learners"].items():
        rows.append([TEACHERS[learner], "as they are", mean(row["all_labels"]), "", "", ""])
        for act, after in row["acts"].items():
            rows.append(["", ACTS[act], mean(after["accuracy"]), *_against(after["against_all_labels"], corrected[learner, act])])
    share = mean(next(iter(told["learners"].values()))["suspects"])
    return table(header, rows) + (
        f"\n`{TABLES['suspects'][0]}`: three folds of the training rows, one seed per fold, judged by the labels as they are; "
        f"suspect: {share} % of the rows; change: {CHANGE}{_note(told)}; {_machines(told)}.\n"
    )


def shots_table(told: dict[str, Any]) -> str:
    """Accuracy on the official test split after few queries per intent."""
    names = ["student", *(name for name in TEACHERS if name in next(iter(told["draws"].values())))]
    header = ["model", *(f"{shots} queries per intent" for shots in told["draws"])]
    titles = TEACHERS | {"student": MODELS[artifacts.STUDENT]}
    rows = [[titles[name], *(mean(row[name]) for row in told["draws"].values())] for name in names]
    draws = len(next(iter(told["draws"].values()))["student"]["each"])
    return table(header, rows) + (
        f"\n`{TABLES['shots'][0]}`, accuracy, %, mean ± standard deviation over {draws} draws of the queries; official test "
        f"split, scored once per draw; {_machines(told)}.\n"
    )


def final_table(told: dict[str, Any]) -> str:
    """The recipes that were trained on all rows, on the official test split, beside their teachers."""
    rows = [[f"{MODELS[artifacts.STUDENT]}: {row['what']}", *_on_test(row)] for row in told["students"].values()]
    rows += [[title, *_on_test(told["teachers"][name])] for name, title in TEACHERS.items() if name in told["teachers"]]
    seeds = "; ".join(f"{name}: seeds {', '.join(map(str, row['seeds']))}" for name, row in told["students"].items())
    device = " --device cuda" if any("gpu" in machine for machine in told["machines"]) else ""
    alone = f"{told['queries_without_twins']:,} of {told['queries']:,}"
    return table(HEADER, rows) + (
        f"\n`python -m benchmarks.levers --data build/banking77{device} --final {'|'.join(told['students'])}`, mean ± standard deviation "
        f"over students ({seeds}), official test split, scored once per student; {_machines(told)}. Without near-duplicates: "
        f"on the {alone} test {WITHOUT_TWINS}. Our sample: its {told['queries_of_the_sample']:,} queries; "
        f"only models never trained on it have a score; {REVISED}.\n"
    )


def _on_test(row: dict[str, Any]) -> list[str]:
    return [mean(row[key]) if key in row else "learnt from" for key in ("accuracy", "macro_f1", "without_twins", "sample")]


def _machines(told: dict[str, Any]) -> str:
    return "; ".join(
        f"{machine.get('gpu', machine.get('cpu'))}, {machine['precision']}" + (", versions not recorded" if "torch" not in machine else "")
        for machine in told["machines"]
    )


def _note(told: dict[str, Any]) -> str:
    """What else must be known of a study."""
    return f"; {told['note']}" if "note" in told else ""


def _against(change: dict[str, Any], p: float) -> list[str]:
    points = [100 * change[key] for key in ("change", "low", "high")]
    parts = ", ".join(f"{100 * value:+.2f}" for value in change["each"])
    return [f"{points[0]:+.2f} [{points[1]:+.2f}, {points[2]:+.2f}]", f"{p:.3f}" if p >= LEAST_P else f"<{LEAST_P}", parts]


def _row(title: str, row: dict[str, Any], p: float | None) -> list[str]:
    told = row["divergence"]
    return [
        title,
        mean(row["accuracy"]),
        *(["", "", ""] if p is None else _against(row["against"], p)),
        f"{told['mean']:.3f} ± {told['std']:.3f}",
        f"{100 * row['agreement']['mean']:.1f}",
    ]


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {  # of a section of the file: what fills it, and its table
    "folds": ("python -m benchmarks.levers --data build/banking77", partial(recipes_table, "the student that did not learn from it")),
    "thirds": (
        "python -m benchmarks.levers --data build/banking77 --thirds",
        partial(recipes_table, "the two students that did not learn from it"),
    ),
    "suspects": ("python -m benchmarks.levers --data build/banking77 --suspects base_encoder", suspects_table),
    "shots": ("python -m benchmarks.levers --data build/banking77 --shots", shots_table),
    "final": ("python -m benchmarks.levers --data build/banking77 --final long", final_table),
}


def section_tables(section: str, studies: list[dict[str, Any]]) -> str:
    """The table of each study of a section, one a kind of machine."""
    return "\n".join(TABLES[section][1](told) for told in studies)


def levers(section: str) -> str:
    """The tables of a section of the recorded studies."""
    studies = artifacts.read_json(LEVERS).get(section) if LEVERS.exists() else None
    return section_tables(section, studies) if studies else f"Not measured yet: `{TABLES[section][0]}`.\n"
