"""Refuses a model folder that is not the one dvc.lock names; an image's build runs it.

Run     python -m pipeline.check_model --model models/onnx --lock dvc.lock
"""

from __future__ import annotations

from pipeline.command_line import read_paths
from pipeline.errors import exit_with_one_line
from pipeline.lock import check_output


def main() -> None:
    """Compares, and prints the hash."""
    args = read_paths(__doc__, "--model", "--lock")
    print(f"{args.model}: {check_output(args.model, args.lock)}, as {args.lock} says")


if __name__ == "__main__":
    exit_with_one_line(main)
