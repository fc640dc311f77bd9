"""The tables of results, stages and params, from the files that hold them.

Run     python -m pipeline.tables            prints the results of the last run
        python -m pipeline.tables --write    regenerates every block between <!-- generated: NAME --> and <!-- end --> in the documents
"""

from __future__ import annotations

import argparse
import csv
import importlib
import inspect
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from pipeline import artifacts
from pipeline.errors import UserError, exit_with_one_line
from pipeline.params import PARAMS_FILE
from pipeline.serving.settings import Settings

DOCUMENTS = (
    *(Path("README.md"), Path("docs/export.md"), Path("docs/params.md"), Path("docs/service.md"), Path("docs/drift.md")),
    *(Path("docs/stages.md"), Path("docs/why-distil.md"), Path("docs/figures.md")),
    Path("data/sample/README.md"),
)
METRICS = Path("metrics/evaluate.json")
REFERENCE = Path("metrics/reference/banking77.json")
AGREEMENT = Path("metrics/reference/sample.json")
DRIFT = Path("metrics/reference/drift.json")
SAMPLE = Path("data/sample/queries.csv")
EXPORT, ABSTENTION = Path("metrics/export.json"), Path("metrics/abstention.json")
OUT_OF_SCOPE = Path("data/sample/out_of_scope.csv")
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
MODELS = {
    "tinybert": "**TinyBERT, distilled** (student)",
    "teacher": "product of the three below (teacher)",
    "teacher_finetuned": "MiniLM-L6, fine-tuned",
    "base_encoder": "MiniLM-L6, frozen + logistic regression (base model)",
    "bag_of_words": "TF-IDF + logistic regression",
}


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def results() -> str:
    """Quality of every model of the last run, with 95 % intervals.

    Raises:
        UserError: there was no run.
    """
    if not METRICS.exists():
        raise UserError(f"{METRICS}: no such file: run `make repro` first")
    rows = [
        [MODELS[name], _interval(row, "accuracy"), _interval(row, "macro_f1"), f"{100 * row['ece']:.1f}", f"{row['parameters'] / 1e6:.1f}"]
        for name, row in artifacts.read_json(METRICS).items()
    ]
    return markdown(["model", "accuracy, %", "macro-F1, %", "ECE, %", "parameters, millions"], rows)


def reference() -> str:
    """The reference run on BANKING77, with what it ran on."""
    if not REFERENCE.exists():
        return "Not run yet: `make banking77`.\n"
    run = artifacts.read_json(REFERENCE)
    rows = [
        [
            MODELS[name],
            *(_mean(row[metric]) for metric in ("accuracy", "macro_f1")),
            *(_mean(run[part]["accuracy"][name]) if part in run else "" for part in ("without_twins", "sample")),
            f"{row['parameters'] / 1e6:.1f}",
        ]
        for name, row in run["models"].items()
    ]
    header = ["model", "accuracy, %", "macro-F1, %", "accuracy without twins, %", "accuracy on our sample, %", "parameters, millions"]
    versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    elsewhere = (
        f" Without twins: on the {run['without_twins']['queries']:,} test queries that have no near twin of the same label in train (token "
        f"Jaccard similarity of 0.8 or more). Our sample: its {run['sample']['queries']:,} queries, none of which any model has seen."
        if "sample" in run
        else ""
    )
    return markdown(header, rows) + (
        f"\n`{run['command']}`, n = {len(run['seeds'])} students (mean ± standard deviation; seeds "
        f"{', '.join(map(str, run['seeds']))}), official test split, "
        f"scored {run['test_scorings']} times so far; {sum(run['wall_seconds'].values()) / 60:.0f} minutes and "
        f"{run['peak_rss_mib'] / 1024:.1f} GiB on {run['threads']} threads of {run['cpu']}; {versions}.{elsewhere}\n"
    )


def _mean(over_seeds: dict[str, Any]) -> str:
    """Mean of fractions, in percent, with the standard deviation where there is more than one."""
    spread = f" ± {100 * over_seeds['std']:.2f}" if len(over_seeds["per_seed"]) > 1 else ""
    return f"{100 * over_seeds['mean']:.2f}{spread}"


