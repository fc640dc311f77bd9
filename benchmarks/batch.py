"""How bulk scoring scales: rows a second and memory, by rows and workers.

Run     python -m benchmarks.batch [--quick] [--rows 100000 1000000] [--repetitions 3 1] [--workers 1 2] [--ray] [--record]

The rows are the queries of the test split over and over, in a Parquet file. A run is the whole command, start and joining included, and
must end with every row once; the runs of a size take turns. A figure is the median over a size's repetitions; beside it the lowest and the
highest. Memory is the most that the largest process of a run had. Prints a table, then one line of JSON.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.processes import run_measured
from benchmarks.results import add_record, tell
from pipeline.bulk.table_files import write_tables
from pipeline.errors import UserError, exit_with_one_line
from pipeline.lock import folder_md5
from pipeline.prepared import read_texts
from pipeline.runtime import machine_class
from pipeline.serving.classifier import Classifier
from pipeline.tables.performance import BULK, bulk_table

ROWS_A_TABLE = 10_000


def archive(texts: list[str], rows: int) -> Iterator[pa.Table]:
    """Tables of the texts over and over, with a number."""
    endless = cycle(texts)
    for start in range(0, rows, ROWS_A_TABLE):
        count = min(ROWS_A_TABLE, rows - start)
        yield pa.table({"id": range(start, start + count), "text": list(islice(endless, count))})


def run(source: Path, target: Path, model: Path, workers: int, ray: bool) -> tuple[float, float]:
    """Scores a file.

    Returns:
        Seconds, and MiB of the largest process.

    Raises:
        UserError: it failed, or rows are not those of the input.
    """
    command = [sys.executable, "-m", "pipeline.score", str(source), str(target), "--model", str(model), "--workers", str(workers)]
    done = run_measured([*command, *(["--ray"] if ray else [])], subprocess.DEVNULL)
    if done.code:
        raise UserError(f"{source}: scoring it ended with exit code {done.code}")
    if pq.read_table(target, columns=["id"])["id"] != pq.read_table(source, columns=["id"])["id"]:
        raise UserError(f"{target}: its rows are not those of {source}")
    return done.seconds, done.peak_mib


def measure(texts: list[str], rows: int, repetitions: int, scratch: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """What each number of workers did to an archive of so many rows."""
    source, target = scratch / "in.parquet", scratch / "out.parquet"
    write_tables(archive(texts, rows), source, ".parquet")
    found: dict[int, list[tuple[float, float]]] = {workers: [] for workers in args.workers}
    for workers in args.workers * repetitions:
        found[workers].append(run(source, target, args.model, workers, args.ray))
        target.unlink()
    return [
        {
            "rows": rows,
            "workers": workers,
            "rows_per_second": [round(rows / seconds, 1) for seconds, _ in runs],
            "mib": [round(peak) for _, peak in runs],
        }
        for workers, runs in found.items()
    ]


def main() -> None:
    """Writes the archives, scores them interleaved, prints."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[100_000, 1_000_000], help="numbers of rows to score (default: 100000 1000000)"
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of worker processes to compare (default: 1 2)")
    parser.add_argument("--ray", action="store_true", help="run on Ray Data instead of a process pool")
    parser.add_argument("--model", type=Path, default=Path("models/onnx"), help="folder written by stage `export`")
    parser.add_argument("--data", type=Path, default=Path("data/prepared"), help="folder written by stage `prepare`")
    parser.add_argument("--repetitions", type=int, nargs="+", default=[3, 1], help="repetitions for each size in --rows (default: 3 1)")
    parser.add_argument("--quick", action="store_true", help="one repetition over 1,000 and 2,000 rows: does it run?")
    add_record(parser, BULK)
    args = parser.parse_args()
    sizes, repetitions = ([1_000, 2_000], [1, 1]) if args.quick else (args.rows, args.repetitions)
    if len(repetitions) != len(sizes):
        given = " ".join(map(str, repetitions))
        raise UserError(f"--repetitions {given}: give one number for each of the {len(sizes)} sizes in --rows")
    texts = read_texts(args.data, "test")
    with tempfile.TemporaryDirectory() as scratch:
        runs = [row for rows, times in zip(sizes, repetitions, strict=True) for row in measure(texts, rows, times, Path(scratch), args)]
    graph, machine = Classifier.load(args.model).graph, machine_class(threads=1, precision="fp32")
    model = folder_md5(args.model)
    tell({"ray": args.ray, "graph": graph, "model": model, "runs": runs, "machine": machine}, bulk_table, args.record)


if __name__ == "__main__":
    exit_with_one_line(main)
