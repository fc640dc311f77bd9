"""The command line of a stage: one required option a path, as ``dvc.yaml`` gives them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def read_paths(description: str | None, *options: str) -> argparse.Namespace:
    """Parses ``--option path`` for every option, all required; ``--help`` shows the description (a stage's docstring)."""
    prog = f"python -m pipeline.{Path(sys.argv[0]).stem}"  # argparse before 3.14 says train.py
    parser = argparse.ArgumentParser(prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in options:
        parser.add_argument(option, type=Path, required=True)
    return parser.parse_args()