def stages() -> str:
    """What each stage does, reads and writes, from dvc.yaml."""
    rows = []
    for name, stage in _load("dvc.yaml")["stages"].items():
        reads = [f"`{path}`" for path in stage["deps"] if not path.startswith("pipeline/")]
        outputs = [output for key in ("outs", "metrics", "plots") for output in stage.get(key, [])]
        paths = [output if isinstance(output, str) else next(iter(output)) for output in outputs]
        writes = dict.fromkeys(f"`{Path(path).parent if path.startswith('plots/') else path}`" for path in paths)
        rows.append([f"`{name}`", stage["desc"], ", ".join(reads), ", ".join(writes)])
    return markdown(["stage", "what it does", "reads", "writes"], rows)


def stage_details() -> str:
    """What each stage says of itself: the docstring of its module."""
    text = ""
    for name in _load("dvc.yaml")["stages"]:
        first, files, *rest = inspect.cleandoc(importlib.import_module(f"pipeline.{name}").__doc__ or "").replace("``", "`").split("\n\n")
        text += "\n".join([f"\n### {name}\n", first, "", "```", files, "```", *(f"\n{paragraph}" for paragraph in rest), ""])
    return text + "\n"


def params() -> str:
    """Every knob: type and range, default, meaning, from the typed params and params.yaml."""
    text = ""
    for name, values in _load(str(PARAMS_FILE)).items():
        section = getattr(importlib.import_module(f"pipeline.{name}"), f"{name.capitalize()}Params")
        rows = [[f"`{key}`", kind, f"`{_value(values, key)}`", meaning] for key, kind, meaning in _fields(section)]
        text += f"\n## {name}\n\n" + markdown(["knob", "type and range", "default", "meaning"], rows)
    return text + "\n"


def settings() -> str:
    """Every setting of the service: type and range, default, meaning."""
    rows = [
        [
            f"`{name}`",
            kind.replace("pydantic.types.SecretStr", "str"),
            f"`{field.default}`" if isinstance(field.default, int | float | str) else "",
            meaning,
        ]
        for (name, kind, meaning), field in zip(_fields(Settings), Settings.model_fields.values(), strict=True)
    ]
    return markdown(["setting", "type and range", "default", "meaning"], rows)


def sample() -> str:
    """Statistics of our own queries, and how far a classifier trained on BANKING77 agrees with their labels."""
    with SAMPLE.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    words = [len(row["text"].split()) for row in rows]
    per_intent = Counter(row["intent"] for row in rows).values()
    table = [
        ["queries", str(len(rows))],
        ["intents", str(len(per_intent))],
        ["queries per intent, fewest to most", f"{min(per_intent)} to {max(per_intent)}"],
        ["words, fewest / median / most", f"{min(words)} / {statistics.median(words):g} / {max(words)}"],
        ["up to 7 words", f"{100 * sum(count <= 7 for count in words) / len(words):.0f} %"],
        ["36 words or more", f"{100 * sum(count >= 36 for count in words) / len(words):.0f} %"],
        ["without a question mark", f"{100 * sum('?' not in row['text'] for row in rows) / len(rows):.0f} %"],
    ]
    if AGREEMENT.exists():
        run = artifacts.read_json(AGREEMENT)
        table.append(
            [
                f"labels a classifier trained on BANKING77 agrees with (`{run['command']}`)",
                f"{100 * run['agreement']:.1f} % of {run['queries']}",
            ]
        )
        table.append(["largest token Jaccard with a BANKING77 row", f"{run['largest_similarity']:.2f}"])
    return markdown(["of `queries.csv`", ""], table)


def out_of_scope() -> str:
    """Messages that belong to none of the intents: how many of each kind, and how long."""
    words: dict[str, list[int]] = {}
    with OUT_OF_SCOPE.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            words.setdefault(row["kind"], []).append(len(row["text"].split()))
    words["all"] = [count for counts in words.values() for count in counts]
    rows = [
        [kind if kind == "all" else f"`{kind}`", str(len(counts)), f"{min(counts)} / {statistics.median(counts):g} / {max(counts)}"]
        for kind, counts in words.items()
    ]
    return markdown(["kind", "messages", "words between spaces, fewest / median / most"], rows)


def export() -> str:
    """What both exported graphs weigh and lose."""
    if not EXPORT.exists():
        return "Not run yet: `make repro`.\n"
    run = artifacts.read_json(EXPORT)
    rows = [
        [
            f"**{name}**, served" if name == run["served"] else name,
            f"{run[name]['bytes'] / 1e6:.1f}",
            *(f"{100 * run[name][key]:.2f}" for key in ("accuracy", "agreement")),
            *(f"{run[name][key]:g}" for key in ("max_logit_difference", "max_batch_effect")),
        ]
        for name in ("fp32", "int8")
    ]
    header = ["graph", "MB", "accuracy, %", "agreement with the checkpoint, %", "largest logit difference", "largest batch effect"]
    return (
        markdown(header, rows) + f"\nOn the {run['queries']} test queries, where the checkpoint's accuracy is "
        f"{100 * run['checkpoint']['accuracy']:.2f} %.\n"
    )


