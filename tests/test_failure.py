from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from clones import sh

from pipeline.failure import describe

DVC = "Running stage 'train':\n\x1b[31merror: params.yaml: no\x1b[0m\nERROR: failed to reproduce 'train': failed to run: x, exited with 1\n"


def test_the_stage_and_its_line_are_named() -> None:
    text = describe(DVC, "https://example.org/run")
    assert text.splitlines()[2] == "## The pipeline failed in stage `train`"
    assert "[The run](https://example.org/run)" in text
    assert "```text\nerror: params.yaml: no\n```" in text


def test_without_a_stage_the_end_of_the_log_has_to_do() -> None:
    text = describe("\n".join(f"line {number}" for number in range(100)) + "\nmake: *** [install] Error 1", None)
    assert "failed outside its stages" in text
    assert "make: *** [install] Error 1" in text
    assert "line 50" not in text


def test_a_log_cannot_end_the_block_it_stands_in() -> None:
    text = describe("error: ````\n<b>@everyone</b>\n```\n", None)
    assert re.findall(r"^`{5}$", text, re.MULTILINE) == ["`" * 5] * 2  # the ends; the longest run inside has four


def test_a_missing_log_is_no_second_failure(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline.failure", "--log", str(tmp_path / "none"), "--output", str(tmp_path / "report")]
    subprocess.run(command, check=True)
    assert "failed outside its stages" in (tmp_path / "report/report.md").read_text(encoding="utf-8")


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    told = sh(Path(), sys.executable, "-m", "pipeline.failure", "--log", "none", "--output", str(tmp_path / "mine.txt"), code=1)
    assert told == f"error: {tmp_path}/mine.txt: is a file: give a folder for the output\n"
