"""Every shell command of the documents is run, here or by a test that tests/commands.py names, or says there why not."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from clones import Run, link_environment, sh
from commands import ELSEWHERE, NOT_RUN, RUN, RUN_IF_BEGINS
from services import wait_until

from pipeline.compose import compose
from pipeline.lock import differing, flatten

DOCUMENTS = [Path("README.md"), *sorted(Path("docs").rglob("*.md")), Path("data/sample/README.md")]
SHELL = {"bash", "sh", "shell", "console", "text"}
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def commands(document: Path) -> list[str]:
    """The commands of a document's shell blocks, in order, without the comments behind them."""
    found = []
    for language, block in FENCE.findall(document.read_text(encoding="utf-8")):
        lines: list[str] = []
        for line in block.splitlines() if language in SHELL else []:
            lines.append(line)
            command = "\n".join(lines)
            if is_whole(command):
                found.append(re.sub(r"\s+#\s.*$", "", command).strip())
                lines = []
        assert not lines, f"{document}: not a whole command: {lines}"
    return [command for command in found if command]


def is_whole(command: str) -> bool:
    """Whether a shell would not ask for more lines: a loop, a heredoc or a quote that is open, a backslash at the end."""
    if not re.search(r"<<|^for |\\$|'", command, re.MULTILINE):
        return True
    done = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True, check=False)
    return not done.returncode and not done.stderr and not command.endswith("\\")


ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
EVERY = {document: commands(document) for document in DOCUMENTS}


def needs_environment(command: str) -> bool:
    return command.startswith(("dvc ", "hf ", "pytest ", "python ", "torchrun ", "wandb "))


def is_run(command: str) -> bool:
    return command in RUN or command.startswith(RUN_IF_BEGINS)


def reason(command: str) -> str | None:
    return next((why for name, why in NOT_RUN.items() if command == name or (name.endswith(" *") and command.startswith(name[:-1]))), None)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_command_is_run_or_says_why_not(document: Path) -> None:
    unknown = [command for command in EVERY[document] if not (is_run(command) or command in ELSEWHERE or reason(command))]
    assert unknown == [], "add it to tests/commands.py"


def test_what_is_said_of_commands_is_said_of_commands_that_are_there() -> None:
    written = {command for found in EVERY.values() for command in found}
    named = {name for name in {**RUN, **ELSEWHERE, **NOT_RUN} if not name.endswith(" *")}
    assert named - written == set()
    assert [name for name in NOT_RUN if name.endswith(" *") and not any(command.startswith(name[:-1]) for command in written)] == []


@pytest.mark.parametrize("place", sorted(set(ELSEWHERE.values())))
def test_the_test_that_runs_a_command_is_there(place: str) -> None:
    file, _, name = place.partition("::")
    if name:
        assert f"\ndef {name}" in Path("tests", file).read_text(encoding="utf-8")
    else:
        script = Path(file).read_text(encoding="utf-8").splitlines()
        called = [command for command in ELSEWHERE if any(f"{line} ".startswith(f"{command} ") for line in script)]
        assert [command for command, where in ELSEWHERE.items() if where == place and command not in called] == []


@pytest.mark.parametrize("document", [document for document, found in EVERY.items() if any(map(needs_environment, found))], ids=str)
def test_a_document_says_how_to_get_the_environment_that_its_commands_need(document: Path) -> None:
    assert "source .venv/bin/activate" in document.read_text(encoding="utf-8")


@pytest.mark.parametrize("document", ["docs/audit.md", "docs/own-data.md", "docs/page.md", "docs/why-distil.md"])
def test_a_run_on_the_readers_data_names_it_however_often_it_was_named(document: str) -> None:
    """Params are composed anew for each: without `data=csv` it would be a run on the sample."""
    runs = re.findall(r"dvc exp run [^`\n]*", Path(document).read_text(encoding="utf-8"))
    assert any("data=csv" in run for run in runs)
    assert [run for run in runs if " -S " in run and "data=csv" not in run] == []


def test_the_runs_that_the_tutorial_compares_differ_in_their_data_alone(tmp_path: Path) -> None:
    (command,) = [command for command in EVERY[Path("docs/tutorial.md")] if command.startswith("dvc exp run ")]
    composed = []
    for overrides in ([], [each.replace("$PWD", "/home") for each in re.findall(r"-S (\S+)", command)]):
        compose(overrides, tmp_path / "params.yaml")
        composed.append(flatten(yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))))
    assert differing(*composed) == ["fetch.train", "fetch.test"]