def abstention() -> str:
    """What the thresholds do to test queries and to texts of no intent, with 95 % intervals."""
    if not ABSTENTION.exists():
        return "Not run yet: `make repro`.\n"
    run = artifacts.read_json(ABSTENTION)
    test, outside = run["test"], run["out_of_scope"]
    labels = f"{test['mean_labels']:.2f} [{test['mean_labels_low']:.2f}, {test['mean_labels_high']:.2f}]"
    rows = [
        ["threshold of the confidence", f"{run['threshold']:.3f}"],
        ["test queries accepted, %", _interval(test, "accepted")],
        [f"accuracy among them, % (target {100 * run['target_accuracy']:g})", _interval(test, "accepted_accuracy")],
        ["probability from which on a label is in the set", f"{run['conformal']['threshold']:.3f}"],
        [f"sets with the true intent, % (target {100 * run['conformal']['coverage']:g})", _interval(test, "coverage")],
        ["intents a set, mean", labels],
        ["AUROC against texts of no intent", f"{outside['auroc']:.3f}"],
        [f"of {outside['texts']} such texts let through, %", f"{100 * outside['let_through']:.1f}"],
        *([f"of {row['texts']} `{kind}`", f"{100 * row['let_through']:.1f}"] for kind, row in outside["by_kind"].items()),
    ]
    return markdown(["", "on test"], rows)


def drift(path: Path = DRIFT) -> str:
    """How often the comparison of queries is alarmed, with and without a cause, by the number of new queries."""
    if not path.exists():
        return "Not run yet: `python -m benchmarks.drift_power`.\n"
    run = artifacts.read_json(path)
    sizes = list(run["rows"][0]["alarms"])
    rows = []
    for row in run["rows"]:
        cause = row["cause"] or ("none, but confidence compared with that of training rows" if row["learnt"] else "none")
        replaced = f"{100 * row['share']:.0f}" if row["cause"] else ""
        checks = ", ".join(f"{name} {100 * rate:.0f}" for name, rate in row["checks"].items() if rate >= 0.05)
        rows.append([cause, replaced, *(f"{100 * row['alarms'][size]:.1f}" for size in sizes), checks])
    header = [
        "cause",
        "queries replaced, %",
        *(f"alarms, %, of {size} queries" for size in sizes),
        f"of which check, % ({sizes[-1]} queries)",
    ]
    draws = f"{run['rows'][1]['draws']} draws a cell, {run['rows'][0]['draws']} in the first row"
    return markdown(header, rows) + (
        f"\n`{run['command']}`: {draws}; {run['train']:,} training and {run['test']:,} test queries; significance "
        f"{run['significance']:g}, least effect {run['least_effect']:g}.\n"
    )


def render(document: str) -> str:
    """A document with its generated blocks made anew."""
    makers = {
        "results": results,
        "reference": reference,
        "stages": stages,
        "stage_details": stage_details,
        "params": params,
        "settings": settings,
        "sample": sample,
        "drift": drift,
        "out_of_scope": out_of_scope,
        "export": export,
        "abstention": abstention,
    }
    return BLOCK.sub(lambda block: block[1] + makers[block[2]]() + block[3], document)


def _interval(row: dict[str, float], metric: str) -> str:
    return f"{100 * row[metric]:.1f} [{100 * row[f'{metric}_low']:.1f}, {100 * row[f'{metric}_high']:.1f}]"


def _load(file: str) -> Any:
    return yaml.safe_load(Path(file).read_text(encoding="utf-8"))


def _value(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return "null" if values is None else values


def _fields(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(field.annotation, f"{prefix}{name}.")
            continue
        kind = (
            field.annotation.__name__
            if isinstance(field.annotation, type)
            else str(field.annotation).replace("typing.", "").replace("|", "or")
        )
        signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
        bounds = [f"{sign} {getattr(bound, key)}" for bound in field.metadata for key, sign in signs.items() if hasattr(bound, key)]
        yield prefix + name, ", ".join([kind, *bounds]), field.description or ""


def main() -> None:
    """Prints the results, or rewrites the documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="regenerate the documents")
    if not parser.parse_args().write:
        print(results(), end="")
        return
    for path in DOCUMENTS:
        path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    exit_with_one_line(main)
