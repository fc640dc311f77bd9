"""The page of an audit: one HTML file that needs nothing beside itself and runs nothing of what a row says."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import NamedTuple

from pipeline import artifacts
from pipeline.auditing.defects import Defect, Defects, count_of

SHOWN = 100  # rows of a kind; audit.json has all
FOLDED = 10  # more rows than that are folded


class Kind(NamedTuple):
    """A kind of defect as the page tells it: a title, what it means and what to do."""

    title: str
    meaning: str


KINDS = {
    "label_error": Kind(
        "Suspected label errors",
        "Models that were not trained on the row give another intent about as much probability as they give that intent, on average, on "
        "rows labelled with it (confident learning). Read each: some labels are wrong, some queries belong to two intents, some are right "
        "and merely unusual. Nothing is changed automatically. The test split is not judged: no label there may be changed because a model "
        "disagrees.",
    ),
    "conflicting": Kind(
        "The same text under two intents",
        "No model can be right about both, so all these rows are dropped. Give them the same label, or delete those that are wrong.",
    ),
    "twin_other_intent": Kind(
        "Pairs of near-duplicates under two intents",
        "They share most of their words and not their intent. Either a small word makes the difference, or one of the two labels is wrong.",
    ),
    "also_in_test": Kind(
        "Training rows that are test rows too", "The model would be asked what it learnt by heart, so the training row is dropped."
    ),
    "twin_across": Kind(
        "Pairs of near-duplicates across splits",
        "One is trained on, the other scored, so accuracy on such rows is partly memorization. They are kept: weigh their share against "
        "the accuracy.",
    ),
    "duplicate": Kind("The same row again", "The same text with the same intent: the first is kept, the others dropped."),
    "twin_inside": Kind(
        "Pairs of near-duplicates inside a split",
        "Variants of one query count twice. Harmless in small numbers; they stay. In test they narrow what is tested.",
    ),
    "repeated_in_test": Kind(
        "Test rows that say the same", "An official test split stays as it is, but two such rows with two intents cannot both be answered."
    ),
    "personal_data": Kind(
        "Personal data",
        "Card numbers, IBANs, mail addresses and phone numbers, masked on this page. They are in data/raw and, unless "
        "prepare.mask_personal_data is true, in everything made of it. Names and addresses are not looked for.",
    ),
    "rare_intent": Kind(
        "Rare intents",
        "Fewer than ten rows, or fewer than a quarter of the median intent's: too few to learn and to score. Add rows or merge.",
    ),
    "unknown_words": Kind(
        "Held-out queries of words that training does not have", "At least half of their words: training may not cover what they ask."
    ),
    "unknown_characters": Kind(
        "Characters that the encoder does not know", "Symbols, emoji or scripts that all become the same unknown token."
    ),
    "cut": Kind("Queries that are cut", "Longer than featurize.max_tokens word pieces: the rest is not read."),
    "one_word": Kind("Queries of one word or none", "Little to tell an intent by; often fits several."),
    "empty": Kind("Rows without a text", "Dropped."),
}
PICTURES = {
    "balance": ("Balance", "Rows of each intent. A model is better at what it sees more often."),
    "lengths": ("Lengths", "Words as a person counts them, and word pieces as the encoder does."),
    "vocabulary": ("Vocabulary", "If the curve is still rising, more queries would bring new words, and so will the inbox."),
    "twins": (
        "Likeness",
        "How many words a query shares with the nearest training query. If the test curve lies as far right "
        "as that of train, the test split measures memorization.",
    ),
    "suspects": ("Labels", "What models that have not learnt from a row think of its label."),
}
PLACES = (
    "A place is file:line, the header being line 1. Rows of a source card (BANKING77) are numbered as in data/raw/dataset: sorted by "
    "intent and text."
)
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Audit of {source}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #1a202c; background: #fff }}
h1, h2, h3 {{ line-height: 1.25; overflow-wrap: anywhere }}
h2 {{ margin-top: 2.5rem }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
th, td {{ padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #e2e8f0; text-align: left; vertical-align: top; overflow-wrap: anywhere }}
td.number, th.number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; overflow-wrap: normal }}
@media (max-width: 40rem) {{ td:not(.number) {{ min-width: 6rem }} td.number {{ white-space: normal }} }}
.none {{ color: #4a5568 }}
table.rows {{ width: 100%; font-size: .9rem; table-layout: fixed }}
table.rows th:nth-child(-n+2) {{ width: 20% }}
table.rows th:nth-child(3) {{ width: 34% }}
a {{ color: #2b6cb0 }}
a:visited {{ color: #553c9a }}
summary {{ cursor: pointer; padding: .4rem 0 }}
img {{ max-width: 100%; height: auto }}
@media (max-width: 40rem) {{
  table.rows, table.rows tbody, table.rows tr, table.rows td {{ display: block; border: 0; padding: 0 }}
  table.rows thead {{ display: none }}
  table.rows tr {{ padding: .6rem 0; border-bottom: 1px solid #e2e8f0 }}
  table.rows td:first-child {{ font-weight: 600 }}
}}
</style>
<h1>Audit of {source}</h1>
<p>{summary}</p>
<h2>What was looked for</h2>
<table><thead><tr><th>defect<th class=number>rows, or pairs of rows</tr></thead>
{overview}</table>
<h2>Figures</h2>
<table><thead><tr><th><th class=number>train<th class=number>validation<th class=number>test</tr></thead>
{figures}</table>
{pictures}
<h2>Rows</h2>
<p>{places}</p>
{sections}
</html>
"""


