"""The generated blocks: which there are, and which documents have any."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipeline.errors import UserError
from pipeline.packages import complete
from pipeline.provenance import fetched
from pipeline.tables.answer import answer, glance
from pipeline.tables.audit import audit
from pipeline.tables.drift import drift
from pipeline.tables.exported import abstention, export
from pipeline.tables.knobs import params, settings
from pipeline.tables.levers import levers
from pipeline.tables.performance import arithmetic, bulk, cost, inference, service, training, training_step
from pipeline.tables.results import noise_floor, reference, results_and_seeds
from pipeline.tables.sample import out_of_scope, sample
from pipeline.tables.stages import stage_details, stages

BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
DEPENDENCIES = "dependencies"  # the block that is in part written by hand
DOCUMENTS = ("*.md", "docs/**/*.md", "data/sample/README.md")  # patterns of what is searched for blocks
MAKERS: dict[str, Callable[[], str]] = {
    "abstention": abstention,
    "answer": answer,
    "arithmetic": arithmetic,
    "audit": audit,
    "best": partial(levers, "final"),
    "bulk": bulk,
    "cost": cost,
    "drift": drift,
    "export": export,
    "fetched": fetched,
    "glance": glance,
    "inference": inference,
    "levers": partial(levers, "folds"),
    "levers_by_thirds": partial(levers, "thirds"),
    "noise_floor": noise_floor,
    "out_of_scope": out_of_scope,
    "params": params,
    "reference": reference,
    "results": results_and_seeds,
    "sample": sample,
    "service": service,
    "settings": settings,
    "shots": partial(levers, "shots"),
    "stage_details": stage_details,
    "stages": stages,
    "suspects": partial(levers, "suspects"),
    "training": training,
    "training_step": training_step,
}


def find_documents() -> list[Path]:
    """The documents that have a generated block."""
    found = (path for pattern in DOCUMENTS for path in sorted(Path().glob(pattern)))
    return [path for path in found if BLOCK.search(path.read_text(encoding="utf-8"))]


def write_documents() -> list[Path]:
    """Makes the generated blocks of all documents anew; returns the documents."""
    documents = find_documents()
    for path in documents:
        path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")
    return documents


def render(document: str) -> str:
    """A document with its generated blocks made anew.

    Raises:
        UserError: a block is none of ours.
    """
    return BLOCK.sub(_make, document)


def _make(block: re.Match[str]) -> str:
    first, name, last = block.groups()
    if name == DEPENDENCIES:  # two of its columns are written by hand, in the block itself
        return f"{first}{complete(block[0])}{last}"
    if name not in MAKERS:
        raise UserError(f"<!-- generated: {name} -->: no such block: choose one of {', '.join([*MAKERS, DEPENDENCIES])}")
    before = block[0][len(first) : -len(last)] or "Not made yet: `make repro`, `make docs`.\n"  # a merge left the block empty
    return f"{first}{MAKERS[name]() or before}{last}"  # what cannot be made here stays as it is
