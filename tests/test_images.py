"""The Dockerfiles, as far as they can be followed without an engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from fastapi import FastAPI
from json_standin import JsonHandler, JsonServer, serving
from services import serve
from toys import opened

from pipeline.errors import UserError
from pipeline.lock import check_output, folder_md5
from pipeline.serve import Server
from pipeline.serving.settings import read_settings

API = Path("dockerfiles/api.Dockerfile")
DOCKERFILES = sorted(Path("dockerfiles").glob("*.Dockerfile"))
SERVE_LOCK = Path("requirements-serve.lock")


class Healthy(JsonHandler):
    def do_GET(self) -> None:
        self.send(200, {"live": True})


def instructions(dockerfile: Path) -> list[list[str]]:
    """The instructions, one list of words each; comments left out, continued lines joined."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line]


def copies(dockerfile: Path) -> list[tuple[list[str], str]]:
    """What is copied out of the repository, and where to."""
    return [(words[1:-1], words[-1]) for words in instructions(dockerfile) if words[0] == "COPY" and not words[1].startswith("--")]


def pins(lock: Path) -> dict[str, set[str]]:
    """Hashes of every pinned package."""
    blocks = re.findall(r"^(\S+==\S+) (?:; .+ )?\\\n((?:    --hash=.*\n)+)", lock.read_text(), re.MULTILINE)
    return {pin: set(re.findall(r"sha256:\w+", hashes)) for pin, hashes in blocks}


def lay_out(folder: Path) -> None:
    """Copies into a folder what api.Dockerfile copies to the service's, but the model."""
    for sources, target in copies(API):
        for source in sources:
            if Path(source).is_dir() and Path(source) != Path("models/onnx"):
                shutil.copytree(source, folder / target)
            elif Path(source).is_file():
                (folder / target).mkdir(parents=True, exist_ok=True)
                shutil.copy(source, folder / target)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=str)
def test_images_are_pinned_by_digest_run_as_nobody_special_and_say_how_they_are(dockerfile: Path) -> None:
    steps = instructions(dockerfile)
    stages = {words[3] for words in steps if words[0] == "FROM" and len(words) == 4}
    foreign = [words[1] for words in steps if words[0] == "FROM" and words[1] not in stages]
    assert len(foreign) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+@sha256:[0-9a-f]{64}", foreign[0])
    last = [words[0] for words in steps][max(i for i, words in enumerate(steps) if words[0] == "FROM") :]
    assert {"USER", "HEALTHCHECK"} <= set(last)
    assert not [words for words in steps if words[0] == "USER" and words[1] in ("root", "0")]
    assert not [words for words in steps if words[0] == "ADD"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=str)
def test_what_is_copied_is_there_and_sent_to_the_build(dockerfile: Path) -> None:
    outputs = [out for stage in yaml.safe_load(Path("dvc.yaml").read_text())["stages"].values() for out in stage.get("outs", [])]
    sent = [line[1:] for line in Path(".dockerignore").read_text().splitlines() if line.startswith("!")]
    for sources, _ in copies(dockerfile):
        for source in sources:
            assert Path(source).exists() or source.rstrip("/") in outputs, source
            assert any(Path(source).is_relative_to(path) for path in sent), source


def test_dvc_runs_as_a_user_of_whom_the_image_knows_the_number_alone(tmp_path: Path) -> None:
    settings = [words for words in instructions(Path("dockerfiles/train.Dockerfile")) if words[0] == "ENV"][-1][1:]
    variables = {"PATH": os.environ["PATH"]} | dict(setting.split("=", 1) for setting in settings) | {"DVC_SITE_CACHE_DIR": str(tmp_path)}
    code = "import os, sys\nos.getuid = lambda: 54321\nfrom dvc.cli import main\nsys.exit(main(['init', '--no-scm']) or main(['status']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_services_lock_is_the_part_of_the_lock_that_it_needs_and_no_more() -> None:
    part, whole = pins(SERVE_LOCK), pins(Path("requirements.lock"))
    assert len(part) > 10
    assert {pin: hashes for pin, hashes in part.items() if whole.get(pin) != hashes} == {}, "run `make lock`"
    named = {line for line in Path("dockerfiles/serve.in").read_text().splitlines() if not line.startswith("#")}
    names = {pin.split("==")[0] for pin in part}
    assert named <= names
    assert names.isdisjoint({"torch", "transformers", "dvc", "datasets", "onnx", "scipy", "scikit-learn"})


