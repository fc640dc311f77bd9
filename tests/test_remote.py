"""A toy repository and its remote: an emulator of Google Cloud Storage, over HTTP."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clones import link_environment, sh, stages_run
from emulator import BUCKET, Emulator, emulate
from runner_standin import Runner, load_workflow
from small_runs import commit
from test_faults import fingerprint, flip
from toys import make_toy, opened, ours, reproduce, with_pipeline

from pipeline.errors import UserError
from pipeline.remote import mend, verify

OUTPUTS = ("parts", "model.json")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with emulate(tmp_path_factory.mktemp("bucket")) as running:
        yield running


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "toy"
    make_toy(folder)
    return folder


@pytest.fixture(scope="module")
def pushed(toy: Path, emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the toy, set up by `make remote` and pushed by `make push`."""
    folder = tmp_path_factory.mktemp("pushed") / "toy"
    shutil.copytree(toy, folder)
    variables = with_pipeline(emulator.variables)
    said = sh(folder, "make", "remote", f"BUCKET=gs://{BUCKET}/toy", variables=variables)
    assert f"gs://{BUCKET}/toy: can be used for pull and push" in said
    sh(folder, "git", "commit", "--all", "--quiet", "-m", "our bucket")
    said = sh(folder, "make", "push", variables=variables)
    assert f"gs://{BUCKET}/toy: holds all 6 objects that dvc.lock refers to, by their hashes" in said
    return folder


@pytest.fixture
def second(pushed: Path, tmp_path: Path) -> Path:
    """Another clone, without a cache."""
    folder = tmp_path / "second"
    sh(Path(), "git", "clone", "--quiet", str(pushed), str(folder))
    return folder


