"""The service's settings: one typed model, filled from the environment and, before it, the command line.

The fields' descriptions and bounds are the table of ``docs/service.md`` and what ``--help`` prints.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from pipeline.errors import MISSING, UserError, misfit

PREFIX = "SERVE_"
SHORTEST_KEY = 16


class Settings(BaseModel):
    """How a model folder is served."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: Path = Field(description="folder that stage `export` wrote")
    name: str = Field("tinybert", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="the model's name in `/v2/models/NAME`")
    host: str = Field("127.0.0.1", description="address to listen on; `0.0.0.0` for every one, as in a container")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0: any free one, which the log reports")
    workers: int = Field(1, ge=1, le=64, description="inferences at the same time, each in a thread of its own")
    threads: int = Field(1, ge=1, le=64, description="CPU threads of one inference")
    # the longest text fits however it is written: 100,000 characters of at most 12 bytes (`\ud83d\udcb3`)
    max_body_bytes: int = Field(1_250_000, ge=1_000, le=100_000_000, description="larger bodies are refused with 413")
    max_in_flight: int = Field(64, ge=1, le=10_000, description="requests with a body at the same time; more are refused with 503")
    max_waiting_texts: int = Field(
        64,
        ge=1,
        le=100_000,
        description="texts waiting or running at a time; more get 503, but one larger request is accepted when none is running",
    )
    body_timeout_s: float = Field(
        5.0,
        gt=0,
        le=600,
        description="seconds for a body to arrive, else 408; for headers to arrive and an answer to be read, else the connection is closed",
    )
    timeout_s: float = Field(10.0, gt=0, le=600, description="seconds within which the model must have answered, else 504")
    drain_s: float = Field(
        0.0, ge=0, le=600, description="seconds after SIGTERM in which requests are still taken, but `/v2/health/ready` says no"
    )
    commit: str | None = Field(None, description="git commit that `/version` reports; by default that of the working directory, if any")
    api_key: SecretStr | None = Field(
        None,
        min_length=SHORTEST_KEY,
        description="if set, requests must carry it in `X-API-Key`; in the environment alone, where `ps` does not show it",
    )


def read_settings(arguments: Sequence[str], environment: Mapping[str, str], description: str | None = None) -> Settings:
    """Reads ``--max-in-flight 5``, else ``SERVE_MAX_IN_FLIGHT=5``, else the default, for every field.

    Raises:
        UserError: a value does not fit, or the model is not given; the first misfit is named as it was given.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, field in Settings.model_fields.items():
        if name != "api_key":
            parser.add_argument(_flag(name), default=None, metavar="VALUE", help=f"{field.description}{_default(field.default)}")
    flags = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    values = {name: environment[PREFIX + name.upper()] for name in Settings.model_fields if PREFIX + name.upper() in environment}
    try:
        return Settings.model_validate(values | flags)
    except ValidationError as error:
        key, message = misfit(error)
        if message == MISSING:
            raise UserError(f"{_flag(key)}: missing: name the folder that stage export wrote: {_flag(key)} models/onnx") from None
        if key == "api_key":  # its value is printed nowhere
            message = f"shorter than {SHORTEST_KEY} characters"
        raise UserError(f"{_flag(key) if key in flags else PREFIX + key.upper()}: {message}") from None


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _default(value: Any) -> str:
    return f" (default: {value})" if isinstance(value, int | float | str) else ""
