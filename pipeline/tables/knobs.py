"""The knobs of the stages and of the service, from their typed models."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import yaml
from pydantic import BaseModel

from pipeline.lock import flatten
from pipeline.markdown import table
from pipeline.params import PARAMS_FILE
from pipeline.serving.settings import Settings


def params() -> str:
    """Every knob: type and range, value in params.yaml, meaning."""
    text = ""
    for name, values in yaml.safe_load(PARAMS_FILE.read_text(encoding="utf-8")).items():
        section = getattr(importlib.import_module(f"pipeline.{name}"), f"{name.capitalize()}Params")
        said = flatten(values)
        rows = [[f"`{key}`", kind, f"`{'null' if said[key] is None else said[key]}`", meaning] for key, kind, meaning in _fields(section)]
        text += f"\n## {name}\n\n" + table(["knob", "type and range", "in params.yaml", "meaning"], rows)
    return text + "\n"


def settings() -> str:
    """Every setting of the service: type and range, default, meaning."""
    rows = [
        [
            f"`{name}`",
            kind.replace("pydantic.types.SecretStr", "str"),
            f"`{field.default}`" if isinstance(field.default, int | float | str) else "",
            meaning,
        ]
        for (name, kind, meaning), field in zip(_fields(Settings), Settings.model_fields.values(), strict=True)
    ]
    return table(["setting", "type and range", "default", "meaning"], rows)


def _fields(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(field.annotation, f"{prefix}{name}.")
            continue
        kind = (
            field.annotation.__name__
            if isinstance(field.annotation, type)
            else str(field.annotation).replace("typing.", "").replace("|", "or")
        )
        signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
        bounds = [f"{sign} {getattr(bound, key)}" for bound in field.metadata for key, sign in signs.items() if hasattr(bound, key)]
        yield prefix + name, ", ".join([kind, *bounds]), field.description or ""
