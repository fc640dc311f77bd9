"""The only reader of ``params.yaml``. Each stage declares a typed model of its own section and sees no other.

The fields' descriptions and bounds are the reference table of ``docs/params.md``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import UserError

PARAMS_FILE = Path("params.yaml")

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
        UserError: the file is missing or no YAML, the section is missing, or a key or value does not fit; the first
            misfit is named.
    """
    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: run in the root of the repository") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(sections, dict) or not isinstance(sections.get(name), dict):
        raise UserError(f"{path}: section '{name}' is missing: compose the file with `make params`")
    try:
        return section.model_validate(sections[name])
    except ValidationError as error:
        raise UserError(f"{path}: {_describe(name, error)}") from None


def _describe(section: str, error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join([section, *map(str, first["loc"])])
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key: remove it or mend its spelling"
    if first["type"] == "missing":
        return f"{key}: missing: compose the file with `make params`"
    message = first["msg"].removeprefix("Value error, ")
    hint = " (YAML reads 1e-4 as text: write 1.0e-4)" if isinstance(first["input"], str) and first["type"] == "float_type" else ""
    value = "" if isinstance(first["input"], dict) else f"{first['input']!r}: "
    return f"{key}: {value}{message[0].lower()}{message[1:]}{hint}"
