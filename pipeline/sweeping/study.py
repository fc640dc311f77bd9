"""An Optuna study for one sweep: what it may try, where it is kept, and what it was begun with."""

from __future__ import annotations

import hashlib
import secrets
import tomllib
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from pipeline.errors import UserError
from pipeline.lock import flatten, read_stages
from pipeline.run_files import PYPROJECT
from pipeline.sweeping.experiment import TARGET
from pipeline.sweeping.space import Sweep

MADE_FROM = "made_from"  # attributes of the study
NAME = "name"
NOW = "now"  # attribute of the trial of what the params said when the study was begun
RETRIES = 3  # of a trial whose worker dies: the third time it may be the trial


def open_study(url: str, name: str, heartbeat_s: int, space: Sweep, params: dict[str, Any]) -> optuna.Study:
    """Opens a study, or begins it with a trial of what the params say now.

    Raises:
        UserError: the storage cannot be opened, or the study was begun with other knobs, params or code.
    """
    storage = open_storage(url, heartbeat_s)
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize", pruner=space.pruner(), load_if_exists=True)
    made_from = {
        "knobs": {knob: each.model_dump() for knob, each in space.knobs.items()},
        "params": {stage: section for stage, section in params.items() if stage not in ("evaluate", "export")},
        "code": hash_code(),
    }
    if MADE_FROM in study.user_attrs:
        _check_same(name, study.user_attrs[MADE_FROM], made_from)
        return study
    study.set_user_attr(NAME, secrets.token_hex(2))  # a study of the same name, begun anew, must not meet the experiments of this one
    study.set_user_attr(MADE_FROM, made_from)
    said = flatten(params)
    now = {knob: said[knob] for knob in space.knobs}
    if outside := [knob for knob, value in now.items() if not space.knobs[knob].contains(value)]:
        value = f"the current value of {outside[0]}, {now[outside[0]]},"
        print(f"note: {value} is outside the sweep's space: the current recipe will not be among the trials")
    else:
        study.enqueue_trial(now, user_attrs={NOW: True})
    return study


def _check_same(name: str, before: dict[str, Any], now: dict[str, Any]) -> None:
    for key, what in (("knobs", "the space of the sweep"), ("params", "the params"), ("code", "the code of the stages, or their versions")):
        if before[key] != now[key]:
            raise UserError(f"study {name}: {what} changed since the study began: restore it, or start another study with --study NAME")


def open_storage(url: str, heartbeat_s: int) -> RDBStorage:
    """A database in which a trial whose worker is silent is queued again.

    Args:
        url: of SQLAlchemy.
        heartbeat_s: how often a worker says that it is alive; silent for twice as long, it is dead.

    Raises:
        UserError: no such database, no right, or no driver for it.
    """
    try:
        shown = make_url(url).render_as_string(hide_password=True)
        patience = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
        return RDBStorage(
            url,
            engine_kwargs=patience,
            heartbeat_interval=heartbeat_s,
            grace_period=2 * heartbeat_s,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
        )
    except (ArgumentError, ValueError):  # the latter of a port that is none
        raise UserError("--storage: not the URL of a database, such as postgresql://user@host/sweeps") from None
    except ImportError as error:
        raise UserError(f"--storage {shown}: {error}: install the driver of that database") from None
    except SQLAlchemyError as error:
        raise UserError(f"--storage {shown}: {str(error.__cause__ or error).splitlines()[0]}") from None


def hash_code() -> str:
    """One hash of what trials run: the stages up to `train`, their modules and the versions they compute with."""
    content = hashlib.sha256()
    for name, stage in read_stages().items():
        content.update(f"{name} {stage['cmd']}\n".encode())
        for path in (path for path in stage["deps"] if path.endswith(".py")):
            content.update(Path(path).read_bytes())
        if name == TARGET:
            break
    content.update(str(tomllib.loads(Path(PYPROJECT).read_text(encoding="utf-8"))["project"]["dependencies"]).encode())
    return content.hexdigest()
