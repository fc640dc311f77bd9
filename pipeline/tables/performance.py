"""How fast the student is taught and answers, from the files that the benchmarks keep with ``--record``."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

from pipeline import artifacts
from pipeline.bulk.records import PART_ROWS
from pipeline.markdown import table
from pipeline.run_files import REFERENCES
from pipeline.tables.cells import another_model, spread
from pipeline.tables.results import REFERENCE

FOLDER = Path(REFERENCES)
TRAINING, STEP = FOLDER / "training.json", FOLDER / "training_step.json"
BULK = FOLDER / "bulk.json"
TEXT_BYTES = 60  # of a query
INFERENCE, SERVICE = FOLDER / "inference.json", FOLDER / "service.json"


def recorded(
    file: Path, command: str, told: Callable[[dict[str, Any]], str], count: Callable[[dict[str, Any]], object] = itemgetter("repetitions")
) -> Callable[[], str]:
    """The maker of a block: the table, the command, how often it was measured, the machine."""

    def make() -> str:
        if not file.exists():
            return f"Not measured yet: `{command}`.\n"
        result = artifacts.read_json(file)
        machine = result["machine"]
        where = f"{machine['threads']} thread{'s' * (machine['threads'] > 1)} of {machine['cpu']} ({machine['instructions']})"
        spreads = f"median [lowest, highest] of {count(result)} repetitions, interleaved"
        return f"{told(result)}\n`{command}`: {spreads}; {where}, torch {machine['torch']}.\n"

    return make


def training_table(result: dict[str, Any]) -> str:
    """A row a contender, and how much faster than the ordinary way a query is learnt."""
    contenders = result["contenders"].values()
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "seconds in all": lambda whole: f"{whole['seconds']:,.0f}",
        "accuracy on validation, %": lambda whole: f"{100 * whole['validation_accuracy']:.1f}",
        "peak, MiB": lambda whole: f"{whole['peak_rss_mib']:,}",
    }
    if not all(row["full"] for row in contenders):
        columns = {}
    header = ["", "queries/s", *columns]
    rows = [[row["title"], spread(row["queries_per_second"]), *(column(row["full"]) for column in columns.values())] for row in contenders]
    faster = spread(result["speedup_vs_padded_trainer"], 1)
    return table(header, rows) + f"\nPer query, the distilled student trains {faster} times as fast as the ordinary way.\n"


def step_table(result: dict[str, Any]) -> str:
    """Where a training step's time goes, and how much of the cores' peak the model's arithmetic gets."""
    rows = [[name, spread([100 * share for share in shares], 1)] for name, shares in result["shares"].items()]
    share = spread([100 * each for each in result["share_of_peak"]], 1)
    rate, watched = spread(result["queries_per_second"]), spread(result["profiled_queries_per_second"])
    ours, most = spread(result["model_gflops"]), spread(result["peak_gflops"])
    waste = 100 * result["padding_waste"]
    return table(["", "share of a step, %"], rows) + (
        f"\n{rate} queries/s in {result['machine']['precision']}; {watched} under the profiler, which the shares are from. A query costs "
        f"{result['mflop_per_query']:.0f} MFLOP (forward and backward; {waste:.1f} % of its tokens are padding), so the "
        f"student gets {ours} GFLOP/s, {share} % of the {most} GFLOP/s that a product of square matrices of "
        f"{result['peak_size']:,} reaches on the same cores in the same run.\n"
    )


def inference_table(result: dict[str, Any]) -> str:
    """A row a rival."""
    rows = []
    for name, row in result["rivals"].items():
        right = "" if row["accuracy"] is None else f"{100 * row['accuracy']:.1f}"
        times = [spread(row["p50_ms"], 3), spread(row["p99_ms"], 2), spread(row["speedup"], 1), spread(row["bulk_queries_per_second"])]
        rows.append([name, *times, right])
    header = ["text to label", "p50, ms", "p99, ms", "times transformers.pipeline (p50)", "bulk, queries/s", "accuracy, %"]
    return table(header, rows) + (
        f"\nThe {result['n']} test queries of at most {result['longest']} word pieces, {result['word_pieces']:.1f} on "
        f"average.{another_model(result)}\n"
    )


