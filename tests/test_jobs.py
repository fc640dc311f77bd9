from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline import artifacts
from pipeline.bulk.jobs import Job, close, find_jobs, find_left_out, identify, is_done, opened
from pipeline.bulk.records import read_parts
from pipeline.errors import UserError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def outputs(given: str, output: Path, suffix: str | None = None) -> list[str]:
    return [str(job.target.relative_to(output)) for job in find_jobs(given, output, suffix)]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    touch(tmp_path / "in", "a.csv", "b/a.csv", "b/c.parquet", "d.jsonl", "notes.txt", "_a.csv.receipt.json", "_a.csv.parts/000000.parquet")
    touch(tmp_path / "in", ".partial-e.csv", ".hidden/f.csv")
    return tmp_path / "in"


def test_a_file_goes_to_the_file_named_or_into_the_folder_named(inbox: Path, tmp_path: Path) -> None:
    given = str(inbox / "a.csv")
    assert find_jobs(given, tmp_path / "x.parquet", None) == [Job(inbox / "a.csv", tmp_path / "x.parquet")]
    assert outputs(given, tmp_path / "out") == ["a.csv"]
    assert outputs(given, tmp_path / "out", ".jsonl") == ["a.jsonl"]
    assert find_jobs(given, tmp_path / "OUT.CSV", ".csv") == [Job(inbox / "a.csv", tmp_path / "OUT.CSV")]


def test_files_of_a_folder_that_are_of_no_format_are_named(inbox: Path) -> None:
    touch(inbox, "b/e.csv.gz")
    assert find_left_out(str(inbox)) == ["b/e.csv.gz", "notes.txt"]
    assert find_left_out(str(inbox / "a.csv")) == find_left_out(f"{inbox}/*") == []


def test_links_of_a_folder_that_lead_to_no_file_are_named(inbox: Path, tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/g.csv", "elsewhere/h.csv")
    for name, there in {"late": "elsewhere", "whole.csv": "elsewhere", "gone.csv": "nowhere", "h.csv": "elsewhere/h.csv"}.items():
        (inbox / name).symlink_to(tmp_path / there)
    (inbox / "_late").symlink_to(tmp_path / "elsewhere")
    assert find_left_out(str(inbox)) == ["gone.csv (link)", "late (link)", "notes.txt", "whole.csv (link)"]
    assert outputs(str(inbox), tmp_path / "out") == ["a.csv", "b/a.csv", "b/c.parquet", "d.jsonl", "h.csv"]


def test_of_a_folder_every_file_of_ours_is_scored_to_its_place_below_the_output(inbox: Path, tmp_path: Path) -> None:
    assert outputs(str(inbox), tmp_path / "out") == ["a.csv", "b/a.csv", "b/c.parquet", "d.jsonl"]
    assert outputs(str(inbox), tmp_path / "out", ".parquet") == ["a.parquet", "b/a.parquet", "b/c.parquet", "d.parquet"]


def test_a_folder_that_is_named_like_a_file_is_a_folder(inbox: Path, tmp_path: Path) -> None:
    touch(inbox / "whole.parquet", "part-0.parquet")
    assert "whole.parquet/part-0.parquet" in outputs(str(inbox), tmp_path / "out")
    assert "whole.parquet" not in outputs(str(inbox), tmp_path / "out")


def test_a_pattern_finds_files_and_keeps_apart_those_of_one_name(inbox: Path, tmp_path: Path) -> None:
    assert outputs(f"{inbox}/**/*.csv", tmp_path / "out") == ["a.csv", "b/a.csv"]
    assert outputs(f"{inbox}/b/*", tmp_path / "out") == ["a.csv", "c.parquet"]


def test_where_an_output_goes_does_not_depend_on_which_other_files_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "in/d1/q.csv")
    assert outputs(f"{tmp_path}/in/*/q.csv", tmp_path / "out") == ["d1/q.csv"]
    monkeypatch.chdir(tmp_path / "in")
    assert outputs("../in/d?/*.csv", Path("out")) == outputs("*/q.csv", Path("out")) == ["d1/q.csv"]
    touch(tmp_path, "in/d2/q.csv")
    assert outputs(f"{tmp_path}/in/*/q.csv", tmp_path / "out") == ["d1/q.csv", "d2/q.csv"]


