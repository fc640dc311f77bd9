"""Composes `configs/` to `params.yaml`, as `dvc exp run` does.

Run     python -m pipeline.compose [group=choice | section.key=value ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dvc.utils.hydra import compose_and_dump
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from pipeline.errors import UserError, exit_with_one_line
from pipeline.params import PARAMS_FILE

CONFIGS = Path("configs")


def compose(overrides: list[str], output: Path, configs: Path = CONFIGS) -> None:
    """Writes the composition of the defaults in ``configs`` and ``overrides`` (Hydra's grammar) to ``output``.

    Raises:
        UserError: there is no such folder, or an override names no group, choice or key.
    """
    if not configs.is_dir():
        raise UserError(f"{configs}: no such folder: run in the root of the repository")
    try:
        compose_and_dump(output, str(configs.resolve()), None, "config", "", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(
            f"{' '.join(overrides) or configs}: {error}: groups are the folders in configs/, keys are listed in docs/params.md (never `+`)"
        ) from None


def main() -> None:
    """Composes with the overrides of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.compose", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", help="group=choice or section.key=value, e.g. data=banking77 train.epochs=3")
    compose(parser.parse_args().overrides, PARAMS_FILE)


if __name__ == "__main__":
    exit_with_one_line(main)
