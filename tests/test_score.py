from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from services import wait_until
from small_models import texts
from tqdm import tqdm

from pipeline import score
from pipeline.bulk.jobs import Job
from pipeline.bulk.scoring import ANSWERS, Model, load
from pipeline.bulk.table_files import write_tables
from pipeline.csv_files import read_table
from pipeline.errors import UserError
from pipeline.serving.classifier import Classifier

ROWS = 3000


def command(source: Path, target: Path, model: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.score", str(source), str(target), "--model", str(model), *options]


def run(source: Path, target: Path, model: Path, *options: str, code: int = 0) -> str:
    done = subprocess.run(command(source, target, model, *options), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "in.parquet"
    write_tables([pa.table({"id": range(ROWS), "text": texts(ROWS)})], path, ".parquet")
    return path


@pytest.fixture(scope="module")
def undisturbed(archive: Path, onnx_folder: Path) -> str:
    """sha256 of the output of a run that nobody kills, in parts of 100 rows."""
    target = archive.parent / "undisturbed.parquet"
    run(archive, target, onnx_folder, "--part-rows", "100")
    return sha256(target)


def run_here(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """In this process, where a test can have a hand in it."""
    monkeypatch.setattr(sys, "argv", ["score", *map(str, arguments)])
    score.main()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_row_has_the_answer_that_the_classifier_gives(archive: Path, onnx_folder: Path, tmp_path: Path) -> None:
    assert f"{ROWS:,} rows" in run(archive, tmp_path / "out.parquet", onnx_folder, "--top-k", "2", "--workers", "2")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["id"].to_pylist() == list(range(ROWS))
    classifier = Classifier.load(onnx_folder)
    for row in table.slice(0, 200).to_pylist():
        answer = classifier.answer([row["text"]], top_k=2)[0]
        assert row["confidence"] == pytest.approx(answer.confidence, abs=1e-4)
        assert row["label_set"] == list(answer.label_set)
        assert [top["label"] for top in row["top"]] == [label for label, _ in answer.top]
        assert row["top"][0] == {"label": row["label"], "confidence": row["confidence"]}
        assert (row["label"], row["accepted"], row["truncated"]) == (answer.label, answer.accepted, answer.truncated)
        assert row["problem"] is None


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_number_of_workers_changes_no_byte(workers: str, archive: Path, onnx_folder: Path, undisturbed: str, tmp_path: Path) -> None:
    run(archive, tmp_path / "out.parquet", onnx_folder, "--part-rows", "100", "--workers", workers)
    assert sha256(tmp_path / "out.parquet") == undisturbed


def test_a_folder_becomes_a_folder_and_bad_rows_stay_and_are_counted(onnx_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in/late").mkdir(parents=True)
    (tmp_path / "in/a.csv").write_bytes(b"text,id\nwhere is my card,1\n,2\ncaf\xe9,3\n")
    (tmp_path / "in/late/b.jsonl").write_text('{"text": "lost my pin", "id": {"n": 4}}\nnonsense\n')
    (tmp_path / "in/late/b.csv.gz").write_bytes(b"")
    told = run(tmp_path / "in", tmp_path / "out", onnx_folder)
    assert f"{tmp_path / 'in'}: skipped 1 that are not .csv, .jsonl or .parquet files: late/b.csv.gz\n" in told
    assert "3 rows; 1 without answer: no text; 1 without answer: text is not UTF-8" in told
    assert "2 rows; 1 without answer: not a JSON object" in told

    rows = read_table(tmp_path / "out/a.csv")
    assert [(row["id"], row["problem"], bool(row["label"])) for row in rows] == [
        ("1", "", True),
        ("2", "no text", False),
        ("3", "text is not UTF-8", False),
    ]
    assert len(json.loads(rows[0]["top"])) == 4
    assert json.loads(rows[0]["label_set"])[0] == rows[0]["label"]
    assert rows[1]["label_set"] == ""
    first, second = (json.loads(line) for line in (tmp_path / "out/late/b.jsonl").read_text().splitlines())
    assert first["id"] == {"n": 4}
    assert first["label"] in Classifier.load(onnx_folder).labels
    assert (second["unparsed"], second["label"], second["problem"]) == ("nonsense", None, "not a JSON object")
    receipt = json.loads((tmp_path / "out/_a.csv.receipt.json").read_text())
    assert (receipt["rows"], receipt["answered"], receipt["problems"]) == (3, 1, {"no text": 1, "text is not UTF-8": 1})


def test_what_is_done_is_not_done_again_and_what_changed_is(onnx_folder: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "a.csv", tmp_path / "out.csv"
    source.write_text("text\nmy card\n")
    run(source, target, onnx_folder)
    before = target.stat().st_mtime_ns
    assert "already scored, skipped" in run(source, target, onnx_folder)
    assert target.stat().st_mtime_ns == before
    source.write_text("text\nmy card\nmy pin\n")
    assert "2 rows" in run(source, target, onnx_folder)


def test_a_receipt_names_the_model_that_gave_the_answers_when_that_is_replaced_between_two_files(
    onnx_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, source, target = tmp_path / "model", tmp_path / "in", tmp_path / "out"
    shutil.copytree(onnx_folder, model)
    source.mkdir()
    for name in ("a.csv", "b.csv"):
        write_tables([pa.table({"text": texts(50)})], source / name, ".csv")

    def finish_and_replace(*arguments: Any) -> str:
        """Joins a file, after which another model lies in the folder."""
        told = finish(*arguments)
        manifest = json.loads((model / "manifest.json").read_text())
        (model / "manifest.json").write_text(json.dumps(manifest | {"threshold": 0.0}))
        return told

    def accepted() -> list[int]:
        return [sum(row["accepted"] == "true" for row in read_table(target / name)) for name in ("a.csv", "b.csv")]

    def named() -> set[str]:
        return {json.loads((target / f"_{name}.receipt.json").read_text())["made_from"]["model"] for name in ("a.csv", "b.csv")}

    first, finish = sha256(model / "manifest.json"), score.finish
    monkeypatch.setattr(score, "finish", finish_and_replace)
    run_here(monkeypatch, source, target, "--model", model)
    before = sum(answer.accepted for answer in Classifier.load(onnx_folder).answer(texts(50)))
    assert (accepted(), named()) == ([before, before], {first})
    assert before < 50
    run(source, target, model)
    assert (accepted(), named()) == ([50, 50], {sha256(model / "manifest.json")})


def test_a_part_is_answered_by_no_other_model_and_no_other_graph(onnx_folder: Path) -> None:
    classifier = Classifier.load(onnx_folder)
    assert load(Model(onnx_folder, classifier.sha256, classifier.graph)).graph == classifier.graph
    with pytest.raises(UserError, match="the model was replaced while it was at work: run again"):
        load(Model(onnx_folder, "0" * 64, classifier.graph))
    with pytest.raises(UserError, match="one machine runs the none graph, another"):
        load(Model(onnx_folder, classifier.sha256, "none"))


def test_what_a_power_cut_emptied_is_made_anew(
    archive: Path, onnx_folder: Path, undisturbed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.parquet"
    job = Job(archive, target)

    def stop(*_: object) -> None:
        raise UserError("stopped before the parts are joined")

    with monkeypatch.context() as patch, pytest.raises(UserError, match="stopped"):
        patch.setattr(score, "finish", stop)
        run_here(patch, archive, target, "--model", onnx_folder, "--part-rows", "100")
    kept = parts(target)
    (job.parts / "000003.parquet").write_bytes(b"")
    (job.parts / "000007.parquet").write_bytes((job.parts / "000007.parquet").read_bytes()[:-20])
    run(archive, target, onnx_folder, "--part-rows", "100")
    assert (len(kept), sha256(target)) == (ROWS // 100, undisturbed)

    job.receipt.write_bytes(b"")
    assert "rows" in run(archive, target, onnx_folder, "--part-rows", "100")
    assert (sha256(target), json.loads(job.receipt.read_text())["rows"]) == (undisturbed, ROWS)

    target.unlink()
    job.parts.mkdir()
    (job.parts / "plan.json").write_bytes(b"")
    run(archive, target, onnx_folder, "--part-rows", "100")
    assert sha256(target) == undisturbed


def test_a_column_that_only_parquet_has_a_form_for_is_one_line(onnx_folder: Path, tmp_path: Path) -> None:
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    pq.write_table(pa.table({"text": ["my card"], "x": twice}), tmp_path / "a.parquet")
    told = run(tmp_path / "a.parquet", tmp_path / "out.csv", onnx_folder, code=1)
    assert f"error: {tmp_path / 'a.parquet'}: column 'x': " in told
    assert not (tmp_path / "out.csv").exists()


def test_columns_keep_their_types_and_what_is_said_of_them(onnx_folder: Path, tmp_path: Path) -> None:
    fields = [
        pa.field("id", pa.int8(), nullable=False, metadata={"unit": "none"}),
        pa.field("text", pa.dictionary(pa.int32(), pa.string())),
        pa.field("seen", pa.timestamp("us", "UTC")),
    ]
    table = pa.table({"id": [1], "text": ["my card"], "seen": [0]}, pa.schema(fields, {"about": "an archive"}))
    pq.write_table(table, tmp_path / "a.parquet")
    run(tmp_path / "a.parquet", tmp_path / "out.parquet", onnx_folder)
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert schema.metadata[b"about"] == b"an archive"
    assert pa.schema(list(schema)[:3]).equals(pa.schema(fields), check_metadata=True)
    assert schema.names[3:] == ANSWERS.names


def test_a_file_that_another_run_ended_in_the_meantime_is_not_scored_again(
    onnx_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("text\nmy card\n")
    source, target = tmp_path / "a.csv", tmp_path / "out.csv"
    run_here(monkeypatch, source, target, "--model", onnx_folder)  # the other run
    before = target.stat().st_mtime_ns
    args, classifier = score.read_arguments(), Classifier.load(onnx_folder)
    args.model = Model(onnx_folder, classifier.sha256, classifier.graph)
    score.score_here([Job(source, target)], args, tqdm(disable=True))  # this one, which had asked before that
    assert target.stat().st_mtime_ns == before
    assert capsys.readouterr().out.splitlines() == [f"{target}: 1 rows", f"{target}: already scored, skipped"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"message\nx\n", "column 'text' is missing: the header has ['message']: name yours with --text-column"),
        (b"text,label\nx,y\n", "column 'label' would also be a column of the output: rename it in the input"),
    ],
)
def test_a_file_that_cannot_be_scored_is_one_line(content: bytes, told: str, onnx_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    assert run(tmp_path / "a.csv", tmp_path / "out.csv", onnx_folder, code=1) == f"error: {tmp_path / 'a.csv'}: {told}\n"
    assert not (tmp_path / "out.csv").exists()


def test_a_key_of_a_json_object_is_not_overwritten_by_an_answer(onnx_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "my card"}\n{"text": "my pin", "confidence": "high"}\n')
    told = run(tmp_path / "a.jsonl", tmp_path / "out.jsonl", onnx_folder, code=1)
    assert "column 'confidence' would also be a column of the output" in told


@pytest.mark.slow
def test_killed_at_random_points_it_goes_on_and_neither_loses_nor_doubles_a_row(
    archive: Path, onnx_folder: Path, undisturbed: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    target, draw = tmp_path / "out.parquet", random.Random(0)
    goes_on = command(archive, target, onnx_folder, "--part-rows", "100", "--workers", "2")
    killed = 0
    for _ in range(request.config.getoption("--kills")):
        kept = parts(target)
        wanted = len(kept) + draw.randint(1, 6)
        with killed_at_last(goes_on, stdout=subprocess.DEVNULL) as process:
            wait_until(lambda: process.poll() is not None or len(parts(target)) >= wanted, 120, pause_s=0.001)  # noqa: B023
            time.sleep(draw.random() / 50)
            workers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.send_signal(signal.SIGKILL)
            if process.wait() == 0:  # it was quicker than we
                break
        killed += 1
        assert not psutil.wait_procs(workers, timeout=30)[1], "a worker outlives its parent"
        assert parts(target).items() >= kept.items(), "a part was scored twice"
        assert not target.exists() or sha256(target) == undisturbed
    assert killed
    run(archive, target, onnx_folder, "--part-rows", "100", "--workers", "2")
    assert sha256(target) == undisturbed
    assert not (tmp_path / "_out.parquet.parts").exists()


@contextmanager
def killed_at_last(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive the block, whatever comes of it."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def parts(target: Path) -> dict[str, int]:
    """When each part that is there was written."""
    found = (target.parent / f"_{target.name}.parts").glob("0*.parquet")
    return {path.name: path.stat().st_mtime_ns for path in found if path.exists()}


def test_a_killed_worker_is_one_line_and_the_next_run_goes_on(archive: Path, onnx_folder: Path, undisturbed: str, tmp_path: Path) -> None:
    target = tmp_path / "out.parquet"
    with killed_at_last(command(archive, target, onnx_folder, "--part-rows", "100"), stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: process.poll() is not None or len(parts(target)) >= 2, 120, pause_s=0.001)
        assert process.poll() is None, "it ended before it could be killed"
        worker = next(child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline()))
        worker.kill()
        assert process.communicate(timeout=120)[1].startswith("error: a worker was killed (out of memory?): run the same command again")
        assert process.returncode == 1
    run(archive, target, onnx_folder, "--part-rows", "100")
    assert sha256(target) == undisturbed


def peak_mib(command: list[str]) -> float:
    """Most memory that a process and its children ever had in RAM, summed over them."""
    peaks = dict[int, float]()

    def measured_to_its_end() -> bool:
        for pid in [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]:
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            peak = re.search(r"VmHWM:\s+(\d+) kB", status)
            peaks[pid] = int(peak[1]) / 1024 if peak else peaks.get(pid, 0)
        return process.poll() is not None

    with killed_at_last(command) as process:
        wait_until(measured_to_its_end, 600, pause_s=0.02)
    assert process.returncode == 0
    return sum(peaks.values())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process's memory is read where Linux tells it")
def test_memory_does_not_grow_with_the_file(onnx_folder: Path, tmp_path: Path) -> None:
    peaks = []
    for rows in (4_000, 40_000):
        source = tmp_path / f"{rows}.jsonl"
        source.write_text(f"{json.dumps({'text': 'my card', 'note': 'x' * 3000})}\n" * rows)
        peaks.append(peak_mib(command(source, tmp_path / f"out-{rows}.jsonl", onnx_folder, "--part-rows", "1000")))
    assert source.stat().st_size > 120e6
    assert peaks[1] < peaks[0] + 40, peaks