@pytest.mark.parametrize(
    ("given", "output", "suffix", "told"),
    [
        ("missing.csv", "out", None, "missing.csv: no .csv, .jsonl or .parquet file found: give a file"),
        ("in/notes.txt", "out", None, "in/notes.txt: unsupported file type: give a .csv, .jsonl or .parquet file"),
        ("in", "out.csv", None, "out.csv: in is not a single file: give a folder"),
        ("in", "in/out", None, "in/out: the output would be one of the inputs"),
        ("in/a.csv", "in/a.csv", None, "in/a.csv: the output would be one of the inputs"),
        ("in/a.csv", "in", None, "in: the output would be one of the inputs"),
        ("in", "notes.txt", None, "notes.txt: is a file: give a folder for the output"),
        ("in/a.csv", "notes.txt/out.csv", None, "notes.txt: is a file: give a folder for the output"),
        ("in/a.csv", "out.tsv", None, "out.tsv: unsupported output type: end the name in .csv, .jsonl or .parquet"),
        ("in", "OUT.CSV", None, "OUT.CSV: in is not a single file: give a folder"),
        ("in/a.csv", "out.csv", ".parquet", "out.csv: ends in '.csv' where --format says '.parquet'"),
    ],
)
def test_what_cannot_be_is_one_error(
    given: str, output: str, suffix: str | None, told: str, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inbox.parent)
    touch(Path(), "notes.txt")
    with pytest.raises(UserError) as error:
        find_jobs(given, Path(output), suffix)
    assert str(error.value).startswith(told)


def test_a_name_in_capitals_is_of_its_format_too(tmp_path: Path) -> None:
    touch(tmp_path / "in", "A.CSV", "B.Parquet")
    assert outputs(str(tmp_path / "in"), tmp_path / "out") == ["A.csv", "B.parquet"]
    (tmp_path / "in/A.CSV").write_text("text\nhello\n")
    assert [part.texts for part in read_parts(tmp_path / "in/A.CSV", "text", 9)] == [["hello"]]


