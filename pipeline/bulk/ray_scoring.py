"""The parts of bulk scoring on Ray Data: the same parts, scored by the same function, into the same folders.

Every machine must see inputs, model and outputs under the same paths (a network file system, a mounted bucket). One task a file reads its
parts, others score them. When one dies, Ray runs it again; a part is written whole under its own name, so that what is done twice is there
once.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from pipeline.bulk.jobs import PART, Job
from pipeline.bulk.records import Part, count_problems, read_parts
from pipeline.bulk.scoring import Model, check_names, is_scored, score_part

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # ray reads it when it starts, and would call home

import ray
from ray.data import DataContext


class Done(NamedTuple):
    """A part that is written: index of its job, rows by problem, the file's share that it is."""

    job: int
    counts: Counter[str]
    share: float


def read_job(batch: pa.Table, column: str, size: int) -> Iterator[pa.Table]:
    """Yields the parts of a file, one a table; one whose answers are there already comes without its rows."""
    for row in batch.to_pylist():
        source, before = Path(row["source"]), 0.0
        for number, part in enumerate(read_parts(source, column, size)):
            check_names(source, part)
            target = Path(row["parts"]) / PART.format(number)
            told = {"job": row["job"], "counts": json.dumps(count_problems(part)), "share": part.share - before, "target": str(target)}
            yield pa.Table.from_pylist([told | {"rows": b"" if is_scored(target) else pack(part)}])
            before = part.share


def score_parts(batch: pa.Table, model: Model, top_k: int) -> pa.Table:
    """Scores the parts that a batch carries, and hands on what is told of them; a process that Ray uses again has the model already."""
    for row in batch.to_pylist():
        if row["rows"]:
            score_part(model, top_k, unpack(row["rows"]), Path(row["target"]))
    return batch.drop_columns(["rows", "target"])


def pack(part: Part) -> bytes:
    """A part as an Arrow stream; texts and problems are its last two columns."""
    texts, problems = pa.array(part.texts, pa.string()), pa.array(part.problems, pa.string())
    table = part.rows.append_column("text", texts).append_column("problem", problems)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def unpack(content: bytes) -> Part:
    """What ``pack`` packed: rows, texts and problems."""
    table = pa.ipc.open_stream(content).read_all()
    own = table.num_columns - 2
    return Part(table.select(range(own)), table.column(own).to_pylist(), table.column(own + 1).to_pylist(), frozenset(), 0.0)


def score_all(jobs: list[Job], model: Model, column: str, top_k: int, size: int, workers: int) -> Iterator[Done]:
    """Scores the parts of all files that are missing, in any order.

    Args:
        jobs: their folders of parts are open.
        model: every machine must find it under this path.
        column: of the texts.
        top_k: labels with their probabilities.
        size: rows a part.
        workers: tasks that score at a time, one core each.
    """
    start(workers)
    items = [{"job": i, "source": str(job.source.resolve()), "parts": str(job.parts.resolve())} for i, job in enumerate(jobs)]
    if not items:
        return
    read = partial(read_job, column=column, size=size)
    write = partial(score_parts, model=model._replace(folder=model.folder.resolve()), top_k=top_k)
    parts = (
        ray.data.from_items(items, override_num_blocks=len(items))
        .map_batches(read, batch_size=1, batch_format="pyarrow", concurrency=readers(workers))
        .map_batches(write, batch_size=1, batch_format="pyarrow", concurrency=workers)
    )
    for row in parts.iter_rows():
        yield Done(row["job"], Counter(json.loads(row["counts"])), row["share"])


def readers(workers: int) -> int:
    """Tasks that read at a time: one feeds dozens that score, and holds its core while it waits for them."""
    return 1 + workers // 16


def start(workers: int) -> None:
    """Joins the cluster of RAY_ADDRESS, which gets our code; else starts Ray on this machine."""
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(runtime_env={"py_modules": [str(Path(__file__).parents[1])]}, **quiet)
    else:
        ray.init(num_cpus=workers + readers(workers), include_dashboard=False, **quiet)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.target_max_block_size = 1 << 20  # bytes; a block is what a task is given at a time: a part or a few small ones
    context.enable_progress_bars = False
