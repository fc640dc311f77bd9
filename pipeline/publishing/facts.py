"""What a model card tells, read from the files that a run left: metrics, params, lock, plots' data, git."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import artifacts
from pipeline.artifacts import SAMPLE, STUDENT
from pipeline.csv_files import read_table
from pipeline.encoders import ENCODERS, Encoder
from pipeline.errors import UserError
from pipeline.lock import LOCK, PIPELINE, outputs, read_stages
from pipeline.revisions import Revision, head
from pipeline.run_files import PARAMS, REFERENCES, Results, is_of_recipe, read_results
from pipeline.sources import CARD_SUFFIX, read_card

NEEDED = ("data", "features", "train", "machine", "evaluate", "abstention")  # metrics/NAME.json
F1, CONFUSIONS = Path("plots/evaluate/f1_by_intent.csv"), Path("plots/evaluate/confusions.csv")
PICTURES = (Path("plots/evaluate/reliability.png"), Path("plots/evaluate/risk_coverage.png"))  # beside the card under plots/
PATHS = ("fetch.train", "fetch.test", "evaluate.out_of_scope")  # knobs that may tell where somebody keeps his files
OWN_NAME = "our own sample"


class Dataset(NamedTuple):
    """Where queries and intents came from; empty where nobody said."""

    name: str
    licence: str
    citation: str
    repository: str  # on the hub
    revision: str


class Facts(NamedTuple):
    """Everything a card tells."""

    results: Results
    metrics: dict[str, Any]  # by name of the file in metrics/
    params: dict[str, Any]  # dotted keys; of a file outside the repository, only its name
    dataset: Dataset
    encoder: Encoder | None
    start: Encoder | None  # what the student was before, where it was pre-trained
    weakest: list[dict[str, str]]  # columns intent and f1, the weakest first
    confusions: list[dict[str, str]]  # columns intent, predicted and queries
    cost: dict[str, Any] | None  # a reference run of all stages by the same recipe on the same CPU, if there was one
    commit: str
    dirty: bool
    lock_sha256: str

    @property
    def distilled(self) -> bool:
        """Whether teachers taught the student; else the labels alone did."""
        return bool(self.params["train.targets"] == "soft")

    @property
    def student(self) -> dict[str, float]:
        """The student's figures on the test split."""
        return self.results.metrics[STUDENT]

    def locked(self, path: Path) -> str:
        """The hash of an output in the lock, or words that say that there is none."""
        entry = outputs(self.results.lock).get(path.as_posix())
        return (entry and entry.md5) or "not in the lock"


def read_facts(root: Path) -> Facts:
    """Reads what the last run left in a working tree.

    Raises:
        UserError: a file is missing or cannot be read.
    """
    for path in [*(Path(f"metrics/{name}.json") for name in NEEDED), Path(PIPELINE), Path(LOCK), F1, CONFUSIONS, *PICTURES]:
        if not (root / path).is_file():
            raise UserError(f"{path}: no such file: run `make repro`")
    results = read_results(Revision(root))
    broken = {path: told for path, told in results.problems.items() if told != "no such file"}
    if broken or not results.params:
        name, told = next(iter(broken.items()), (PARAMS, "no such file"))
        raise UserError(f"{name}: {told}: bring it back with `git checkout -- {name}`, or run `make repro`")
    params = {key: _discreet(root, value) if key in PATHS else value for key, value in results.params.items()}
    metrics = {name: artifacts.read_json(root / f"metrics/{name}.json") for name in NEEDED}
    commit, dirty = head(root)
    return Facts(
        results=results,
        metrics=metrics,
        params=params,
        dataset=_dataset(root, str(results.params["fetch.train"])),
        encoder=ENCODERS.get(str(params["fetch.encoder"])),
        start=ENCODERS.get(str(params["fetch.student_encoder"])) if params["train.student.start"] == "pretrained" else None,
        weakest=read_table(root / F1),
        confusions=read_table(root / CONFUSIONS),
        cost=_cost(root, results.params, metrics["machine"]["cpu"]),
        commit=commit,
        dirty=dirty,
        lock_sha256=hashlib.sha256((root / LOCK).read_bytes()).hexdigest(),
    )


def _dataset(root: Path, train: str) -> Dataset:
    if train == SAMPLE:
        return Dataset(OWN_NAME, "CC0-1.0", "", "", "")
    if Path(train).suffix == CARD_SUFFIX:
        card = read_card(root / train)
        return Dataset(card.name, card.licence, card.citation, card.repository, card.revision)
    return Dataset(Path(train).name, "", "", "", "")


def _discreet(root: Path, path: Any) -> Any:
    if not isinstance(path, str):
        return path
    base, file = root.resolve(), (root / path).resolve()
    return file.relative_to(base).as_posix() if file.is_relative_to(base) else Path(path).name


def _cost(root: Path, params: dict[str, Any], cpu: str) -> dict[str, Any] | None:
    stages = read_stages(root)
    for path in sorted((root / REFERENCES).glob("*.json")):
        run: dict[str, Any] = artifacts.read_json(path)
        all_stages = stages.keys() <= run.get("wall_seconds", {}).keys()
        if all_stages and run["cpu"] == cpu and is_of_recipe(run, params):
            return run
    return None
