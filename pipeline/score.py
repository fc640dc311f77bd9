"""Answers the queries of an archive in bulk, on one machine or on many.

Run     python -m pipeline.score in.parquet out.parquet [--model models/onnx] [--text-column text] [--top-k 5] [--workers 2]
        python -m pipeline.score inbox/ answers/                            a folder: every CSV, JSONL and Parquet file in it
        python -m pipeline.score 'inbox/2026-*.csv' answers/ --format parquet

A file is scored in parts, each written whole; when all are there they are joined to the output. A run that was killed goes on with the
parts that are missing. A row that cannot be scored stays, with the reason in column `problem`. See docs/batch.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow.parquet as pq
from tqdm import tqdm

from pipeline import artifacts
from pipeline.bulk.jobs import PART, Job, close, find_jobs, find_left_out, identify, is_done, opened
from pipeline.bulk.records import ENDINGS, FORMATS, PART_ROWS, count_problems, read_parts
from pipeline.bulk.scoring import ANSWERS, Model, check_names, is_scored, score_part
from pipeline.bulk.table_files import write_tables
from pipeline.errors import UserError, exit_with_one_line
from pipeline.serving.classifier import Classifier

IN_FLIGHT = 2  # parts a worker has before it or in work: what memory holds, whatever the file's size
DONE = "{}: already scored, skipped"
TOLD = 5  # names of the files that are skipped


def start_worker() -> None:
    """Leaves Ctrl-C to the parent, and ends with the parent even when that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    Thread(target=end_with_parent, daemon=True).start()


def score_parts(job: Job, args: argparse.Namespace, pool: ProcessPoolExecutor, bar: Any) -> tuple[int, Counter[str]]:
    """Scores the parts of a file that are missing.

    Returns:
        Number of parts, and rows by problem (answered ones under "").
    """
    running: set[Future[None]] = set()
    counts: Counter[str] = Counter()
    share, size, number = 0.0, job.source.stat().st_size, -1
    for number, part in enumerate(read_parts(job.source, args.text_column, args.part_rows)):
        check_names(job.source, part)
        counts += count_problems(part)
        target = job.parts / PART.format(number)
        if not is_scored(target):
            running.add(pool.submit(score_part, args.model, args.top_k, part, target))
        running = settle(running, IN_FLIGHT * args.workers - 1)
        bar.set_postfix(rows=counts.total(), refresh=False)
        bar.update(round(part.share * size) - round(share * size))
        share = part.share
    settle(running, 0)
    return number + 1, counts


def settle(running: set[Future[None]], most: int) -> set[Future[None]]:
    """Waits until no more than ``most`` parts are running; an error of a worker is raised here."""
    while len(running) > most:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
    return running


def finish(job: Job, identity: dict[str, Any], parts: int, counts: Counter[str], args: argparse.Namespace) -> str:
    """Joins the parts to the output, writes the receipt, and says what came of the file in one line."""
    if identify_with(job, args) != identity:
        raise UserError(f"{job.source}: changed while it was read: run again when it is complete")
    with artifacts.whole_file(job.target) as partial:
        try:
            write_tables((pq.read_table(job.parts / PART.format(i)) for i in range(parts)), partial, job.target.suffix.lower())
        except UserError as error:
            raise UserError(f"{job.source}: {error}") from None
    problems = {problem: rows for problem, rows in sorted(counts.items()) if problem}
    close(job, {"made_from": identity, "rows": counts.total(), "answered": counts[""], "problems": problems})
    told = "".join(f"; {rows:,} without answer: {problem}" for problem, rows in problems.items())
    return f"{job.target}: {counts.total():,} rows{told}"


def identify_with(job: Job, args: argparse.Namespace) -> dict[str, Any]:
    """What the answers of a job depend on."""
    settings = {"text_column": args.text_column, "top_k": args.top_k, "part_rows": args.part_rows}
    return identify(job, model=args.model.sha256, graph=args.model.graph, columns=ANSWERS.names, **settings)


