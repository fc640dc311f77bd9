from __future__ import annotations

import functools
import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from clones import sh
from playwright.sync_api import Page, sync_playwright

from pipeline.errors import UserError
from pipeline.site import check, copy, pages

CONFIG = yaml.safe_load(Path("mkdocs.yml").read_text(encoding="utf-8"))
PAGE = "# A page\n\n## A heading\n\n"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found (chromium, chromium-browser or google-chrome on PATH)")


def build(root: Path, code: int = 0) -> str:
    return sh(root, sys.executable, "-m", "pipeline.site", code=code, variables={"PYTHONPATH": str(Path.cwd())})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the documents as they are."""
    root = tmp_path_factory.mktemp("site")
    copy([Path("mkdocs.yml"), *pages(CONFIG), *map(Path, CONFIG["extra_css"])], root)
    build(root)
    return root / CONFIG["site_dir"]


def test_every_document_becomes_a_page_without_a_broken_link(site: Path) -> None:
    built = {str(path.relative_to(site)) for path in site.rglob("*.html")}
    assert {str(document.with_suffix(".html")).replace("README", "index") for document in pages(CONFIG)} <= built
    assert check(site) == len(built)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two documents that link to each other, and a folder beside them."""
    for folder in ("docs", "data"):
        (tmp_path / folder).mkdir()
    (tmp_path / "README.md").write_text(PAGE + "[other](docs/other.md#a-heading) [file](data/some.csv) [web](https://example.org)\n")
    (tmp_path / "docs/other.md").write_text(PAGE + "[back](../README.md) `[no](link.md)`\n\n```\n[nor](this.md)\n```\n")
    (tmp_path / "data/some.csv").write_text("text\n")
    settings = {key: CONFIG[key] for key in ("site_name", "docs_dir", "site_dir", "use_directory_urls", "plugins")}
    settings |= {"nav": [{"Start": "README.md"}, {"More": [{"Other": "docs/other.md"}]}], "extra_css": [], "theme": {"font": False}}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings))
    return tmp_path


def test_documents_keep_their_places_and_bring_the_files_that_they_link_to(small: Path) -> None:
    assert "build/site: 3 pages, no link is broken" in build(small)
    assert (small / "build/site/docs/other.html").exists()
    assert (small / "build/site/data/some.csv").read_text() == "text\n"


@pytest.mark.parametrize(
    ("link", "told"),
    [
        ("[gone](gone.md)", "docs/other.md: gone.md: no such file in the repository: fix the link"),
        ("![gone](gone.png)", "docs/other.md: gone.png: no such file"),
        ("[folder](../data)", "docs/other.md: ../data: no such file"),
        ("[away](../../away.md)", "docs/other.md: ../../away.md: no such file in the repository"),
        ("[anchor](../README.md#no-heading)", "anchor does not exist"),
        ("[anchor](#no-heading)", "anchor does not exist"),
        ('<a href="gone.html">gone</a>', "build/site/docs/other.html: gone.html: leads to no file of the site"),
        ('<img src="https://example.org/a.png">', "https://example.org/a.png: a page must not fetch anything from elsewhere"),
    ],
)
def test_a_link_that_leads_nowhere_is_one_line(small: Path, link: str, told: str) -> None:
    with (small / "docs/other.md").open("a") as handle:
        handle.write(f"\n{link}\n")
    [line] = build(small, code=1).splitlines()
    assert line.startswith("error: ")
    assert told in line


def test_a_document_without_a_place_in_the_navigation_or_a_place_without_a_document_is_one_line(small: Path) -> None:
    (small / "docs/new.md").write_text(PAGE)
    assert build(small, code=1) == "error: mkdocs.yml: nav: docs/new.md is in no place: add a line for it\n"
    (small / "docs/other.md").unlink()
    assert "error: mkdocs.yml: nav: docs/other.md: no such file" in build(small, code=1)


def test_outside_a_checkout_it_is_one_line(tmp_path: Path) -> None:
    assert build(tmp_path, code=1) == "error: mkdocs.yml: no such file: run in the root of the repository\n"


@pytest.mark.parametrize(
    "loaded", ['<script src="//cdn.example.org/a.js"></script>', '<link rel="stylesheet" href="https://example.org/a.css">']
)
def test_a_page_that_fetches_from_elsewhere_is_refused(tmp_path: Path, loaded: str) -> None:
    (tmp_path / "index.html").write_text(loaded)
    with pytest.raises(UserError, match=r"index\.html: .*: a page must not fetch anything from elsewhere: keep a copy in docs/$"):
        check(tmp_path)


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site, served as `python -m http.server` does."""
    handler = functools.partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def opened(address: str) -> Iterator[Page]:
    """A browser's page that must have asked nobody but the site."""
    elsewhere: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda asked: elsewhere.append(asked.url) if not asked.url.startswith((address, "data:", "blob:")) else None)
        yield page
        browser.close()
    assert elsewhere == []


@pytest.mark.slow
@needs_chromium
def test_in_a_browser_nothing_comes_from_elsewhere_and_nothing_stands_out_at_the_side(site: Path, address: str) -> None:
    with opened(address) as page:
        for path in sorted(site.rglob("*.html")):
            page.goto(f"{address}/{path.relative_to(site)}")
            for width in (390, 1280):
                page.set_viewport_size({"width": width, "height": 844})
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)


@needs_chromium
def test_search_works_without_a_network(address: str) -> None:
    with opened(address) as page:
        page.goto(f"{address}/index.html")
        page.get_by_role("button", name="Search").first.click()
        page.get_by_role("combobox", name="Search").fill("conformal")
        page.get_by_role("listbox").get_by_text("What the figures mean").first.wait_for()
