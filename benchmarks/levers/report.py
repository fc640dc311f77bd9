"""What all finished tasks say together."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import yaml
from scipy.stats import norm, t

from benchmarks.levers.folds import PARTS, SHOTS, Fold, names_of, read_fold
from benchmarks.levers.recipes import RECIPES
from benchmarks.levers.tasks import Key, Work
from benchmarks.levers.teachers import ACTS
from pipeline.abstention import choose_thresholds
from pipeline.artifacts import SAMPLE
from pipeline.calibration import fit_temperature
from pipeline.csv_files import read_table
from pipeline.decision import probabilities
from pipeline.independent import have_twins
from pipeline.metrics import DECIMALS, accuracy, over
from pipeline.paired import compare, pair
from pipeline.params import PARAMS_FILE

SIGNIFICANCE = 0.05
Results = dict[Key, dict[str, Any]]


def brief(result: dict[str, Any]) -> str:
    """The numbers of a result."""
    return ", ".join(f"{key} {value:.4g}" for key, value in result.items() if isinstance(value, float))


def gather(work: Work) -> dict[str, Any]:
    """The figures by section, fractions and nats; a section is empty where nothing is done. A recipe counts when all folds have it."""
    done = work.done()
    results = {key: entry["result"] for key, entry in done.items()}
    started = {key.fold for key in results}
    # to make a part takes seconds; where one has no result, no recipe is complete
    folds, thirds = (
        [read_fold(work.data, name) for name in names_of(study)] if started.issuperset(names_of(study)) else []
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

    def commits(section: str) -> list[str]:
        study = "folds" if section == "suspects" else section
        return sorted({entry["commit"] for key, entry in done.items() if PARTS[key.fold].study == study})

    return {name: told | made_by | {"commits": commits(name)} if told else {} for name, told in sections.items()}


def join(before: dict[str, list[dict[str, Any]]], now: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The recorded studies by section, and those of now, each in place of the one that the same kind of machine made."""
    told = dict(before)
    for section, figures in now.items():
        if figures:
            told[section] = [*(study for study in before.get(section, []) if study["machines"] != figures["machines"]), figures]
    return told


