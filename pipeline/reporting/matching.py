"""Which test queries of two runs are the same, and why figures cannot be paired where too few are."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from pipeline.markdown import code
from pipeline.paired import Pairs, pair
from pipeline.run_files import PREDICTIONS, Prediction, Results

LEAST_SHARED = 0.5  # house decision: a comparison on less than half of the larger test set speaks for neither


class Unpaired(Exception):  # noqa: N818 (an answer, not a failure)
    """Why two runs' figures cannot be paired, as Markdown."""


class Match(NamedTuple):
    """The queries both test sets hold, by the id they have after, and how many only one of them holds."""

    pairs: Pairs
    only_before: int
    only_after: int


def match(before: Results, after: Results) -> Match:
    """Joins two runs' predictions on the id of the query.

    An id is a line of a file. It names the same row in both where the dataset is the same, by its hash in ``dvc.lock``. Where it is not, or
    a lock has none, the texts must say which rows are the same; they are known for the repository's own sample only.

    Raises:
        Unpaired: no predictions on one side, other labels, ids that mean other rows, or too few queries in common.
    """
    for name, results in (("the base", before), ("the working tree", after)):
        if not results.predictions:
            reason = results.problems.get(PREDICTIONS, "no rows")
            raise Unpaired(f"{name} has no predictions that can be read (`{PREDICTIONS}`: {code(reason)})")
    _same_labels(before.predictions, after.predictions)
    by_text = before.dataset is None or before.dataset != after.dataset
    if by_text and not (before.texts and after.texts):
        raise Unpaired("the datasets may differ, so an id may refer to another query, and the repository has no texts to match queries by")

    old = {_key(row, before.texts if by_text else {}): row for row in before.predictions}
    new = {_key(row, after.texts if by_text else {}): row for row in after.predictions}
    shared = [key for key in new if key in old]
    if len(shared) < LEAST_SHARED * max(len(old), len(new)):
        raise Unpaired(
            f"the test sets are not the same: of {len(old):,} queries before and {len(new):,} after, {len(shared):,} are in both"
        )
    pairs = pair(
        [new[key].id for key in shared],
        [new[key].label for key in shared],
        [old[key].predicted for key in shared],
        [new[key].predicted for key in shared],
    )
    return Match(pairs, len(old) - len(shared), len(new) - len(shared))


def _same_labels(before: list[Prediction], after: list[Prediction]) -> None:
    old, new = {row.label for row in before}, {row.label for row in after}
    if old != new:
        parts = [f"{_few(names)} only {when}" for names, when in ((old - new, "before"), (new - old, "after")) if names]
        raise Unpaired("the labels are not the same: " + "; ".join(parts))


def _few(names: Collection[str]) -> str:
    shown = ", ".join(code(name, 40) for name in sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3:,} more"


def _key(row: Prediction, texts: dict[str, str]) -> tuple[str, str]:
    """What makes a query the same: its intent, and its text where ids cannot be trusted."""
    return texts.get(row.id, row.id), row.label