def service_table(result: dict[str, Any]) -> str:
    """A row a number of connections."""
    rows = [
        [step, spread(row["answers_per_second"]), spread(row["p50_ms"], 2), spread(row["p99_ms"], 2), str(row["refused"])]
        for step, row in result["connections"].items()
    ]
    return table(["connections", "answers/s", "p50, ms", "p99, ms", "refused"], rows) + (
        f"\nThe service is pinned to one core. Alternating with the classifier without HTTP, each after a pause and so slower than in "
        f"the table, a request takes {result['idle_p50_ms']:.2f} ms and the classifier alone {result['bare_p50_ms']:.2f} ms (p50)."
        f"{another_model(result)}\n"
    )


def bulk_table(result: dict[str, Any]) -> str:
    """A row a number of rows and workers."""
    rows = [[f"{run['rows']:,}", str(run["workers"]), spread(run["rows_per_second"]), spread(run["mib"])] for run in result["runs"]]
    return table(["rows", "workers", "rows/s", "MiB, largest process"], rows) + (
        f"\nThe test queries, repeated, with the {result['graph']} graph{' on Ray' * result['ray']}.{another_model(result)}\n"
    )


def bulk_repetitions(result: dict[str, Any]) -> str:
    """How often each size was scored."""
    return " and ".join(str(count) for count in {run["rows"]: len(run["mib"]) for run in result["runs"]}.values())


def cost() -> str:
    """What the reference run took, stage by stage."""
    if not REFERENCE.exists():
        return "Not run yet: `make banking77`.\n"
    run = artifacts.read_json(REFERENCE)
    rows = [[f"`{stage}`", f"{seconds:,.0f}"] for stage, seconds in run["wall_seconds"].items()]
    rows.append(["in all", f"{sum(run['wall_seconds'].values()):,.0f}"])
    return table(["stage", "seconds"], rows, "-r") + (
        f"\n`{run['command']}`, mean over the runs in which a stage ran (the teachers are fitted once); peak memory of the largest process "
        f"{run['peak_rss_mib'] / 1024:.1f} GiB; {run['threads']} threads of {run['cpu']}, {run['precision']}.\n"
    )


def arithmetic() -> str:
    """How long many rows take, at the measured rate of one worker."""
    alone = [run for run in artifacts.read_json(BULK)["runs"] if run["workers"] == 1] if BULK.exists() else []
    if not alone:
        return "Not measured yet: `python -m benchmarks.batch --record`.\n"
    largest = max(alone, key=lambda run: run["rows"])
    rate = statistics.median(largest["rows_per_second"])
    rows = []
    for queries in (10**5, 10**6, 10**9):
        hours = queries / rate / 3600
        parts, megabytes = -(-queries // PART_ROWS), queries * TEXT_BYTES / 1e6
        rows.append([f"{queries:,}", *(_duration(hours / cores) for cores in (1, 2, 64)), f"{parts:,}", f"{megabytes:,.0f} MB"])
    header = [
        "queries",
        "on one core",
        "on 2 cores",
        "on 64 cores",
        f"parts of {PART_ROWS:,}",
        f"texts of {TEXT_BYTES} bytes, uncompressed",
    ]
    return table(header, rows) + f"\nAt the {rate:,.0f} rows/s that one worker reached on {largest['rows']:,} rows.\n"


def _duration(hours: float) -> str:
    if hours < 1 / 60:
        return f"{3600 * hours:.0f} s"
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:,.0f} h"


training = recorded(TRAINING, "make benchmark FULL=1 RECORD=1", training_table)
training_step = recorded(STEP, "make benchmark RECORD=1", step_table)
inference = recorded(INFERENCE, "make benchmark-inference RECORD=1", inference_table)
service = recorded(SERVICE, "make benchmark-inference RECORD=1", service_table)
bulk = recorded(BULK, "python -m benchmarks.batch --record", bulk_table, bulk_repetitions)