def against(fold: Fold, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The change of accuracy on the queries of one part, its 95 % interval and McNemar's p."""
    labels = [str(label) for label in _labels(fold)]
    old, new = ([str(p) for p in result["predicted"]] for result in (before, after))
    return compare(pair(fold.held.names, labels, old, new), SIGNIFICANCE)["accuracy"].record()


def over_parts(folds: list[Fold], before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any]:
    """The change of accuracy: mean over parts, its 95 % interval, its p-value and each part's.

    Chance has two ways in. What is learnt: rows, teachers and seed differ by part, whose changes follow Student's t. Who judges: the rows,
    whose changes (mean over the parts that judge a row, so that none counts twice) follow the normal law, being many. Neither spread holds
    the other, so the interval is the wider of the two, and p the larger.
    """
    each = [float(new["accuracy"] - old["accuracy"]) for old, new in zip(before, after, strict=True)]
    gains: dict[str, list[int]] = {}
    for fold, old, new in zip(folds, before, after, strict=True):
        gain_N = (_labels(fold) == new["predicted"]).astype(int) - (_labels(fold) == old["predicted"])
        for name, gain in zip(fold.held.names, gain_N.tolist(), strict=True):
            gains.setdefault(name, []).append(gain)
    change = statistics.mean(each)
    laws = [(t(len(each) - 1), each), (norm(), [statistics.fmean(row) for row in gains.values()])]
    errors = [(law, statistics.stdev(changes) / len(changes) ** 0.5) for law, changes in laws]
    reach = max(float(law.ppf(1 - SIGNIFICANCE / 2)) * error for law, error in errors)
    p = max(2 * float(law.sf(abs(change) / error)) if error else float(not change) for law, error in errors)
    figures = {"change": change, "low": change - reach, "high": change + reach, "p": p}
    return {key: round(value, DECIMALS) for key, value in figures.items()} | {"each": [round(value, DECIMALS) for value in each]}


def _labels(fold: Fold) -> np.ndarray:
    assert fold.held.labels is not None
    return fold.held.labels


def _complete(results: Results, folds: list[str], kind: str, what: str, act: str = "") -> list[dict[str, Any]]:
    """The results of a task in every part, or nothing if one is missing."""
    wanted = [(fold, kind, what, act) for fold in folds]
    found = [result for one in wanted for key, result in results.items() if (key.fold, key.kind, key.what, key.act) == one]
    return found if len(found) == len(folds) else []


def _names(folds: list[Fold]) -> list[str]:
    return [fold.name for fold in folds]


def _folds(work: Work, results: Results, folds: list[Fold]) -> dict[str, Any]:
    recipes = _recipes(work, results, folds)
    judgements = sum(len(fold.held) for fold in folds)
    return {"judgements": judgements, "teachers": _teachers(results, _names(folds)), "recipes": recipes} if recipes else {}


def _teachers(results: Results, folds: list[str]) -> dict[str, Any]:
    """Accuracy of every teacher."""
    scores = _complete(results, folds, "scores", "wider") or _complete(results, folds, "scores", "product")
    return {name: over([score["models"][name]["accuracy"] for score in scores]) for name in scores[0]["models"]} if scores else {}


def _recipes(work: Work, results: Results, folds: list[Fold]) -> dict[str, Any]:
    """Every recipe that is done, and how far it is from the committed one (while that is not done, from the first that is)."""
    told: dict[str, Any] = {}
    done = {name: runs for name in RECIPES if (runs := _complete(results, _names(folds), "student", name))}
    anchor = next(iter(done), "")
    for name, runs in done.items():
        figures = {key: over([run[key] for run in runs]) for key in ("accuracy", "macro_f1", "divergence", "agreement", "seconds")}
        told[name] = {
            "what": RECIPES[name].what,
            **figures,
            "against": {"recipe": anchor, **over_parts(folds, done[anchor], runs)},
            "abstention": _abstention(work, folds, name),
        }
    return told


def _abstention(work: Work, folds: list[Fold], recipe: str) -> dict[str, float]:
    """The temperature and the thresholds that all held-out rows together ask for: what a run on every row has none left to choose by."""
    logits_NC = np.concatenate([np.load(work.study.logits(fold, recipe)).astype(np.float32) for fold in folds])
    labels_N = np.concatenate([_labels(fold) for fold in folds])
    temperature = fit_temperature(logits_NC, labels_N)
    p_NC = probabilities(logits_NC, temperature)
    asked = yaml.safe_load((work.data / PARAMS_FILE).read_text(encoding="utf-8"))["evaluate"]
    chosen = choose_thresholds(p_NC, labels_N, asked["target_accuracy"], asked["coverage"], (None, None), in_train=False)
    return {"temperature": temperature, "threshold": chosen.confidence, "label_threshold": chosen.label_threshold}


def _suspects(results: Results, folds: list[Fold]) -> dict[str, Any]:
    """By who learns: accuracy with all labels as they are, and after each act."""
    told: dict[str, Any] = {}
    for member, acts in ACTS.items():
        plain = [score["models"][member] for score in _complete(results, _names(folds), "scores", member)]
        after = {act: _complete(results, _names(folds), "act", member, act) for act in acts}
        done = {act: runs for act, runs in after.items() if runs and plain}
        if done:
            told[member] = {
                "suspects": over([run["suspects"] for run in next(iter(done.values()))]),
                "all_labels": over([score["accuracy"] for score in plain]),
                "acts": {
                    act: {"accuracy": over([run["accuracy"] for run in runs]), "against_all_labels": over_parts(folds, plain, runs)}
                    for act, runs in done.items()
                },
            }
    return {"learners": told} if told else {}


def _final(work: Work, results: Results) -> dict[str, Any]:
    """On the official test split: every recipe that was trained on all rows, and the teachers."""
    scores = results.get(Key("full", "scores", "wider"))
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
        "teachers": {name: row([score], [scores["sample"][name]]) for name, score in scores["models"].items()},
        "students": {},
    }
    for name, recipe in RECIPES.items():
        runs = {key.number: result for key, result in results.items() if (key.fold, key.kind, key.what) == ("full", "student", name)}
        if runs:
            figures = list(runs.values())
            told["students"][name] = {
                "what": recipe.what,
                "seeds": list(runs),
                **row(figures, [] if recipe.more else [run["sample"] for run in figures]),  # of texts that it has seen nobody asks
                "divergence": over([run["divergence"] for run in figures]),
                "against_teachers": {
                    teacher: [against(fold, score, run) for run in figures] for teacher, score in scores["models"].items()
                },
            }
    return told


def _shots(results: Results) -> dict[str, Any]:
    """Accuracy on the official test split after a few queries an intent."""
    told: dict[str, Any] = {}
    for shots in SHOTS:
        draws = names_of("shots", shots)
        students, teachers = _complete(results, draws, "student", "base"), _teachers(results, draws)
        if students and teachers:
            told[str(shots)] = {"student": over([run["accuracy"] for run in students])} | teachers
    return {"draws": told} if told else {}
