"""What a change may cost: the budgets of ``pyproject.toml``, the noise floor, and the checks that the gate makes.

The floor keeps the luck of a seed from being called progress: the paired tests say that two *models* differ, not that the change made it.
"""

from __future__ import annotations

import json
import math
import statistics
import tomllib
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError
from scipy.stats import norm, t

from pipeline.artifacts import STUDENT
from pipeline.errors import UserError, misfit
from pipeline.lock import MODEL, differing, outputs
from pipeline.paired import Difference
from pipeline.params import Params
from pipeline.reporting.lockfile import in_short, stage_changes
from pipeline.revisions import Revision
from pipeline.run_files import METRICS, PREDICTIONS, PYPROJECT, REFERENCES, Results, contradictions

SECTION = "tool.budgets"
CHECKPOINT = MODEL.as_posix()
LEAST_SEEDS = 3  # the quantile for two is 12.7: such a floor would hide everything
TITLES = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
DRAWING = ("featurize", "teach", "train")  # the stages of which another seed makes another student


class Budgets(Params):
    """The section ``[tool.budgets]``; fractions, not percent."""

    significance: float = Field(gt=0, lt=0.5)
    accuracy_drop: float = Field(ge=0, le=1)
    macro_f1_drop: float = Field(ge=0, le=1)
    ece: float = Field(ge=0, le=1)
    parameters: int = Field(gt=0)
    checkpoint_bytes: int = Field(gt=0)
    seed_std: float = Field(ge=0, le=1)
    seed_std_source: str = Field(min_length=1)


class Spread(NamedTuple):
    """Standard deviation of each metric from seed to seed, and where it comes from."""

    std: dict[str, float]
    seeds: int  # 1: declared, not measured
    source: str
    varied: tuple[str, ...] = ()  # the params that were set to each seed
    unvaried: tuple[str, ...] = ()  # the stages that the change made run anew, and whose seed is not among them

    def floor(self, metric: str, significance: float) -> float:
        """The difference that two runs of one recipe under two seeds stay below, but for a share of ``significance``."""
        return self.quantile(significance) * math.sqrt(2) * self.std[metric]

    def quantile(self, significance: float) -> float:
        """Student's t where the deviation was measured, over few seeds; the normal distribution where it is declared."""
        law = norm if self.seeds == 1 else t(self.seeds - 1)
        return float(law.ppf(1 - significance / 2))


class Check(NamedTuple):
    """One budget: what it allows, what was found, whether that breaks it (None: cannot be judged), and the line of what does not hold."""

    name: str
    allowed: str
    found: str
    broken: bool | None
    line: str = ""


def read_budgets(root: Path) -> Budgets:
    """Reads and checks the budgets of a working tree.

    Raises:
        UserError: the file or section is missing, or a key or value does not fit.
    """
    try:
        section = tomllib.loads((root / PYPROJECT).read_text(encoding="utf-8"))["tool"]["budgets"]
        return Budgets.model_validate(section)
    except FileNotFoundError:
        raise UserError(f"{PYPROJECT}: no such file: run in the root of the repository") from None
    except (KeyError, TypeError):
        raise UserError(f"{PYPROJECT}: [{SECTION}] is missing: see the README, section 'Pull requests'") from None
    except ValidationError as error:
        key, message = misfit(error, SECTION)
        raise UserError(f"{PYPROJECT}: {key}: {message}") from None
    except ValueError as error:
        raise UserError(f"{PYPROJECT}: {error}") from None


def declared_spread(budgets: Budgets) -> Spread:
    """The spread that stands in where none is measured."""
    return Spread(dict.fromkeys(TITLES, budgets.seed_std), 1, budgets.seed_std_source)


def measured_spread(revision: Revision, dataset: Any) -> Spread | None:
    """The spread over seeds, reckoned from the figures of each, of a revision's first reference run on a dataset with enough of them.

    Raises:
        UserError: a file of the working tree has seeds, and not what else a reference run writes. (Of a commit it is passed over: a change
            may be there to mend it.)
    """
    for path in revision.files(REFERENCES):
        try:
            run = json.loads(revision.read(path) or b"") if path.endswith(".json") else {}
            if len(run.get("seeds", [])) < LEAST_SEEDS or run["params"]["fetch"]["train"] != dataset:
                continue
            each = {metric: _figures(run["models"][STUDENT][metric]["each"]) for metric in TITLES}
            std = {metric: statistics.stdev(values) for metric, values in each.items()}
            return Spread(std, min(map(len, each.values())), path, tuple(run.get("varied", ["train.seed"])))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if revision.commit is None:
                told = f"{type(error).__name__}: {error}"
                raise UserError(f"{path}: not the result of a reference run: {told}: restore it") from None
    return None