def test_a_folder_that_is_named_outright_may_begin_with_a_line(inbox: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "_archive"
    inbox.rename(hidden)
    assert outputs(f"{hidden}/*.csv", tmp_path / "out") == ["a.csv"]
    assert outputs(f"{hidden}/**/*.csv", tmp_path / "out") == ["a.csv", "b/a.csv"]


@pytest.mark.parametrize(
    ("pattern", "folder", "suffix"), [("**/*.csv", "out", None), ("**/*.csv", "out/of", None), ("a*", ".", ".parquet")]
)
def test_a_pattern_may_not_find_its_own_output(
    pattern: str, folder: str, suffix: str | None, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inbox)
    for given, output in ((pattern, Path(folder)), (f"{inbox}/{pattern}", inbox / folder), (pattern, inbox / folder)):
        with pytest.raises(UserError, match="the output would be one of the inputs"):
            outputs(given, output, suffix)


@pytest.mark.parametrize(("pattern", "folder", "suffix"), [("*/*.csv", "out", None), ("*/*.csv", ".", ".jsonl"), ("*.csv", "out", None)])
def test_a_pattern_that_does_not_find_its_outputs_may_have_them_beside_its_inputs(
    pattern: str, folder: str, suffix: str | None, inbox: Path
) -> None:
    jobs = find_jobs(f"{inbox}/{pattern}", inbox / folder, suffix)
    for job in jobs:
        touch(job.target.parent, job.target.name)
    assert find_jobs(f"{inbox}/{pattern}", inbox / folder, suffix) == jobs


def test_two_files_that_differ_in_their_format_alone_cannot_have_one_output(inbox: Path, tmp_path: Path) -> None:
    touch(inbox, "a.jsonl")
    with pytest.raises(UserError, match="two files would have the same output"):
        find_jobs(str(inbox), tmp_path / "out", ".parquet")


def test_a_job_is_done_when_its_output_was_made_from_the_same_input_and_settings(inbox: Path, tmp_path: Path) -> None:
    job = Job(inbox / "a.csv", tmp_path / "out/a.csv")
    identity = identify(job, top_k=5)
    assert not is_done(job, identity)
    with opened(job, identity):
        touch(job.target.parent, "a.csv")
        assert not is_done(job, identity)  # as if killed before the receipt
        close(job, {"made_from": identity})
    assert is_done(job, identity)
    assert not is_done(job, identify(job, top_k=3))
    job.source.write_text("more rows")
    assert not is_done(job, identify(job, top_k=5))


def test_a_file_that_is_not_ours_is_not_replaced(inbox: Path, tmp_path: Path) -> None:
    job = Job(inbox / "a.csv", tmp_path / "mine.csv")
    touch(tmp_path, "mine.csv")
    with pytest.raises(UserError, match=r"already exists and was not written by this command \(_mine\.csv\.receipt\.json is missing\)"):
        is_done(job, identify(job))


def test_parts_of_the_same_are_kept_and_of_another_input_removed(inbox: Path, tmp_path: Path) -> None:
    job = Job(inbox / "a.csv", tmp_path / "out.csv")
    with opened(job, identify(job)) as folder:
        assert folder == job.parts
        touch(folder, "000000.parquet")
    with opened(job, identify(job)):
        assert (job.parts / "000000.parquet").exists()
    job.source.write_text("more rows")
    with opened(job, identify(job)):
        assert not (job.parts / "000000.parquet").exists()


def test_a_receipt_never_stands_beside_the_output_of_another_run(inbox: Path, tmp_path: Path) -> None:
    job = Job(inbox / "a.csv", tmp_path / "out.csv")
    first, second = identify(job, top_k=1), identify(job, top_k=2)
    with opened(job, first):
        touch(tmp_path, "out.csv")
        close(job, {"made_from": first})
    with opened(job, second):
        touch(tmp_path, "out.csv")  # and killed here
    assert not is_done(job, first)


def test_two_runs_cannot_write_one_output_at_once(inbox: Path, tmp_path: Path) -> None:
    job = Job(inbox / "a.csv", tmp_path / "out.csv")
    identity = identify(job)
    with opened(job, identity), pytest.raises(UserError, match="another run is writing"), opened(job, identity):
        pass


def test_what_another_run_ended_in_the_meantime_is_left_as_it_is(inbox: Path, tmp_path: Path) -> None:
    job = Job(inbox / "a.csv", tmp_path / "out.csv")
    identity = identify(job)
    assert not is_done(job, identity)
    with opened(job, identity):  # the other run
        touch(tmp_path, "out.csv")
        close(job, {"made_from": identity})
    with opened(job, identity) as folder:
        assert folder is None
    assert is_done(job, identity)
    assert not job.parts.exists()


def test_a_run_may_ask_for_the_lock_while_another_tidies_up(inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(inbox / "a.csv", tmp_path / "out.csv")
    identity, rmdir = identify(job), os.rmdir

    def rmdir_too_late(*arguments: Any, **options: Any) -> None:
        touch(job.parts, "lock")  # as the other run does
        rmdir(*arguments, **options)

    with opened(job, identity), monkeypatch.context() as patch:
        touch(tmp_path, "out.csv")
        patch.setattr(os, "rmdir", rmdir_too_late)
        close(job, {"made_from": identity})
    assert (job.parts / "lock").exists()
    assert is_done(job, identity)
    assert not job.parts.exists()


def test_the_receipt_is_json_beside_the_output(inbox: Path, tmp_path: Path) -> None:
    job = Job(inbox / "a.csv", tmp_path / "out.csv")
    with opened(job, identify(job)):
        close(job, {"rows": 3})
    assert artifacts.read_json(tmp_path / "_out.csv.receipt.json") == {"rows": 3}
    assert not job.parts.exists()
