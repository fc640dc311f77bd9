"""How often `pipeline.drift` is alarmed."""

from __future__ import annotations

from pathlib import Path

from pipeline import artifacts
from pipeline.markdown import table
from pipeline.tables.cells import another_model

DRIFT = Path("metrics/reference/drift.json")


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
    return table(header, rows) + (
        f"\n`{run['command']}`: {draws}; no query is drawn twice; {run['train']:,} training and {run['test']:,} test queries; significance "
        f"{run['significance']:g}, least effect {run['least_effect']:g}.{another_model(run)}\n"
    )
