from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.compose import compose
from pipeline.errors import UserError
from pipeline.evaluate import EvaluateParams
from pipeline.export import ExportParams
from pipeline.fetch import FetchParams
from pipeline.params import Params, read_params
from pipeline.prepare import PrepareParams
from pipeline.teach import TeachParams
from pipeline.train import TrainParams

GOOD = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))


def write(folder: Path, section: str, **changes: object) -> Path:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump({section: GOOD[section] | changes}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rat": 1}, "train.learning_rat: unknown key: remove it or correct its spelling"),
        ({"learning_rate": "abc"}, "train.learning_rate: 'abc': input should be a valid number"),
        ({"learning_rate": "1e-4"}, "write 1.0e-4"),
        ({"learning_rate": -1.0}, "train.learning_rate: -1.0: input should be greater than 0"),
        ({"learning_rate": float("nan")}, "train.learning_rate: nan: input should be a finite number"),
        ({"epochs": 1.5}, "train.epochs: 1.5: input should be a valid integer"),
        ({"epochs": True}, "train.epochs: True: input should be a valid integer"),
        ({"targets": "warm"}, "train.targets: 'warm': input should be 'soft' or 'hard'"),
        ({"student": GOOD["train"]["student"] | {"heads": 7}}, "heads (7) must divide hidden (312)"),
        ({"student": {}}, "train.student.start: missing"),
        ({"student": {"strat": "scratch"}}, "train.student.strat: unknown key: remove it or correct its spelling"),
    ],
)
def test_a_bad_value_is_one_line_with_key_value_and_remedy(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = write(tmp_path, "train", **changes)
    with pytest.raises(UserError) as error:
        read_params("train", TrainParams, path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: train")
    assert "\n" not in str(error.value)


def test_a_missing_file_or_section_or_broken_yaml_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    with pytest.raises(UserError, match="no such file"):
        read_params("teach", TeachParams, path)
    with pytest.raises(UserError, match="is a folder, not a file: check the path"):
        read_params("teach", TeachParams, tmp_path)
    path.write_text("prepare: 3\n", encoding="utf-8")
    with pytest.raises(UserError, match="section 'prepare' is missing"):
        read_params("prepare", PrepareParams, path)
    path.write_text("prepare: [", encoding="utf-8")
    with pytest.raises(UserError, match="not valid YAML"):
        read_params("prepare", PrepareParams, path)


def test_an_override_that_names_nothing_is_one_line_with_where_the_names_are(tmp_path: Path) -> None:
    remedy = r"groups are the folders in configs/, keys are listed in docs/params\.md \(never `\+`\)$"
    with pytest.raises(UserError, match=rf"(?s)^train\.epoch=3: Could not override 'train\.epoch'.*: {remedy}"):
        compose(["train.epoch=3"], tmp_path / "params.yaml")


def test_outside_a_checkout_nothing_is_composed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^configs: no such folder: run in the root of the repository$"):
        compose([], tmp_path / "params.yaml")


def test_a_column_whose_name_is_a_number_is_named_as_text(tmp_path: Path) -> None:
    composed = tmp_path / "params.yaml"
    compose(["fetch.text_column=0"], composed)
    with pytest.raises(UserError, match=r"fetch\.text_column: 0: input should be a valid string \(.*: -S \"fetch\.text_column='0'\"\)"):
        read_params("fetch", FetchParams, composed)
    compose(["fetch.text_column='0'"], composed)
    assert read_params("fetch", FetchParams, composed).text_column == "0"


@pytest.mark.parametrize(
    ("stage", "section"), [("teach", TeachParams), ("train", TrainParams), ("evaluate", EvaluateParams), ("export", ExportParams)]
)
def test_a_seed_that_no_library_takes_is_one_line(tmp_path: Path, stage: str, section: type[Params]) -> None:
    assert read_params(stage, section, write(tmp_path, stage, seed=2**32 - 1))
    with pytest.raises(UserError, match=rf"{stage}\.seed: 4294967296: input should be less than 4294967296"):
        read_params(stage, section, write(tmp_path, stage, seed=2**32))


def test_a_section_that_no_stage_reads_is_refused(tmp_path: Path) -> None:
    """`-S +students=scratch`, which Hydra suggests for `-S students=scratch`, composes; nothing would come of it."""
    path = write(tmp_path, "train")
    path.write_text(path.read_text(encoding="utf-8") + "evaluate: {}\nstudents: scratch\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"params\.yaml: students: no stage reads such a section: remove it"):
        read_params("train", TrainParams, path)


def test_an_integer_is_a_fine_float(tmp_path: Path) -> None:
    assert read_params("train", TrainParams, write(tmp_path, "train", distillation_temperature=2)).distillation_temperature == 2.0
