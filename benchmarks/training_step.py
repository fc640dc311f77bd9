"""Where the time of a training step goes, and how near the student's arithmetic comes to the peak of the cores.

Run     python -m benchmarks.training_step [--repetitions 5] [--record]

On the features of the last `dvc repro`, few queries, as the stage `train` teaches. By turns in one run: an epoch as it is (queries a
second), an epoch under torch's profiler (the shares), and a product of large square matrices in the same precision (the peak). What no
operator of torch accounts for is Python: the Trainer, the modules, the calls. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.results import add_record, tell
from benchmarks.training import Contender, distilled, prepare
from pipeline.errors import exit_with_one_line
from pipeline.runtime import machine_class
from pipeline.tables.performance import STEP, step_table
from pipeline.training import Lesson

PEAK_SIZE, PEAK_PRODUCTS = 2048, 8
PYTHON, REST = "Python: Trainer, modules, calls", "other operators: softmax, GELU, norms, losses, sums"
GROUPS = {  # how an operator's name starts
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::linear"),
    "optimizer: AdamW, clipping": ("Optimizer.", "aten::_fused_adamw", "aten::_foreach", "aten::linalg_vector_norm"),
    "data: gathering, padding, the teacher's states": ("enumerate(DataLoader)",),
    "casts and copies": (
        "aten::copy_",
        "aten::_to_copy",
        "aten::to",
        "aten::clone",
        "aten::contiguous",
        "aten::empty",
        "aten::zero_",
        "aten::fill_",
    ),
}


class Epoch(NamedTuple):
    """What one repetition saw."""

    rate: float  # queries/s
    profiled_rate: float
    shares: dict[str, float]
    peak: float  # FLOP/s


def group_of(operator: str) -> str:
    """The group that an operator belongs to."""
    return next((group for group, starts in GROUPS.items() if operator.startswith(starts)), REST)


def shares_of(operators: Iterable[tuple[str, float]], wall_s: float) -> dict[str, float]:
    """Shares of a time by group, from each operator's own seconds; what is left is Python's."""
    seconds = dict.fromkeys([*GROUPS, REST], 0.0)
    for name, own_s in operators:
        seconds[group_of(name)] += own_s
    return {**{group: spent / wall_s for group, spent in seconds.items()}, PYTHON: 1 - sum(seconds.values()) / wall_s}


def watch(contender: Contender) -> Epoch:
    """Trains three epochs: to warm up, as it is, under the profiler."""
    ends, profiler = [], profile(activities=[ProfilerActivity.CPU])

    def at_epoch_end(epoch: int, loss: float) -> None:
        ends.append(time.perf_counter())
        if epoch == 2:
            profiler.start()
            ends.append(time.perf_counter())
        if epoch == 3:
            profiler.stop()

    contender.run(3, at_epoch_end)
    wall_s, queries = ends[3] - ends[2], len(contender.lesson.examples)
    own = [(event.key, event.self_cpu_time_total / 1e6) for event in profiler.key_averages()]
    return Epoch(queries / (ends[1] - ends[0]), queries / wall_s, shares_of(own, wall_s), peak(contender.lesson.schedule.precision))


def peak(precision: str) -> float:
    """FLOP/s of a product of square matrices, the median of a few."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.randn(PEAK_SIZE, PEAK_SIZE, dtype=dtype) for _ in range(2))
    taken = []
    for _ in range(1 + PEAK_PRODUCTS):
        started = time.perf_counter()
        left @ right
        taken.append(time.perf_counter() - started)
    return float(2 * PEAK_SIZE**3 / statistics.median(taken[1:]))


def count_flop(lesson: Lesson) -> float:
    """Floating-point operations a query of the matrix products forward and backward, padding included."""
    with FlopCounterMode(display=False) as counter:
        for rows in lesson.buckets:
            inputs = lesson.examples.batch(rows)
            targets = inputs.pop("targets")
            outputs = lesson.model(**inputs)
            loss = lesson.loss(outputs.logits.float(), targets)
            torch.autograd.backward(loss if outputs.loss is None else loss + outputs.loss)
    lesson.model.zero_grad()
    return float(counter.get_total_flops()) / len(lesson.examples)


def main() -> None:
    """Watches, counts, tells."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_step", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=5, metavar="N", help="repetitions of each measurement (default: 5)")
    add_record(parser, STEP)
    args = parser.parse_args()
    params = prepare()
    taught = distilled(params)
    flop, padding_waste = count_flop(taught.lesson), taught.lesson.buckets.padding_waste()
    seen = [watch(taught) for _ in range(args.repetitions)]
    result = {
        "queries_per_second": [round(epoch.rate, 1) for epoch in seen],
        "profiled_queries_per_second": [round(epoch.profiled_rate, 1) for epoch in seen],
        "shares": {group: [round(epoch.shares[group], 4) for epoch in seen] for group in seen[0].shares},
        "mflop_per_query": round(flop / 1e6, 1),
        "padding_waste": round(padding_waste, 4),
        "model_gflops": [round(epoch.rate * flop / 1e9, 1) for epoch in seen],
        "peak_gflops": [round(epoch.peak / 1e9, 1) for epoch in seen],
        "share_of_peak": [round(epoch.rate * flop / epoch.peak, 4) for epoch in seen],
        "peak_size": PEAK_SIZE,
        "repetitions": args.repetitions,
        "machine": machine_class(params.threads, params.precision, params.device),
    }
    tell(result, step_table, args.record)


if __name__ == "__main__":
    exit_with_one_line(main)
