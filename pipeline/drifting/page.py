"""The report of a comparison of queries: a picture, and a page that needs nothing beside itself."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.charts import BLUE, ORANGE, save, short
from pipeline.drifting.profiles import Profile

TITLES = {
    "words": "words of a query",
    "unknown": "share of words unknown to training",
    "confidence": "confidence",
    "intents": "predicted intents",
}
LABELS_SHOWN, LONGEST_LABEL = 12, 32
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Drift: {verdict}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a202c }}
table {{ border-collapse: collapse; margin: 1rem 0 }} th, td {{ padding: .3rem .8rem; border-bottom: 1px solid #e2e8f0; text-align: left }}
td.number {{ text-align: right; font-variant-numeric: tabular-nums }} .drift {{ color: #9c4221; font-weight: 600 }}
img {{ max-width: 100% }}
</style>
<h1>{verdict}</h1>
<p>{summary}</p>
<table><tr><th>check<th>share moved, about<th>p, corrected<th>verdict</tr>
{checks}</table>
<p>{rule}</p>
<img alt="distributions of the reference and of the new queries" src="data:image/png;base64,{picture}">
<h2>Intents that changed most</h2>
<table><tr><th>predicted intent<th>reference, %<th>new, %</tr>
{intents}</table>
</html>
"""


def draw(reference: Profile, new: Profile, report: dict[str, Any], path: Path) -> None:
    """Four panels: three cumulative distributions, and the intents whose share changed most."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    (first, second), (third, fourth) = figure.subplots(2, 2)
    for axis, name in ((first, "words"), (second, "unknown"), (third, "confidence")):
        _draw_distribution(axis, getattr(reference, name), getattr(new, name))
        axis.set(xlabel=TITLES[name], ylabel="share of queries up to there", ylim=(0, 1.02), title=_told(report, name))
        axis.legend(frameon=False, loc="best", fontsize=8)
    shown = report["intents"][:LABELS_SHOWN][::-1]
    places = np.arange(len(shown))
    for offset, key, color in ((0.2, "reference", BLUE), (-0.2, "new", ORANGE)):
        fourth.barh(places + offset, [100 * row[key] for row in shown], height=0.4, color=color)
    fourth.set_yticks(places, [short(row["intent"], LONGEST_LABEL) for row in shown], fontsize=8)
    fourth.set(xlabel="predicted intents, % of queries", title=_told(report, "intents"))
    save(figure, path)


def _draw_distribution(axis: Axes, reference: np.ndarray, new: np.ndarray) -> None:
    for values, color, label in ((reference, BLUE, "reference"), (new, ORANGE, "new queries")):
        axis.ecdf(values, color=color, label=f"{label}, n = {len(values):,}")


def _told(report: dict[str, Any], name: str) -> str:
    check = next(check for check in report["checks"] if check["name"] == name)
    return f"about {100 * check['effect']:.0f} % moved: {'drift' if check['drift'] else 'no drift'}"


def write_page(report: dict[str, Any], picture: Path, path: Path) -> None:
    """The report as one HTML file; labels come from the model's folder and are escaped like anything else that we did not write."""
    checks = "".join(
        f"<tr><td>{TITLES[check['name']]}<td class=number>{100 * check['effect']:.1f} %<td class=number>{check['adjusted_p']:.2g}"
        f"<td{' class=drift' if check['drift'] else ''}>{'drift' if check['drift'] else 'no drift'}</tr>\n"
        for check in report["checks"]
    )
    intents = "".join(
        f"<tr><td>{escape(row['intent'])}<td class=number>{100 * row['reference']:.1f}<td class=number>{100 * row['new']:.1f}</tr>\n"
        for row in report["intents"][:LABELS_SHOWN]
    )
    page = PAGE.format(
        verdict="Drift" if report["drift"] else "No drift seen",
        summary=escape(summarize(report)),
        rule=escape(
            f"Drift: p, corrected for {len(report['checks'])} checks, is at most {report['significance']:g}, and the share of queries that "
            f"moved is {100 * report['least_effect']:g} % or more. The share is an estimate; with few queries, chance makes it larger."
        ),
        checks=checks,
        intents=intents,
        picture=base64.b64encode(picture.read_bytes()).decode(),
    )
    path.write_text(page, encoding="utf-8")


def summarize(report: dict[str, Any]) -> str:
    """What was compared, in a sentence or two."""
    person = report["needs_person"]
    left = f" {report['without_text']:,} rows without a usable text were left out." if report["without_text"] else ""
    sampled = f" (drawn from {report['rows']:,})" if report["queries"] < report["rows"] - report["without_text"] else ""
    return (
        f"{report['queries']:,} new queries{sampled} from {report['source']}, against {report['reference']['train']:,} training and "
        f"{report['reference']['held_out']:,} held-out ones. A person is needed for {100 * person['new']:.1f} % of the new and for "
        f"{100 * person['reference']:.1f} % of the held-out queries.{left}"
    )