def test_the_files_of_the_image_are_all_that_the_service_imports(tmp_path: Path) -> None:
    lay_out(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for module in ("serve", "check_model"):
        code = f"import sys, pipeline.{module}; print(sorted({{'torch', 'transformers', 'dvc', 'scipy', 'pandas'}} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_the_build_refuses_a_model_that_the_lock_does_not_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Repo.init(str(tmp_path), no_scm=True).close()
    monkeypatch.chdir(tmp_path)
    model = Path("models/onnx")
    (model / "sub").mkdir(parents=True)
    for name in ("b.json", "a.onnx", "sub/ü.json", "sub.txt"):
        (model / name).write_text(name)
    with opened(tmp_path) as repo:
        (stage,) = repo.add(str(model))
        md5 = stage.outs[0].hash_info.value
    assert folder_md5(model) == md5
    lock = Path("dvc.lock")
    lock.write_text(yaml.safe_dump({"stages": {"export": {"cmd": "x", "outs": [{"path": "models/onnx", "md5": md5}]}}}))
    assert check_output(model, lock) == md5
    (model / "evil.pkl").write_bytes(b"")
    with pytest.raises(UserError, match=rf"models/onnx: its hash is \w+\.dir, but dvc.lock has {md5}: run `dvc checkout models/onnx`"):
        check_output(model, lock)
    with pytest.raises(UserError, match=r"dvc\.lock: has no output models: give the path as dvc\.yaml does"):
        check_output(Path("models"), lock)
    with pytest.raises(UserError, match="models/none: no such folder"):
        check_output(Path("models/none"), lock)


def test_a_fresh_environment_from_the_lock_serves_a_checked_model(request: pytest.FixtureRequest, project: Path, tmp_path: Path) -> None:
    """What api.Dockerfile does, without an engine: its packages, its files, its check, its entry point, its health check."""
    if not request.config.getoption("--images"):
        pytest.skip("needs --images: `make abuse`")
    root, venv = tmp_path / "service", tmp_path / "venv"
    lay_out(root)
    shutil.copytree(project / "models/onnx", root / "models/onnx")
    outs = [{"path": "models/onnx", "md5": folder_md5(root / "models/onnx")}]
    (root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"export": {"cmd": "x", "outs": outs}}}))
    python = str(venv / "bin/python")
    for command in (
        [sys.executable, "-m", "venv", str(venv)],
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--requirement", str(SERVE_LOCK.absolute())],
        [python, "-m", "pip", "check"],
    ):
        subprocess.run(command, check=True)
    steps = {words[0]: " ".join(words[1:]) for words in instructions(API)}
    entry = tuple(python if word == "python" else word for word in json.loads(steps["ENTRYPOINT"]))
    check_command = [python, "-m", "pipeline.check_model", "--model", "models/onnx", "--lock", "dvc.lock"]
    assert " ".join(check_command[1:]) in API.read_text()
    subprocess.run(check_command, cwd=root, check=True)
    with serve(tmp_path, program=entry, model=Path("models/onnx"), root=root) as service:
        assert service.predict("lost my card").status_code == 200
        health = [python if word == "python" else word for word in json.loads(steps["HEALTHCHECK"].split("CMD ")[1])]
        for port, code in ((service.url.split(":")[-1], 0), ("1", 1)):
            done = subprocess.run(health, env={"SERVE_PORT": port}, capture_output=True, check=False)
            assert done.returncode == code, done.stderr


def test_the_service_may_read_what_a_strict_umask_left_to_its_owner(tmp_path: Path) -> None:
    lay_out(tmp_path)
    for path in tmp_path.rglob("*"):
        path.chmod(0o750 if path.is_dir() else 0o640)
    [build] = [" ".join(words) for words in instructions(API) if words[0] == "RUN" and "pipeline.check_model" in words]
    subprocess.run(build.split(" && ")[-1], shell=True, cwd=tmp_path, check=True)
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.rglob("*")} == {"0o755", "0o644"}


def test_the_health_check_asks_the_service_and_not_a_proxy() -> None:
    [health] = [json.loads(" ".join(words).split("CMD ")[1]) for words in instructions(API) if words[0] == "HEALTHCHECK" and "CMD" in words]
    with serving(JsonServer(Healthy)) as service:
        variables = {"SERVE_PORT": str(service.server_port), "http_proxy": "http://127.0.0.1:1"}
        subprocess.run([sys.executable, *health[1:]], env=variables, check=True)


def test_the_image_for_training_builds_with_what_is_locked_alone() -> None:
    """antlr4-python3-runtime has no wheel: pip by itself would fetch the newest setuptools to build it, held to no hash."""
    steps = " ".join(word for words in instructions(Path("dockerfiles/train.Dockerfile")) for word in words)
    installs = re.findall(r"pip install [^&]*--requirement (\S+)", steps)
    assert installs == ["build.lock", "requirements.lock"]
    [taken] = re.findall(r"(sed \S+ '[^']+' requirements\.lock) > build\.lock", steps)
    locked = subprocess.run(["sh", "-c", taken], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^(\S+)==", locked, re.MULTILINE) == ["setuptools"]
    assert "--hash=sha256:" in locked
    assert re.findall(r"--no-build-isolation [^&]*--requirement (\S+)", steps) == ["requirements.lock"]


def test_cloud_run_does_not_kill_what_may_still_be_answered() -> None:
    [given] = re.findall(r"--set-env-vars (\S+)", Path("docs/service.md").read_text())
    settings = read_settings(["--model", "models/onnx"], dict(pair.split("=") for pair in given.split(",")))
    assert (Server(FastAPI(), settings).config.timeout_graceful_shutdown or 0) + settings.drain_s < 10


def test_updates_of_the_images_are_asked_for() -> None:
    updates = yaml.safe_load(Path(".github/dependabot.yaml").read_text())["updates"]
    assert "/dockerfiles" in [update["directory"] for update in updates if update["package-ecosystem"] == "docker"]
