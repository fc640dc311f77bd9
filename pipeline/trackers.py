"""Who is told about the student's epochs: the console, DVCLive (always: it writes the curves) and, where asked for, Weights & Biases."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dvclive.live import Live

from pipeline import artifacts
from pipeline.charts import draw_curves
from pipeline.errors import UserError
from pipeline.metrics import DECIMALS
from pipeline.progress import Epoch, tell

Tell = Callable[[Epoch], None]
WANDB = "wandb"
PROJECT = "tinybert-intents"  # unless WANDB_PROJECT says otherwise
INIT_TIMEOUT_S = 30.0


def check_trackers(report_to: Sequence[str]) -> None:
    """Refuses before hours of work what cannot be reported to.

    Raises:
        UserError: wandb is not installed, nobody is logged in, or its server does not answer.
    """
    if WANDB not in report_to:
        return
    wandb = _import_wandb()
    if os.environ.get("WANDB_MODE", "online") == "online":
        with _one_line():
            if not wandb.login(prompt=False, verify=True):
                raise UserError("train.report_to: wandb: not logged in: run `wandb login`, or set WANDB_MODE=offline")


@contextmanager
def track(report_to: Sequence[str], config: dict[str, Any], plots: Path) -> Iterator[Callable[[int, float, float], None]]:
    """Yields what takes an epoch's number (1-based), loss and validation accuracy.

    When the block ends, the curves are in ``plots``, and drawn. They are the same bytes whoever else is told.

    Args:
        report_to: names of trackers.
        config: the section `train` of the params.
        plots: folder of the curves.
    """
    with ExitStack() as stack:
        told: list[Tell] = [stack.enter_context(_curves(plots))]
        if WANDB in report_to:
            told.append(stack.enter_context(_wandb_run(config)))

        def log(number: int, loss: float, validation_accuracy: float) -> None:
            epoch = Epoch(number, config["epochs"], loss, validation_accuracy)
            for each in told:
                each(epoch)
            print(tell(epoch), flush=True)

        yield log


@contextmanager
def _curves(plots: Path) -> Iterator[Tell]:
    with tempfile.TemporaryDirectory() as scratch:
        with Live(scratch, dvcyaml=None, save_dvc_exp=False) as live:

            def log(epoch: Epoch) -> None:
                live.step = epoch.epoch
                for name, value in _values(epoch).items():
                    live.log_metric(name, value)
                live.make_summary()

            yield log
        with artifacts.whole_folder(plots) as folder:
            for curve in sorted((Path(scratch) / "plots" / "metrics").glob("*.tsv")):
                shutil.copyfile(curve, folder / curve.name)
            draw_curves(folder)


@contextmanager
def _wandb_run(config: dict[str, Any]) -> Iterator[Tell]:
    """A run named as the DVC experiment is; its files go to ``build/wandb`` of the repository that the experiment was begun in."""
    wandb = _import_wandb()
    folder = Path(os.environ.get("DVC_ROOT", ".")) / "build"  # DVC's name for that repository, wherever the stage runs
    folder.mkdir(exist_ok=True)
    plain = f"{config['student']['start']}-{config['targets']}-{config['learning_rate']:g}-seed{config['seed']}"
    with _one_line():
        run: AbstractContextManager[Any] = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=os.environ.get("WANDB_NAME") or os.environ.get("DVC_EXP_NAME") or plain,
            config=config,
            dir=os.environ.get("WANDB_DIR", folder),
            settings=wandb.Settings(console="off", init_timeout=INIT_TIMEOUT_S),
        )
    with run as opened:
        yield lambda epoch: opened.log(_values(epoch), step=epoch.epoch)


def _values(epoch: Epoch) -> dict[str, float]:
    return {"loss": round(epoch.loss, DECIMALS), "validation_accuracy": round(epoch.accuracy, DECIMALS)}


def _import_wandb() -> Any:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its crash reports go to a third party, offline too
    try:
        import wandb  # noqa: PLC0415  an extra that imports slowly
    except ModuleNotFoundError:
        raise UserError("train.report_to: wandb: not installed: `pip install wandb`, or leave it out of the list") from None
    return wandb


@contextmanager
def _one_line() -> Iterator[None]:
    from wandb.errors import Error  # noqa: PLC0415  as above

    try:
        yield
    except Error as error:
        raise UserError(f"train.report_to: wandb: {error}: set WANDB_MODE=offline to send it later, or leave wandb out") from None
