"""What all finished tasks say together."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import yaml
from scipy.stats import t

from benchmarks.levers.folds import STUDIES, Fold, read_fold
from benchmarks.levers.recipes import RECIPES
from benchmarks.levers.tasks import DRAWS, SHOTS, Work
from benchmarks.levers.teachers import ACTS
from pipeline.abstention import choose_thresholds
from pipeline.artifacts import SAMPLE
from pipeline.calibration import fit_temperature
from pipeline.csv_files import read_table
from pipeline.decision import probabilities
from pipeline.independent import have_twins
from pipeline.metrics import DECIMALS, accuracy
from pipeline.paired import compare, pair

SIGNIFICANCE = 0.05


def brief(result: dict[str, Any]) -> str:
    """The numbers of a result."""
    return ", ".join(f"{key} {value:.4g}" for key, value in result.items() if isinstance(value, float))


def gather(work: Work) -> dict[str, Any]:
    """The figures by section, fractions and nats; a section is empty where nothing is done. A recipe counts when all folds have it."""
    results = work.results()
    started = {task.split("/")[0] for task in results}
    # to make a part takes seconds; where one has no result, no recipe is complete
    folds, thirds = (
        [read_fold(work.data, name) for name in STUDIES[study]] if started.issuperset(STUDIES[study]) else []
        for study in ("folds", "thirds")
    )
    sections = {
        "folds": _folds(work, results, folds),
        "thirds": _folds(work, results, thirds),
        "suspects": _suspects(results, folds),
        "final": _final(work, results),
        "shots": _shots(results),
    }
    made_by = {"machines": [work.machine], "params": work.train.model_dump()}
    return {name: told | made_by if told else {} for name, told in sections.items()}


def join(before: dict[str, list[dict[str, Any]]], now: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The recorded studies by section, and those of now, each in place of the one that the same kind of machine made."""
    told = dict(before)
    for section, figures in now.items():
        if figures:
            told[section] = [*(study for study in before.get(section, []) if study["machines"] != figures["machines"]), figures]
    return told


def over(values: list[float]) -> dict[str, Any]:
    """Mean, standard deviation (of a sample) and each value."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": round(statistics.mean(values), DECIMALS), "std": round(spread, DECIMALS), "each": [round(v, DECIMALS) for v in values]}


def against(fold: Fold, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The change of accuracy on the queries of one part, its 95 % interval and McNemar's p."""
    labels = [str(label) for label in _labels(fold)]
    old, new = ([str(p) for p in result["predicted"]] for result in (before, after))
    told = compare(pair(fold.held.names, labels, old, new), SIGNIFICANCE)["accuracy"]
    figures = {"change": told.change, "low": told.low, "high": told.high, "mcnemar_p": told.p or 0.0}
    return {key: round(value, DECIMALS) for key, value in figures.items()}


def over_parts(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any]:
    """The change of accuracy: mean over parts, which differ in rows, teachers and seed, its 95 % interval by Student's t, and each."""
    each = [float(new["accuracy"] - old["accuracy"]) for old, new in zip(before, after, strict=True)]
    change = statistics.mean(each)
    reach = float(t.ppf(1 - SIGNIFICANCE / 2, len(each) - 1)) * statistics.stdev(each) / len(each) ** 0.5
    figures = {"change": change, "low": change - reach, "high": change + reach}
    return {key: round(value, DECIMALS) for key, value in figures.items()} | {"each": [round(value, DECIMALS) for value in each]}


def _labels(fold: Fold) -> np.ndarray:
    assert fold.held.labels is not None
    return fold.held.labels


def _complete(results: dict[str, Any], folds: list[Fold], kind: str, what: str) -> list[dict[str, Any]]:
    """The results of a task in every fold, or nothing if one is missing."""
    found = [result for fold in folds for name, result in results.items() if name.startswith(f"{fold.name}/{kind}/{what}/")]
    return found if len(found) == len(folds) else []


def _folds(work: Work, results: dict[str, Any], folds: list[Fold]) -> dict[str, Any]:
    recipes = _recipes(work, results, folds)
    judgements = sum(len(fold.held) for fold in folds)
    return {"judgements": judgements, "teachers": _teachers(results, folds), "recipes": recipes} if recipes else {}


def _scores(results: dict[str, Any], folds: list[Fold]) -> list[dict[str, Any]]:
    return _complete(results, folds, "scores", "wider") or _complete(results, folds, "scores", "product")


def _teachers(results: dict[str, Any], folds: list[Fold]) -> dict[str, Any]:
    scores = _scores(results, folds)
    return {name: over([score[name]["accuracy"] for score in scores]) for name in scores[0]} if scores else {}


