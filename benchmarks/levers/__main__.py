"""What each piece of the recipe is worth, inside BANKING77's training rows: by three-fold cross-validation, or in a third of its time.

Run     python -m benchmarks.levers --data build/banking77 [--device cuda --workers 12] [RECIPE ...]
        python -m benchmarks.levers --data build/banking77 --thirds [RECIPE ...]         learn from one fold, be judged by two
        python -m benchmarks.levers --data build/banking77 --final RECIPE --seeds 5      the official test split, once a seed
        python -m benchmarks.levers --data build/banking77 --shots                       5 and 10 queries an intent, likewise
        python -m benchmarks.levers --data build/banking77 --suspects base_encoder       suspect labels left out, or given another

`--data` is a checkout in which `featurize` ran on BANKING77 with all training rows in train; `make banking77` leaves one. Each fold has
its own teachers, copies and seed, so a recipe is trained three times and judged on every training row once; the test split is not
touched. Finished tasks are kept under `--work`, in a folder for these params, rows and kind of machine: a killed run goes on, and
further recipes join those that are there. Writes metrics/reference/levers.json from all of them, prints tables, ends with one line of
JSON. A section of that file (folds, thirds, suspects, final, shots) has a study for each kind of machine. A study stays as it was when
nothing of it is done here, or when another kind of machine made it, so that nobody scores the test split again to see it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.levers import report
from benchmarks.levers.folds import names_of
from benchmarks.levers.recipes import RECIPES
from benchmarks.levers.tasks import Key, Task, Work, plan_final, plan_recipes, plan_shots, plan_suspects, run, this_commit, work_folder
from benchmarks.levers.teachers import ACTS
from pipeline import artifacts
from pipeline.errors import UserError, exit_with_one_line
from pipeline.params import PARAMS_FILE, read_params
from pipeline.recipe import TrainParams
from pipeline.runtime import resolve_precision
from pipeline.tables.levers import LEVERS, TABLES, section_tables
from pipeline.teach import TeachParams


def carry_out(tasks: list[Task], work: Work, workers: int) -> None:
    """Runs tasks side by side, each when what it needs is there, in order as far as that allows; keeps each result at once.

    Where one fails no further one begins, and those beside it are kept.
    """
    done = set(work.done())
    pending = [task for task in tasks if task.key not in done]
    running: dict[Future[dict[str, Any]], Key] = {}
    failed: Future[dict[str, Any]] | None = None
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        while pending or running:
            ready = [task for task in pending if done.issuperset(task.needs)]
            for task in ready[: workers - len(running)]:
                pending.remove(task)
                running[pool.submit(run, work, task.key)] = task.key
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                key = running.pop(future)
                if future.exception():
                    failed = future
                    pending.clear()
                    continue
                work.keep(key, future.result())
                done.add(key)
                print(f"{key}: {report.brief(future.result())}; {len(pending) + len(running)} to go", flush=True)
    if failed:
        failed.result()  # raises what stopped it


def read_arguments() -> argparse.Namespace:
    """The command line.

    Raises:
        UserError: a recipe, a folder or a device that is not there.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.levers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "recipes",
        nargs="*",
        metavar="RECIPE",
        help=f"recipes to train, in this order (default: all, unless --final, --shots or --suspects is given): {', '.join(RECIPES)}",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="a checkout in which `featurize` ran on BANKING77")
    parser.add_argument(
        "--work", type=Path, default=Path("build/levers"), metavar="FOLDER", help="folder that keeps finished tasks (default: build/levers)"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where the networks learn (default: cpu)")
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="parallel processes; keep 1 on a CPU, where they compete for cores (default: 1)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads of each (default: 1)")
    parser.add_argument("--thirds", action="store_true", help="recipes learn from a third of the rows and are judged by the others")
    parser.add_argument(
        "--final",
        choices=list(RECIPES),
        metavar="RECIPE",
        help="train this one on all training rows and score it on the official test split",
    )
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="how many students of --final (default: 5)")
    parser.add_argument("--shots", action="store_true", help="few-shot: the committed recipe on 5 and 10 queries an intent")
    parser.add_argument(
        "--suspects",
        choices=list(ACTS),
        metavar="LEARNER",
        help=f"measure dropping or relabelling suspect labels before this model ({', '.join(ACTS)}) learns",
    )
    parser.add_argument("--output", type=Path, default=LEVERS, metavar="FILE", help=f"JSON file to write (default: {LEVERS})")
    args = parser.parse_args()
    unknown = sorted(set(args.recipes) - set(RECIPES))
    if unknown:
        raise UserError(f"{unknown[0]}: no such recipe: choose among {', '.join(RECIPES)}")
    if not (args.data / "data" / "features").exists():
        raise UserError(f"{args.data}/data/features: no such folder: run `make banking77` first, or give --data")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device here: leave it out")
    return args


def set_out(args: argparse.Namespace) -> Work:
    """Where and how, as the command line and the params of the data say."""
    device = {"device": args.device, "precision": resolve_precision("auto", args.device), "threads": args.threads}
    params = args.data / PARAMS_FILE
    teach, train = read_params("teach", TeachParams, params), read_params("train", TrainParams, params)
    work = Work(args.data, args.work, teach.model_copy(update=device), train.model_copy(update=device), this_commit())
    return replace(work, folder=work_folder(args.work, work))


def plan(args: argparse.Namespace) -> list[Task]:
    """What the command line asks for and, before it, what that needs, each task once."""
    tasks = plan_shots() if args.shots else []
    tasks += plan_final(args.final, args.seeds) if args.final else []
    tasks += plan_suspects(args.suspects) if args.suspects else []
    recipes = args.recipes or ([] if tasks and not args.thirds else list(RECIPES))
    tasks += plan_recipes(recipes, names_of("thirds" if args.thirds else "folds")) if recipes else []
    tasks = [Task(key) for task in tasks for key in task.needs] + tasks
    return list({task.key: task for task in tasks}.values())


def main() -> None:
    """Plans, carries out, tells."""
    args = read_arguments()
    work = set_out(args)
    carry_out(plan(args), work, args.workers)
    told = report.join(artifacts.read_json(args.output) if args.output.exists() else {}, report.gather(work))
    artifacts.write_json(args.output, told)
    for section in TABLES:
        if section in told:
            print(section_tables(section, told[section]))
    print(json.dumps(told))


if __name__ == "__main__":
    exit_with_one_line(main)