@pytest.fixture(autouse=True)
def environment(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test starts talks to the emulator."""
    for name, value in emulator.variables.items():
        monkeypatch.setenv(name, value)


def use(folder: Path, url: str) -> None:
    """What `make remote` writes."""
    config = folder / ".dvc/config"
    text = re.sub(r"url = .*", f"url = {url}", config.read_text())
    config.write_text(text if "remote = storage" in text else text.replace("[core]\n", "[core]\n    remote = storage\n"))


def judge(folder: Path, download: bool = True) -> str:
    """`python -m pipeline.remote verify`, without a process of its own."""
    with opened(folder) as repo:
        return verify(repo, download)


def stored(emulator: Emulator, output: Path) -> Path:
    """The object of an output file, as the emulator keeps it."""
    (found,) = [path for path in (emulator.objects / "toy").rglob("*") if path.is_file() and path.read_bytes() == output.read_bytes()]
    return found


def key(emulator: Emulator, path: Path) -> str:
    return str(path.relative_to(emulator.objects))


def test_without_a_remote_nothing_warns_and_our_commands_say_how_to_set_one(toy: Path) -> None:
    for command in (["dvc", "repro"], ["dvc", "exp", "run"]):
        assert not re.search(r"warning|remote", sh(toy, *command), re.IGNORECASE)
    for command in ("check", "verify", "mend"):
        line = ours(toy, "remote", command, code=1)
        assert line == ("error: .dvc/config: no remote is set: run `make remote BUCKET=gs://NAME/FOLDER` first, see docs/remote.md\n")


def test_make_remote_without_a_bucket_is_one_line(toy: Path) -> None:
    assert "error: BUCKET: give the address of your bucket" in sh(toy, "make", "remote", code=2)
    assert sh(toy, "git", "status", "--porcelain") == ""


def test_pushed_and_pulled_outputs_are_identical(pushed: Path, emulator: Emulator) -> None:
    before = {output: fingerprint(pushed / output) for output in OUTPUTS}
    shutil.rmtree(pushed / ".dvc/cache")
    shutil.rmtree(pushed / "parts")
    (pushed / "model.json").unlink()
    sh(pushed, "make", "pull", variables=with_pipeline(None))
    assert {output: fingerprint(pushed / output) for output in OUTPUTS} == before
    assert "up to date" in sh(pushed, "dvc", "status")


def test_repro_with_pull_in_another_clone_runs_nothing(pushed: Path, second: Path, emulator: Emulator) -> None:
    output = sh(second, "dvc", "repro", "--pull")
    assert stages_run(output) == []
    assert {output: fingerprint(second / output) for output in OUTPUTS} == {output: fingerprint(pushed / output) for output in OUTPUTS}
    assert sh(second, "git", "status", "--porcelain") == ""


def test_the_workflow_makes_what_neither_bucket_nor_cache_has_and_pushes_it(pushed: Path, tmp_path: Path) -> None:
    workspace, scratch = tmp_path / "workspace", tmp_path / "runner"
    sh(Path(), "git", "clone", "--quiet", str(pushed), str(workspace))
    use(workspace, f"gs://{BUCKET}/workflow")
    for name in ("dvc.yaml", "dvc.lock"):  # as in our own: the interpreter that PATH has
        (workspace / name).write_text((workspace / name).read_text().replace(sys.executable, "python"))
    commit(workspace, "our bucket, our python")
    link_environment(workspace)
    scratch.mkdir()
    actions = dict.fromkeys(
        ("actions/checkout", "actions/setup-python", "actions/cache/restore", "google-github-actions/auth"), lambda _: None
    )
    runner = Runner(workspace, scratch, {"vars": {"GCP_WORKLOAD_IDENTITY_PROVIDER": "ours"}}, with_pipeline(None), actions)
    assert runner.run(load_workflow("remote"), "remote")
    assert not runner.failed, runner.printed
    assert stages_run(runner.printed["Make what is in neither bucket nor cache"]) == ["prepare", "train"]  # what evaluate writes is in git
    assert f"gs://{BUCKET}/workflow: holds all 6 objects that dvc.lock refers to" in runner.printed["Push"]
    assert sh(workspace, "git", "status", "--porcelain") == ""


def test_a_push_killed_in_the_middle_leaves_whole_objects_and_the_next_one_sends_the_rest(
    toy: Path, emulator: Emulator, tmp_path: Path
) -> None:
    folder = tmp_path / "toy"
    shutil.copytree(toy, folder)
    (folder / "params.yaml").write_text((folder / "params.yaml").read_text().replace("files: 4", "files: 150"))
    reproduce(folder)
    use(folder, f"gs://{BUCKET}/killed")
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "dvc"), "push", "--jobs", "1"],
        cwd=folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while len(arrived := [path for path in (emulator.objects / "killed").rglob("*") if path.is_file()]) < 20:
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(arrived) < 150
    with pytest.raises(UserError, match=rf"gs://{BUCKET}/killed: \d of \d+ objects do not match dvc.lock: .* is missing") as found:
        judge(folder)
    assert "has other bytes" not in str(found.value)
    sent = re.search(r"(\d+) files? pushed", sh(folder, "dvc", "push"))
    assert sent and int(sent[1]) <= 152 - len(arrived)
    assert "holds all 152 objects" in judge(folder)


def test_a_byte_flipped_in_the_bucket_is_found_named_and_mended(pushed: Path, second: Path, emulator: Emulator) -> None:
    hurt = stored(emulator, pushed / "parts/part_2.bin")
    flip(hurt)
    assert "parts" in sh(second, "dvc", "pull", code=1)
    assert not (second / "parts/part_2.bin").exists()
    line = ours(second, "remote", "verify", "--download", code=1)
    assert f"1 of 6 objects do not match dvc.lock: parts/part_2.bin ({key(emulator, hurt).removeprefix('toy/')}) has other byte" in line
    assert "removed 2 object(s)" in ours(second, "remote", "mend")
    assert "2 files pushed" in sh(pushed, "dvc", "push")
    sh(second, "dvc", "pull")
    assert fingerprint(second / "parts") == fingerprint(pushed / "parts")


def test_what_was_lost_or_overwritten_in_the_bucket_is_found_though_a_push_sees_nothing_to_send(pushed: Path, emulator: Emulator) -> None:
    emulator.bucket().blob(key(emulator, stored(emulator, pushed / "parts/part_0.bin"))).delete()
    emulator.bucket().blob(key(emulator, stored(emulator, pushed / "model.json"))).upload_from_string("{}")
    assert "up to date" in sh(pushed, "dvc", "push")
    with pytest.raises(UserError) as found:
        judge(pushed, download=False)
    assert re.search(
        r"2 of 6 objects .* parts/part_0.bin \(files/md5/\S+\) is missing; model.json \(files/md5/\S+\) has other bytes: "
        r"run `python -m pipeline.remote mend`, then `dvc push`, where they were made$",
        str(found.value),
    )
    with opened(pushed) as repo:
        mend(repo)
    sh(pushed, "dvc", "push")
    judge(pushed)


@pytest.fixture
def copy(pushed: Path, tmp_path: Path) -> Path:
    """A copy of the pushed toy, to change."""
    shutil.copytree(pushed, tmp_path / "toy")
    return tmp_path / "toy"


def test_a_run_that_was_not_pushed_is_found(copy: Path) -> None:
    (copy / "params.yaml").write_text((copy / "params.yaml").read_text().replace("scale: 2", "scale: 3"))
    reproduce(copy)
    with pytest.raises(UserError, match=r"1 of 6 objects .* model.json \(files/md5/\S+\) is missing: run `dvc push`"):
        judge(copy, download=False)


def test_a_lock_that_lacks_a_stage_is_refused(copy: Path) -> None:
    (copy / "dvc.lock").unlink()
    with pytest.raises(UserError, match=r"^dvc.lock: parts: has no hash: run `dvc repro` and commit dvc.lock$"):
        judge(copy)


def test_a_bucket_that_does_not_exist_is_told_from_missing_data(copy: Path) -> None:
    use(copy, "gs://no-such-bucket/toy")
    with pytest.raises(UserError, match=r"^gs://no-such-bucket/toy: no such bucket: create it"):
        judge(copy)


def test_a_remote_elsewhere_is_one_line(copy: Path) -> None:
    use(copy, "s3://elsewhere/toy")
    with pytest.raises(UserError, match=r"^.dvc/config: url: 's3://elsewhere/toy': not an address like gs://NAME/FOLDER"):
        judge(copy)


def test_credentials_named_in_the_remotes_own_settings_are_used(copy: Path, tmp_path: Path) -> None:
    (copy / ".dvc/config.local").write_text(f"['remote \"storage\"']\n    credentialpath = {tmp_path / 'none.json'}\n")
    assert f"error: {tmp_path / 'none.json'}: no usable credentials:" in ours(copy, "remote", "check", code=1)