def _recipes(work: Work, results: dict[str, Any], folds: list[Fold]) -> dict[str, Any]:
    """Every recipe that is done, and how far it is from the committed one (while that is not done, from the first that is)."""
    told: dict[str, Any] = {}
    done = [name for name in RECIPES if _complete(results, folds, "student", name)]
    anchor = _complete(results, folds, "student", done[0]) if done else []
    for name in done:
        runs = _complete(results, folds, "student", name)
        figures = {key: over([run[key] for run in runs]) for key in ("accuracy", "macro_f1", "divergence", "agreement", "seconds")}
        told[name] = {
            "what": RECIPES[name].what,
            **figures,
            "against": {"recipe": done[0], **over_parts(anchor, runs)},
            "abstention": _abstention(work, folds, name),
        }
    return told


def _abstention(work: Work, folds: list[Fold], recipe: str) -> dict[str, float]:
    """The temperature and the thresholds that all held-out rows together ask for: what a run on every row has none left to choose by."""
    logits_NC = np.concatenate([np.load(work.study.logits(fold, recipe)).astype(np.float32) for fold in folds])
    labels_N = np.concatenate([_labels(fold) for fold in folds])
    temperature = fit_temperature(logits_NC, labels_N)
    p_NC = probabilities(logits_NC, temperature)
    asked = yaml.safe_load((work.data / "params.yaml").read_text(encoding="utf-8"))["evaluate"]
    chosen = choose_thresholds(p_NC, labels_N, asked["target_accuracy"], asked["coverage"], (None, None), in_train=False)
    return {"temperature": temperature, "threshold": chosen.confidence, "label_threshold": chosen.label_threshold}


def _suspects(results: dict[str, Any], folds: list[Fold]) -> dict[str, Any]:
    """By who learns: accuracy with all labels as they are, and after each act."""
    told: dict[str, Any] = {}
    for member, acts in ACTS.items():
        plain = [score[member] for score in _complete(results, folds, "scores", member)]
        after = {act: _complete(results, folds, "act", f"{member}-{act}") for act in acts}
        done = {act: runs for act, runs in after.items() if runs and plain}
        if done:
            told[member] = {
                "suspects": over([run["suspects"] for run in next(iter(done.values()))]),
                "all_labels": over([score["accuracy"] for score in plain]),
                "acts": {
                    act: {"accuracy": over([run["accuracy"] for run in runs]), "against_all_labels": over_parts(plain, runs)}
                    for act, runs in done.items()
                },
            }
    return {"learners": told} if told else {}


def _final(work: Work, results: dict[str, Any]) -> dict[str, Any]:
    """On the official test split: every recipe that was trained on all rows, and the teachers."""
    scores = results.get("full/scores/wider/0")
    if scores is None:
        return {}
    fold = read_fold(work.data, "full")
    assert fold.train.labels is not None
    alone = ~have_twins(fold.held.texts, _labels(fold), fold.train.texts, fold.train.labels)
    ours = np.array([fold.labels.index(row["intent"]) for row in read_table(work.data / SAMPLE)])

    def row(runs: list[dict[str, Any]], sample: list[list[int]]) -> dict[str, Any]:
        predicted = [np.array(run["predicted"]) for run in runs]
        told = {key: over([run[key] for run in runs]) for key in ("accuracy", "macro_f1")}
        told["without_twins"] = over([accuracy(_labels(fold)[alone], each[alone]) for each in predicted])
        return told | ({"sample": over([accuracy(ours, np.array(each)[: len(ours)]) for each in sample])} if sample else {})

    told: dict[str, Any] = {
        "queries": len(fold.held),
        "queries_without_twins": int(alone.sum()),
        "queries_of_the_sample": len(ours),
        "teachers": {},
        "students": {},
    }
    for name in (name for name in scores if name != "sample"):
        told["teachers"][name] = row([scores[name]], [scores["sample"][name]])
    for name, recipe in RECIPES.items():
        runs = {key: result for key, result in results.items() if key.startswith(f"full/student/{name}/")}
        if runs:
            figures = list(runs.values())
            differences = {teacher: [against(fold, scores[teacher], run) for run in figures] for teacher in told["teachers"]}
            told["students"][name] = {
                "what": recipe.what,
                "seeds": [int(key.rsplit("/", 1)[1]) for key in runs],
                **row(figures, [] if recipe.more else [run["sample"] for run in figures]),  # of texts that it has seen nobody asks
                "against_teachers": differences,
            }
    return told


def _shots(results: dict[str, Any]) -> dict[str, Any]:
    """Accuracy on the official test split after a few queries an intent."""
    told: dict[str, Any] = {}
    for shots in SHOTS:
        students = [result for name, result in results.items() if name.startswith(f"shots{shots}_") and "/student/" in name]
        scores = [result for name, result in results.items() if name.startswith(f"shots{shots}_") and "/scores/" in name]
        if len(students) == len(scores) == DRAWS:
            told[str(shots)] = {"student": over([run["accuracy"] for run in students])} | {
                name: over([score[name]["accuracy"] for score in scores]) for name in scores[0]
            }
    return {"draws": told} if told else {}
