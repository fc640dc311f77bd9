"""The command line of a stage: one required option a path, as ``dvc.yaml`` gives them."""

from __future__ import annotations

import argparse
from pathlib import Path


def read_paths(description: str | None, *options: str) -> argparse.Namespace:
    """Parses ``--option path`` for every option, all required; ``--help`` shows the description (a stage's docstring)."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in options:
        parser.add_argument(option, type=Path, required=True)
    return parser.parse_args()
