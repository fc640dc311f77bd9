"""The tables of results, stages and params, from the files that hold them.

Run     python -m pipeline.tables            prints the results of the last run
        python -m pipeline.tables --write    regenerates every block between <!-- generated: NAME --> and <!-- end --> in the documents
"""

from __future__ import annotations

import argparse

from pipeline.errors import exit_with_one_line
from pipeline.tables.blocks import write_documents
from pipeline.tables.results import results


def main() -> None:
    """Prints the results, or rewrites the documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="regenerate the documents")
    if parser.parse_args().write:
        write_documents()
    else:
        print(results(), end="")


if __name__ == "__main__":
    exit_with_one_line(main)
