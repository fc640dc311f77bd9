"""What a change may cost: the budgets of ``pyproject.toml``, the noise floor, and the checks that the gate makes.

The floor keeps the luck of a seed from being called progress: the paired tests say that two *models* differ, not that the change made it.
"""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.stats import norm, t

from pipeline.errors import UserError
from pipeline.paired import Difference
from pipeline.reporting.lockfile import in_short, outputs
from pipeline.reporting.results import METRICS, STUDENT, Results

BUDGETS = "pyproject.toml"
SECTION = "tool.budgets"
REFERENCES = "metrics/reference"
CHECKPOINT = "models/tinybert"
TITLES = {"accuracy": "accuracy", "macro_f1": "macro-F1"}


class Budgets(BaseModel):
    """The section ``[tool.budgets]``; fractions, not percent."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    significance: float = Field(gt=0, lt=0.5)
    accuracy_drop: float = Field(ge=0, le=1)
    macro_f1_drop: float = Field(ge=0, le=1)
    ece: float = Field(ge=0, le=1)
    parameters: int = Field(gt=0)
    checkpoint_bytes: int = Field(gt=0)
    seed_std: float = Field(ge=0, le=1)
    seed_std_source: str = Field(min_length=1)


class Spread(NamedTuple):
    """Standard deviation of each metric from seed to seed, over how many seeds (1: declared, not measured), and where it comes from."""

    std: dict[str, float]
    seeds: int
    source: str

    def floor(self, metric: str, significance: float) -> float:
        """The difference that two runs of one recipe under two seeds stay below, but for a share of ``significance``.

        Student's law where the deviation was measured, over few seeds; the normal law where it is declared.
        """
        law = norm if self.seeds == 1 else t(self.seeds - 1)
        return float(law.ppf(1 - significance / 2)) * math.sqrt(2) * self.std[metric]


class Check(NamedTuple):
    """One budget: what it allows, what was found, whether that breaks it (None: cannot be judged), and the line that says so."""

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
        section = tomllib.loads((root / BUDGETS).read_text(encoding="utf-8"))["tool"]["budgets"]
        return Budgets.model_validate(section)
    except FileNotFoundError:
        raise UserError(f"{BUDGETS}: no such file: run in the root of the repository") from None
    except (KeyError, TypeError):
        raise UserError(f"{BUDGETS}: [{SECTION}] is missing: see the README, section 'Pull requests'") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{BUDGETS}: {SECTION}.{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}") from None
    except ValueError as error:
        raise UserError(f"{BUDGETS}: {error}") from None


def seed_spread(root: Path, dataset: Any, budgets: Budgets) -> Spread:
    """The spread that a reference run on the same dataset measured over several seeds; else the declared one."""
    for path in sorted((root / REFERENCES).glob("*.json")):
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            seeds = run.get("seeds", [])
            if len(seeds) > 1 and run["params"]["fetch"]["train"] == dataset:
                std = {metric: float(run["models"][STUDENT][metric]["std"]) for metric in TITLES}
                return Spread(std, len(seeds), f"{REFERENCES}/{path.name}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: not the result of a reference run: {error!r}: restore it") from None
    return Spread(dict.fromkeys(TITLES, budgets.seed_std), 1, budgets.seed_std_source)


def verdict(difference: Difference, floor: float, significance: float) -> str:
    """``better``, ``worse`` or ``within noise``: significant on these queries, and more than a seed does."""
    if not difference.is_significant(significance) or abs(difference.change) <= floor:
        return "within noise"
    return "better" if difference.change > 0 else "worse"


def check(
    budgets: Budgets, after: Results, differences: dict[str, Difference], spread: Spread, mismatches: list[str], why_not: str
) -> list[Check]:
    """Every budget, in the order they are told."""
    checks = [_fall(metric, budgets, differences.get(metric), spread, why_not) for metric in TITLES]
    student = after.metrics.get(STUDENT, {})
    missing = f"{METRICS}: {STUDENT}.%s: {after.problems.get(METRICS, 'no such key')}: run `make repro`"
    checks.append(_at_most("ece", budgets.ece, student.get("ece"), missing % "ece", ".4f"))
    checks.append(_at_most("parameters", budgets.parameters, student.get("parameters"), missing % "parameters", ",.0f"))
    checkpoint = outputs(after.lock).get(CHECKPOINT)
    missing = f"dvc.lock: {CHECKPOINT}: its size is not recorded: run `make repro`"
    checks.append(_at_most("checkpoint_bytes", budgets.checkpoint_bytes, checkpoint.size if checkpoint else None, missing, ",.0f"))
    found = "matches" if not mismatches else f"{len(mismatches)} mismatch(es)"
    line = f"dvc.lock: {in_short(mismatches)}: it does not match the tree: run `make repro` and commit dvc.lock" if mismatches else ""
    checks.append(Check("dvc.lock", "matches the tree", found, bool(mismatches), line))
    return checks


def _fall(metric: str, budgets: Budgets, difference: Difference | None, spread: Spread, why_not: str) -> Check:
    tolerated = float(getattr(budgets, f"{metric}_drop"))
    name, allowed = f"{metric}_drop", f"at most {100 * tolerated:.2f} points, and not significant"
    if difference is None:
        return Check(name, allowed, why_not, None)
    worse = verdict(difference, spread.floor(metric, budgets.significance), budgets.significance) == "worse"
    found = f"{-100 * difference.change:.2f} points{', significant' if worse else ''}" if difference.change < 0 else "no fall"
    if not worse and -difference.change <= tolerated:
        return Check(name, allowed, found, False)
    why = "significantly and beyond the noise floor" if worse else "by more than is tolerated"
    line = (
        f"{TITLES[metric]} fell {why}: {difference.before:.4f} -> {difference.after:.4f} "
        f"({BUDGETS}: {SECTION}.{name} = {tolerated}, significance = {budgets.significance}): mend the change"
    )
    return Check(name, allowed, found, True, line)


def _at_most(name: str, most: float, found: float | None, missing: str, form: str) -> Check:
    allowed = f"at most {most:,}"
    if found is None:
        return Check(name, allowed, "unknown", True, missing)
    line = f"{STUDENT}: {name} is {found:{form}}, {BUDGETS} {SECTION}.{name} allows {most:,}: mend the change, or raise the budget"
    return Check(name, allowed, f"{found:{form}}", found > most, line if found > most else "")