def unvaried(spread: Spread, before: Results, after: Results) -> tuple[str, ...]:
    """The stages that ran anew, by params or by what came out, and whose luck a measured spread lacks."""
    anew = {key.split(".")[0] for key in differing(before.params, after.params)}
    anew |= {row.stage for row in stage_changes(before.lock, after.lock) if row.outs}
    return tuple(stage for stage in DRAWING if spread.varied and stage in anew and f"{stage}.seed" not in spread.varied)


def _figures(values: Any) -> list[float]:
    return TypeAdapter(Annotated[list[FiniteFloat], Field(min_length=LEAST_SEEDS)]).validate_python(values)


def verdict(metric: str, difference: Difference, spread: Spread, significance: float) -> str:
    """``better``, ``worse`` or ``within noise``: significant on these queries, and more than a seed does.

    ``no verdict`` on more than the floor, where that lacks the luck of a stage that ran anew.
    """
    if not difference.is_significant(significance) or abs(difference.change) <= spread.floor(metric, significance):
        return "within noise"
    if spread.unvaried:
        return "no verdict"
    return "better" if difference.change > 0 else "worse"


def check(
    budgets: Budgets, after: Results, differences: dict[str, Difference], spread: Spread, mismatches: list[str], why_not: str
) -> list[Check]:
    """Every budget, in the order they are told."""
    checks = [_fall(metric, budgets, differences.get(metric), spread, why_not) for metric in TITLES]
    student = after.metrics.get(STUDENT, {})
    for name, form in (("ece", ".4f"), ("parameters", ",.0f")):
        missing = f"{METRICS}: {STUDENT}.{name}: {after.problems.get(METRICS, 'no such key')}: run `make repro`"
        checks.append(_at_most(name, getattr(budgets, name), student.get(name), missing, form))
    checkpoint = outputs(after.lock).get(CHECKPOINT)
    missing = f"dvc.lock: {CHECKPOINT}: its size is not recorded: run `make repro`"
    checks.append(_at_most("checkpoint_bytes", budgets.checkpoint_bytes, checkpoint.size if checkpoint else None, missing, ",.0f"))
    line = f"dvc.lock: {in_short(mismatches)}: it does not match the tree: run `make repro` and commit dvc.lock" if mismatches else ""
    checks.append(_matches("dvc.lock", "matches the tree", mismatches, line))
    told = contradictions(after)
    line = f"{METRICS}: {in_short(told)}: run `dvc repro --force evaluate` and commit what it writes" if told else ""
    checks.append(_matches(METRICS, f"matches {PREDICTIONS}", told, line))
    return checks


def _fall(metric: str, budgets: Budgets, difference: Difference | None, spread: Spread, why_not: str) -> Check:
    tolerated = float(getattr(budgets, f"{metric}_drop"))
    name, allowed = f"{metric}_drop", f"at most {100 * tolerated:.2f} points, and not worse"
    if difference is None:
        return Check(name, allowed, "not paired", None, f"{name}: not judged: {why_not}")
    word = verdict(metric, difference, spread, budgets.significance)
    worse = word == "worse"
    found = f"{-100 * difference.change:.2f} points{', worse' if worse else ''}" if difference.change < 0 else "no fall"
    if not worse and round(-difference.change, 9) <= tolerated:  # 0.80 - 0.77 is a little more than 0.03
        if word == "within noise" or difference.change > 0:
            return Check(name, allowed, found, False)
        line = f"{name}: not judged: a fall of {found}; the noise floor does not cover the seed noise of {', '.join(spread.unvaried)}"
        return Check(name, allowed, found, None, line)
    why = "significantly and beyond the noise floor" if worse else "by more than is tolerated"
    line = (
        f"{TITLES[metric]} fell {why}: {difference.before:.4f} -> {difference.after:.4f} "
        f"({PYPROJECT}: {SECTION}.{name} = {tolerated}, significance = {budgets.significance}): fix the change"
    )
    return Check(name, allowed, found, True, line)


def _matches(name: str, allowed: str, mismatches: list[str], line: str) -> Check:
    return Check(name, allowed, f"{len(mismatches)} mismatch(es)" if mismatches else "matches", bool(mismatches), line)


def _at_most(name: str, most: float, found: float | None, missing: str, form: str) -> Check:
    allowed = f"at most {most:,}"
    if found is None:
        return Check(name, allowed, "unknown", True, missing)
    line = f"{STUDENT}: {name} is {found:{form}}, {PYPROJECT} {SECTION}.{name} allows {most:,}: fix the change, or raise the budget"
    return Check(name, allowed, f"{found:{form}}", found > most, line if found > most else "")
