"""What there is to do, each task a process's work of a minute or so, and what is done."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import transformers

from benchmarks.levers.folds import INNER, PARTS, SEED, SHOTS, names_of, read_fold
from benchmarks.levers.recipes import RECIPES, Recipe
from benchmarks.levers.students import study_student
from benchmarks.levers.teachers import ACTS, DOUBTERS, PRODUCT, PRODUCTS, WIDER, Study, act_on_suspects, score_teachers, teach, teach_unseen
from pipeline import artifacts
from pipeline.recipe import TrainParams
from pipeline.revisions import try_git
from pipeline.runtime import fix_runtime, machine_class
from pipeline.teach import TeachParams

MOST_PASSES = 10


class Key(NamedTuple):
    """What no two tasks have alike.

    Attributes:
        fold: the part of the rows, one of `PARTS`.
        kind: ``teach``, ``unseen``, ``act``, ``scores`` or ``student``.
        what: the member or product of teachers, or the recipe.
        number: the inner part of ``unseen``, the seed of ``student``.
        act: what is done about suspect labels before the member of an ``act`` learns.
    """

    fold: str
    kind: str
    what: str
    number: int = 0
    act: str = ""

    def __str__(self) -> str:
        return "-".join(map(str, self)).rstrip("-")


class Task(NamedTuple):
    """One thing to do, and what must be done before: fitted teachers, which need nothing."""

    key: Key
    needs: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Work:
    """Where and how.

    Attributes:
        data: a checkout in which `featurize` ran on BANKING77.
        folder: for what is done already, see `work_folder`.
        teach: how teachers are fitted.
        train: the committed recipe.
        commit: what the tasks are run by, see `this_commit`.
    """

    data: Path
    folder: Path
    teach: TeachParams
    train: TrainParams
    commit: str = ""

    @cached_property
    def machine(self) -> dict[str, Any]:
        """What the tasks run on."""
        return machine_class(self.train.threads, self.train.precision, self.train.device) | {"transformers": transformers.__version__}

    @cached_property
    def study(self) -> Study:
        """The teachers' part of it."""
        return Study(self.data, self.folder, self.teach)

    def done(self) -> dict[Key, dict[str, Any]]:
        """Of every finished task its ``result`` and the ``commit`` that gave it, but for what a recipe gave that is another one now."""
        entries = map(artifacts.read_json, sorted((self.folder / "tasks").glob("*.json")))
        found = {Key(**entry["key"]): entry for entry in entries}
        return {key: entry for key, entry in found.items() if entry["recipe"] == _recipe(key)}

    def keep(self, key: Key, result: dict[str, Any]) -> None:
        """Writes a result to a file of its own."""
        file = self.folder / "tasks" / f"{key}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        artifacts.write_json(file, {"key": key._asdict(), "recipe": _recipe(key), "commit": self.commit, "result": result})


def this_commit() -> str:
    """The commit of the files that run, with ``-dirty`` where they differ from it; empty outside of git."""
    told = try_git(Path(__file__).parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    return told.stdout.decode().strip()


def _recipe(key: Key) -> dict[str, Any] | None:
    """The recipe of a student's task, as it is now."""
    return asdict(RECIPES[key.what]) if key.kind == "student" and key.what in RECIPES else None


def work_folder(root: Path, work: Work) -> Path:
    """A folder for what is done with these params, on these rows, on this kind of machine: what another made is no result here."""
    features = work.data / "data" / "features"
    rows = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(features.glob("*.parquet"))}
    made_of = {"teach": work.teach.model_dump(), "train": work.train.model_dump(), "rows": rows, "machine": work.machine}
    return root / hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]


def teachers(fold: str, members: tuple[str, ...]) -> tuple[Key, ...]:
    """A task a member."""
    return tuple(Key(fold, "teach", member) for member in members)


def unseen(fold: str, members: tuple[str, ...] = PRODUCT) -> tuple[Key, ...]:
    """The teachers that have not seen one inner part."""
    return tuple(Key(fold, "unseen", member, part) for member in members for part in range(INNER))


def student(fold: str, name: str, seed: int) -> Task:
    """The task of a recipe, with what it needs of teachers."""
    recipe: Recipe = RECIPES[name]
    needs = teachers(fold, WIDER if recipe.teacher == "wider" else PRODUCT)
    return Task(Key(fold, "student", name, seed), needs + (unseen(fold) if recipe.teacher == "unseen" else ()))


def scores(folds: list[str], members: tuple[str, ...]) -> list[Task]:
    """How good the teachers are."""
    what = next((name for name, group in PRODUCTS.items() if group == members), members[0])
    return [Task(Key(fold, "scores", what), teachers(fold, members)) for fold in folds]


def plan_recipes(recipes: list[str], folds: list[str]) -> list[Task]:
    """Teachers' scores and students, in the order of the recipes, for every fold."""
    members = WIDER if any(RECIPES[name].teacher == "wider" for name in recipes) else PRODUCT
    return scores(folds, members) + [student(fold, name, SEED + number) for name in recipes for number, fold in enumerate(folds)]


def plan_suspects(member: str) -> list[Task]:
    """What it is worth to a member to act on the labels that others doubt, for every fold."""
    folds = names_of("folds")
    acts = [Task(Key(fold, "act", member, act=act), unseen(fold, DOUBTERS)) for act in ACTS[member] for fold in folds]
    return scores(folds, (member,)) + acts


def plan_final(recipe: str, seeds: int) -> list[Task]:
    """Scores of the teachers of all training rows, and students of several seeds."""
    return scores(["full"], WIDER) + [student("full", recipe, SEED + number) for number in range(seeds)]


def plan_shots() -> list[Task]:
    """Teachers' scores and a student of the committed recipe for few queries an intent, three draws each."""
    folds = [name for shots in SHOTS for name in names_of("shots", shots)]
    return scores(folds, PRODUCT) + [student(fold, "base", SEED) for fold in folds]


def prolonged(work: Work, rows: int) -> Work:
    """More passes over few rows: as many steps as over all of them, but at most ten times the passes."""
    every = len(read_fold(work.data, "full").train)
    times = min(MOST_PASSES, every // rows)
    finetuned = work.teach.finetuned.model_copy(update={"epochs": work.teach.finetuned.epochs * times})
    return replace(
        work,
        teach=work.teach.model_copy(update={"finetuned": finetuned}),
        train=work.train.model_copy(update={"epochs": work.train.epochs * times}),
    )


def run(work: Work, key: Key) -> dict[str, Any]:
    """Does a task, in a process of its own."""
    fix_runtime(work.teach.threads, SEED)
    fold = read_fold(work.data, key.fold)
    (work.folder / key.fold).mkdir(parents=True, exist_ok=True)
    if PARTS[key.fold].shots:
        work = prolonged(work, len(fold.train))
    if key.kind == "teach":
        return teach(work.study, fold, key.what)
    if key.kind == "unseen":
        return teach_unseen(work.study, fold, key.what, key.number)
    if key.kind == "act":
        return act_on_suspects(work.study, fold, key.what, key.act)
    if key.kind == "scores":
        return score_teachers(work.study, fold, PRODUCTS.get(key.what, (key.what,)))
    return study_student(work.study, fold, key.what, work.train, key.number)