def write_page(source: str, summary: str, figures: dict[str, dict[str, str]], defects: Defects, pictures: Path, path: Path) -> None:
    """Writes the page.

    Args:
        source: name of the data.
        summary: a sentence or two.
        figures: a row a figure, a column a split.
        defects: the rows, by kind.
        pictures: folder of the PNG files.
        path: the page.
    """
    page = PAGE.format(
        source=escape(source),
        summary=escape(summary),
        overview="".join(_overview(name, kind, count_of(defects[name])) for name, kind in KINDS.items()),
        figures="".join(_figure(name, row) for name, row in figures.items()),
        pictures="".join(_picture(name, pictures / f"{name}.png") for name in PICTURES),
        places=escape(PLACES),
        sections="".join(_section(name, kind, defects[name]) for name, kind in KINDS.items() if defects[name]),
    )
    path.write_text(page, encoding="utf-8")


def _overview(name: str, kind: Kind, count: int) -> str:
    """A line of the table of defects, with a link to the rows if there are any."""
    if not count:
        return f"<tr class=none><td>{kind.title}<td class=number>0</tr>\n"
    return f"<tr><td><a href='#{name}'>{kind.title}</a><td class=number>{count:,}</tr>\n"


def _figure(name: str, row: dict[str, str]) -> str:
    return f"<tr><td>{escape(name)}" + "".join(f"<td class=number>{row.get(split, '')}" for split in artifacts.SPLITS) + "</tr>\n"


def _picture(name: str, path: Path) -> str:
    title, meaning = PICTURES[name]
    source = base64.b64encode(path.read_bytes()).decode()
    return f'<h2>{title}</h2>\n<p>{meaning}</p>\n<img alt="{title}" src="data:image/png;base64,{source}">\n'


def _section(name: str, kind: Kind, rows: list[Defect]) -> str:
    """A heading, what it means, and the rows, folded where they are many."""
    body = "".join(
        f"<tr><td>{escape(row.place)}<td>{escape(row.intent)}<td>{escape(row.text)}<td>{escape(row.detail)}</tr>\n" for row in rows[:SHOWN]
    )
    pairs = count_of(rows)
    count = f"{len(rows):,} rows" + (f" with {pairs:,} pairs" if pairs > len(rows) else "")
    count += f", the first {SHOWN} of them here, all in audit.json" if len(rows) > SHOWN else ""
    return (
        f"<h3 id={name}>{kind.title}</h3>\n<p>{escape(kind.meaning)}</p>\n"
        f"<details{' open' if len(rows) <= FOLDED else ''}><summary>{count}</summary>\n"
        f"<table class=rows><thead><tr><th>row<th>intent<th>text<th>what</tr></thead>\n<tbody>\n{body}</tbody></table></details>\n"
    )
