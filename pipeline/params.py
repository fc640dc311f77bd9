"""``params.yaml`` as stages read it: each declares a typed model of its own section and sees no other.

The fields' descriptions and bounds are the reference table of ``docs/params.md``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import MISSING, UserError, misfit

PARAMS_FILE = Path("params.yaml")
STAGES = ("fetch", "prepare", "featurize", "teach", "train", "evaluate", "export")  # those of dvc.yaml: the sections that are read

Section = TypeVar("Section", bound="Params")
Precision = Annotated[
    Literal["auto", "bf16", "fp32"],
    Field(description="bf16, fp32, or auto: bf16 where the CPU or GPU has it (twice as fast), else fp32"),
]
Device = Annotated[Literal["cpu", "cuda"], Field(description="where the networks learn; the bits of a lock are those of one device")]


class Params(BaseModel):
    """A section: unknown keys, missing keys, wrong types and values out of range are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def read_params(name: str, section: type[Section], path: Path = PARAMS_FILE) -> Section:
    """Reads and checks one section of ``params.yaml``.

    Raises:
        UserError: the file is missing, a folder or no YAML, the section is missing, another section is none of a stage, or a key or value
            does not fit; the first misfit is named.
    """
    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: check the path, and run in the root of the repository") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, not a file: check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(sections, dict) or not isinstance(sections.get(name), dict):
        raise UserError(f"{path}: section '{name}' is missing: compose the file with `make params`")
    if unknown := sorted(map(str, sections.keys() - {name, *STAGES})):  # from `+students=scratch`, say, which Hydra suggests for a slip
        raise UserError(f"{path}: {unknown[0]}: no stage reads such a section: remove it, or correct its spelling (docs/params.md)")
    try:
        return section.model_validate(sections[name])
    except ValidationError as error:
        key, message = misfit(error, name)
        if message == MISSING:
            message += ": compose the file with `make params`"
        elif re.fullmatch("'.*': input should be a valid number", message):
            message += " (YAML reads 1e-4 as text: write 1.0e-4)"
        elif number := re.fullmatch("([0-9.]+): input should be a valid string", message):
            message += f" (to make a number text: -S \"{key}='{number[1]}'\")"
        raise UserError(f"{path}: {key}: {message}") from None
