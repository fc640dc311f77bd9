"""How the benchmarks end: a table, a line of JSON, and with ``--record`` the file that the documents' table is made of."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import artifacts


def add_record(parser: argparse.ArgumentParser, file: Path) -> None:
    """Adds the option."""
    parser.add_argument("--record", action="store_const", const=file, help=f"keep the figures in {file}, for the documents")


def tell(result: dict[str, Any], table: Callable[[dict[str, Any]], str], record: Path | None) -> None:
    """Prints the table, then the line of JSON; keeps the file if asked to."""
    print(table(result))
    print(json.dumps(result))
    if record is not None:
        artifacts.write_json(record, result)