def score_here(jobs: list[Job], args: argparse.Namespace, bar: Any) -> None:
    """File after file, its parts in processes of this machine."""
    with ProcessPoolExecutor(args.workers, multiprocessing.get_context("spawn"), start_worker) as pool:
        try:
            for job in jobs:
                identity = identify_with(job, args)
                with opened(job, identity) as folder:
                    tqdm.write(finish(job, identity, *score_parts(job, args, pool, bar), args) if folder else DONE.format(job.target))
        except BrokenProcessPool:
            raise UserError(
                "a worker was killed (out of memory?): run the same command again to resume, with fewer --workers if memory is short"
            ) from None
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise UserError("stopped: run the same command again to resume") from None


def score_on_ray(jobs: list[Job], args: argparse.Namespace, bar: Any) -> None:
    """All files at once, their parts on the machines of a Ray cluster (RAY_ADDRESS), or on this one."""
    try:
        from pipeline.bulk.ray_scoring import score_all  # noqa: PLC0415  an extra that imports slowly
    except ModuleNotFoundError as error:
        raise UserError(f"--ray: {error}: `pip install ray==2.60.0`") from None
    with ExitStack() as stack:
        open_jobs: list[tuple[Job, dict[str, Any]]] = []
        for job in jobs:
            identity = identify_with(job, args)
            # an error that a task of Ray raises comes back as pages: what the first part can tell is told here, in a line
            check_names(job.source, next(read_parts(job.source, args.text_column, args.part_rows)))
            if stack.enter_context(opened(job, identity)):
                open_jobs.append((job, identity))
            else:
                tqdm.write(DONE.format(job.target))
        parts, counts = [0] * len(open_jobs), [Counter[str]() for _ in open_jobs]
        for done in score_all([job for job, _ in open_jobs], args.model, args.text_column, args.top_k, args.part_rows, args.workers):
            parts[done.job] += 1
            counts[done.job].update(done.counts)
            bar.update(round(done.share * open_jobs[done.job][0].source.stat().st_size))
        for number, (job, identity) in enumerate(open_jobs):
            tqdm.write(finish(job, identity, parts[number], counts[number], args))


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", help="a file, a folder, or a glob pattern in quotes")
    parser.add_argument("output", type=Path, help="output file if the input is one file, else a folder")
    parser.add_argument("--model", type=Path, default=Path("models/onnx"), help="folder written by stage `export` (default: %(default)s)")
    parser.add_argument("--text-column", default="text", help="column (of JSONL: key) that holds the texts (default: %(default)s)")
    parser.add_argument(
        "--top-k", type=int, default=5, help="number of most likely labels in column `top`, with probabilities (default: %(default)s)"
    )
    parser.add_argument("--format", choices=[suffix[1:] for suffix in FORMATS], help="output format (default: that of each input)")
    parser.add_argument("--workers", type=int, default=1, help="worker processes, one core each (default: %(default)s)")
    parser.add_argument("--ray", action="store_true", help="on Ray Data: the cluster of RAY_ADDRESS, else this machine")
    parser.add_argument(
        "--part-rows", type=int, default=PART_ROWS, help="rows per part; a killed worker loses at most one part (default: %(default)s)"
    )
    args = parser.parse_args()
    for option in ("top_k", "workers", "part_rows"):
        if getattr(args, option) < 1:
            parser.error(f"--{option.replace('_', '-')} {getattr(args, option)}: must be 1 or more")
    return args


def main() -> None:
    """Scores every file that is not done."""
    args = read_arguments()
    jobs = find_jobs(args.input, args.output, f".{args.format}" if args.format else None)
    if left_out := find_left_out(args.input):
        told = ", ".join(left_out[:TOLD]) + " .." * (len(left_out) > TOLD)
        print(f"{args.input}: skipped {len(left_out)} that are not {ENDINGS} files: {told}")
    classifier = Classifier.load(args.model)  # a folder that is not in order is told here, not by every worker
    args.model = Model(args.model, classifier.sha256, classifier.graph)
    done = [job for job in jobs if is_done(job, identify_with(job, args))]
    for job in done:
        print(DONE.format(job.target))
    rest = [job for job in jobs if job not in done]
    with tqdm(total=sum(job.source.stat().st_size for job in rest), unit="B", unit_scale=True, disable=None) as bar:
        (score_on_ray if args.ray else score_here)(rest, args, bar)


if __name__ == "__main__":
    exit_with_one_line(main)