@pytest.mark.parametrize(
    ("target", "call"),
    [
        (["audit"], "python -m pipeline.audit"),
        (["publish"], "python -m pipeline.publish"),
        (["publish", "REPO=user/name", "PUSH=1"], "python -m pipeline.publish --repo user/name --push"),
        (["publish", "ONNX=1", "PUBLIC=1"], "python -m pipeline.publish --onnx --public"),
        (["serve", "HOST=0.0.0.0"], "python -m pipeline.serve --model models/onnx --host 0.0.0.0 --port 8080"),
        (["sweep"], "python -m pipeline.sweep --trials 30"),
        (["sweep", "TRIALS=2", "SWEEP=-S data=csv --study real"], "python -m pipeline.sweep --trials 2 -S data=csv --study real"),
    ],
)
def test_make_calls_the_module_that_the_tests_call(target: list[str], call: str) -> None:
    """With options that the module has: those tests use them."""
    assert (
        sh(Path(), "make", "--dry-run", "--no-print-directory", "--assume-old=.venv/installed", *target).splitlines()[-1].split()
        == call.split()
    )


def test_a_host_that_a_shell_exports_is_not_where_the_service_listens() -> None:
    command = ["make", "--dry-run", "--no-print-directory", "--assume-old=.venv/installed", "serve"]
    assert "--host 127.0.0.1 --port 8080" in sh(Path(), *command, variables={"HOST": "x86_64-conda-linux-gnu", "PORT": "5432"})


def test_cleaning_leaves_the_runs_that_are_still_to_be_sent(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_bytes(Path("Makefile").read_bytes())
    (tmp_path / "pyproject.toml").touch()
    sh(tmp_path, "make", "clean")
    for name in ("build/wandb/offline-run-1/a.wandb", "build/report/report.md", ".cache/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    sh(tmp_path, "make", "clean")
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*")) if path.is_file()] == [
        "Makefile",
        "build/wandb/offline-run-1/a.wandb",
        "pyproject.toml",
    ]


def test_make_lists_its_commands_where_there_is_little_more_than_a_shell(tmp_path: Path) -> None:
    (tmp_path / "sed").symlink_to(str(shutil.which("sed")))
    told = sh(Path(), str(shutil.which("make")), "help", variables={"PATH": str(tmp_path)})
    targets = re.findall(r"^([a-z0-9-]+):.*## ", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert re.findall(r"^make ([a-z0-9-]+)  +\w", told, re.MULTILINE) == targets


@pytest.fixture(scope="module")
def finished(clone: Path, first_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the clone in which the pipeline ran: what a user has, who left `main` where the run began."""
    folder = tmp_path_factory.mktemp("reader") / "clone"
    shutil.copytree(clone, folder, symlinks=True)
    sh(folder, "git", "switch", "--quiet", "--create", "mine")
    sh(folder, "git", "branch", "--force", "main", "HEAD~1")
    sh(folder, "git", "tag", "finished")
    link_environment(folder)
    return folder


@pytest.fixture
def desk(finished: Path) -> Iterator[Path]:
    """The copy with the files that the documents speak of; tidied up after."""
    write_files(finished)
    yield finished
    sh(finished, "git", "reset", "--quiet", "--hard", "finished")
    sh(finished, "git", "clean", "--quiet", "--force", "-d")
    sh(finished, "dvc", "checkout")


def write_files(folder: Path) -> None:
    """An inbox in every format, and rows to train on."""
    texts = [f"My card number {number} has not come, can you tell me where it is?" for number in range(60)]
    pq.write_table(pa.table({"text": texts}), folder / "in.parquet")
    (folder / "new.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in texts))
    (folder / "inbox").mkdir()
    for name in ("new.csv", "inbox/2026-11.csv"):
        (folder / name).write_text("text\n" + "".join(f'"{text}"\n' for text in texts))
    for name in ("train.csv", "training-rows.csv"):
        (folder / name).write_text("text,label\nWhere is my card?,card_arrival\n")


@contextmanager
def serving(folder: Path, command: str, port: int) -> Iterator[None]:
    """A service in the background, as in another terminal, until the document ends."""
    with subprocess.Popen(["bash", "-c", f"{command} PORT={port}"], cwd=folder, env=ENVIRONMENT, start_new_session=True) as process:
        try:
            wait_until(lambda: process.poll() is not None or answers(port), 120, command)
            assert process.poll() is None, command
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def answers(port: int) -> bool:
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


@pytest.mark.slow
@pytest.mark.parametrize("document", [document for document, found in EVERY.items() if any(map(is_run, found))], ids=str)
def test_the_commands_run_as_they_are_written(document: Path, desk: Path) -> None:
    port = free_port()
    with ExitStack() as background:
        for command in filter(is_run, EVERY[document]):
            if command == "make serve":
                background.enter_context(serving(desk, command, port))
                continue
            asked = ["bash", "-o", "pipefail", "-c", command.replace("127.0.0.1:8080", f"127.0.0.1:{port}")]
            done = subprocess.run(asked, cwd=desk, capture_output=True, text=True, check=False, env=ENVIRONMENT)
            assert done.returncode in RUN.get(command, {0}), f"{command}\n{done.stdout}{done.stderr}"
            assert "Traceback" not in done.stdout + done.stderr, command
            if command.startswith("curl"):
                assert "error" not in json.loads(done.stdout), command
