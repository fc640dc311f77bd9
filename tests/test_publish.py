"""`card` and `publish` as a user runs them, on a small checkpoint under a real lock, against a stand-in hub over HTTP."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from clones import sh
from hub_standin import Hub, serve
from hub_uploads import TOKEN, USER
from huggingface_hub import ModelCard
from small_models import LABELS
from small_runs import commit
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline.errors import UserError
from pipeline.publishing.facts import Facts, read_facts
from pipeline.publishing.folder import check_replaceable
from pipeline.publishing.model_card import Tables, make_card
from pipeline.tables.exported import abstention
from pipeline.tables.results import results

REPOSITORY = f"{USER}/inbox"
REVISION = "0123456789abcdef0123456789abcdef01234567"
METRICS = ("abstention", "data", "evaluate", "features", "machine", "train")
STAGES = {
    "train": {"cmd": "true", "outs": ["models/tinybert"]},
    "evaluate": {
        "cmd": "true",
        "deps": ["models/tinybert"],
        "metrics": [{f"metrics/{name}.json": {"cache": False}} for name in METRICS],
    },
    "export": {"cmd": "true", "deps": ["models/tinybert"], "outs": ["models/onnx"]},
}


def write_tree(root: Path, project: Path) -> None:
    """A repository after a run: the figures are those of the sample, the checkpoint is a small one."""
    root.mkdir()
    for folder in ("metrics", "plots/evaluate"):
        shutil.copytree(folder, root / folder)
    for folder in ("models/tinybert", "models/onnx"):
        shutil.copytree(project / folder, root / folder)
    for name in ("params.yaml", "pyproject.toml", "requirements.lock", ".gitignore"):
        shutil.copy(name, root / name)
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}, sort_keys=False))
    sh(root, "git", "init", "--quiet", "--initial-branch", "main")
    sh(root, "dvc", "init", "--quiet")
    shutil.copy(".dvc/config", root / ".dvc/config")
    sh(root, "dvc", "commit", "--force", "--quiet")
    commit(root)


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Path:
    root = tmp_path_factory.mktemp("published") / "tree"
    write_tree(root, project)
    return root


@pytest.fixture
def tree(committed: Path, tmp_path: Path) -> Path:
    """A copy of the tree, which a test may soil."""
    return Path(shutil.copytree(committed, tmp_path / "tree", symlinks=True))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with serve(tmp_path / "hub", REVISION) as served:
        yield served


def variables(url: str, token: str | None) -> dict[str, str]:
    home = {"HF_HOME": str(Path(tempfile.gettempdir(), "no-such-home")), "HF_HUB_OFFLINE": "0"}
    return {"PYTHONPATH": str(Path.cwd()), "HF_ENDPOINT": url, "HF_TOKEN": token or ""} | home


def publish(root: Path, url: str, *options: str, token: str | None = TOKEN, code: int = 0) -> str:
    output = sh(root, sys.executable, "-m", "pipeline.publish", *options, code=code, variables=variables(url, token))
    if code:
        assert len([line for line in output.splitlines() if line.startswith("error: ")]) == 1, output
    return output


def held(hub: Hub) -> set[str]:
    """The files of the repository on the hub."""
    folder = hub.folder / REPOSITORY
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_dry_run_shows_every_file_and_asks_no_hub(tree: Path, hub: Hub) -> None:
    output = publish(tree, hub.url, "--onnx")
    assert hub.asked == []
    folder = tree / "build/publish"
    for path in (path for path in folder.rglob("*") if path.is_file()):
        assert f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.stat().st_size:>11,}  {path.relative_to(folder)}" in output
    assert {"README.md", "provenance.json", "model.safetensors", "onnx", "plots"} <= {path.name for path in folder.iterdir()}
    assert "nothing was uploaded: add --repo user/name --push" in output


@pytest.mark.slow
def test_what_is_published_loads_and_answers_as_the_checkpoint_does(tree: Path, hub: Hub, tmp_path: Path) -> None:
    output = publish(tree, hub.url, "--repo", REPOSITORY, "--push")
    assert f"published: {hub.url}/{REPOSITORY}/commit/{hub.uploads.heads[REPOSITORY]}" in output
    assert hub.uploads.private == {REPOSITORY: True}
    (lines,) = re.findall(r"```python\n(.*?)```", (hub.folder / REPOSITORY / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    longer = lines.replace("Can I choose another PIN in the app?", "card " * 600)
    assert longer != lines
    code = f"import json\n{longer}\nprint(json.dumps(classify('please help i lost my card', top_k=None)))"
    environment = os.environ | variables(hub.url, None) | {"HF_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = {row["label"]: row["score"] for row in json.loads(done.stdout.splitlines()[-1])}
    model = AutoModelForSequenceClassification.from_pretrained(tree / "models/tinybert")
    encoded = AutoTokenizer.from_pretrained(tree / "models/tinybert")("please help i lost my card", return_tensors="pt")
    expected = model(**encoded).logits.softmax(1)[0].tolist()
    assert answers == pytest.approx(dict(zip(LABELS, expected, strict=True)), abs=1e-6)


def test_the_provenance_vouches_for_every_file_on_the_hub(tree: Path, hub: Hub) -> None:
    publish(tree, hub.url, "--repo", REPOSITORY, "--push", "--onnx")
    folder = hub.folder / REPOSITORY
    told = json.loads((folder / "provenance.json").read_text())
    assert set(told["files"]) == held(hub) - {"provenance.json", ".gitattributes"}
    for name, entry in told["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == entry["sha256"], name
    assert told["commit"] == sh(tree, "git", "rev-parse", "HEAD").strip()
    assert told["lock_sha256"] == hashlib.sha256((tree / "dvc.lock").read_bytes()).hexdigest()
    lock = yaml.safe_load((tree / "dvc.lock").read_text())["stages"]
    assert told["outputs"]["models/tinybert"] == lock["train"]["outs"][0]["md5"]
    assert hub.uploads.messages[-1].startswith(told["commit"][:12])


def test_the_card_tells_the_runs_own_figures_and_the_hub_can_index_them(tree: Path) -> None:
    sh(tree, sys.executable, "-m", "pipeline.card", variables=variables("http://127.0.0.1:9", None))
    card = ModelCard.load(tree / "build/publish/README.md")
    student = json.loads(Path("metrics/evaluate.json").read_text())["tinybert"]
    results = {(result.metric_type, result.dataset_split): result.metric_value for result in card.data.eval_results or []}
    assert results[("accuracy", "test")] == student["accuracy"]
    assert results[("f1", "test")] == student["macro_f1"]
    assert results[("ece", "test")] == student["ece"]
    assert (card.data.license, card.data.base_model) == ("apache-2.0", ["sentence-transformers/all-MiniLM-L6-v2"])
    interval = f"{100 * student['accuracy']:.1f} [{100 * student['accuracy_low']:.1f}, {100 * student['accuracy_high']:.1f}]"
    assert interval in card.text
    assert str(json.loads(Path("metrics/train.json").read_text())["temperature"]) in card.text
    assert sh(tree, "git", "rev-parse", "HEAD").strip() in card.text
    titles = [line.removeprefix("## ") for line in card.text.splitlines() if line.startswith("## ")]
    wanted = ["Intended use", "Data", "Training", "Results", "Calibration", "What it does with out-of-scope queries", "Limits"]
    assert titles == [*wanted, "Cost and carbon", "Provenance"]
    for picture in ("reliability", "risk_coverage"):
        assert f"plots/{picture}.png" in card.text
        assert (tree / f"build/publish/plots/{picture}.png").read_bytes() == Path(f"plots/evaluate/{picture}.png").read_bytes()


@pytest.mark.parametrize("folder", ["/home/somebody/secret-client", "../secret-client"])
def test_the_card_does_not_tell_where_somebody_keeps_his_files(tree: Path, folder: str) -> None:
    params = yaml.safe_load((tree / "params.yaml").read_text())
    params["fetch"] |= {"train": f"{folder}/mails.csv", "test": f"{folder}/mails.csv"}
    params["evaluate"]["out_of_scope"] = str(tree / "data/sample/out_of_scope.csv")
    (tree / "params.yaml").write_text(yaml.safe_dump(params))
    output = sh(tree, sys.executable, "-m", "pipeline.card", variables=variables("http://127.0.0.1:9", None))
    assert "note: cannot be published: the working tree has changes" in output
    card = ModelCard.load(tree / "build/publish/README.md")
    assert "`mails.csv`" in card.text
    assert "with changes that are in no commit" in card.text
    assert card.data.license is None  # nobody said under what the data is
    for path in (tree / "build/publish").rglob("*"):
        assert not path.is_file() or b"secret-client" not in path.read_bytes(), path
    assert "`data/sample/out_of_scope.csv`" in card.text
    assert str(tree) not in card.text


def told(facts: Facts, **params: object) -> str:
    """The card, as one line, of a run with some other params (dots as two underscores)."""
    given = facts.params | {name.replace("__", "."): value for name, value in params.items()}
    card = make_card(facts._replace(params=given), Tables(results(), abstention(), ""), "someone/inbox", "inbox")
    return " ".join(card.content.split())


def test_the_card_names_teachers_and_copies_where_the_student_learnt_from_them_alone(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    facts = read_facts(tree)
    words = ("- distillation", "taught by an ensemble", "augmented copies", "TinyBERT, distilled", "(teacher)", "The teachers are")
    assert [word for word in words if word not in told(facts)] == []
    assert [word for word in words if word in told(facts, train__copies_per_epoch=0)] == [word for word in words if "copies" not in word]
    params = yaml.safe_load((tree / "params.yaml").read_text())
    (tree / "params.yaml").write_text(yaml.safe_dump(params | {"train": params["train"] | {"targets": "hard"}}))
    hard = told(read_facts(tree))
    assert [word for word in words if word in hard] == []
    assert "taught by the labels alone" in hard
    assert "TinyBERT, labels alone** (student)" in results()


def test_the_card_says_where_nothing_was_chosen_on_validation(committed: Path) -> None:
    facts = read_facts(committed)
    chosen = ("It was chosen on validation for a target", "fitted on validation")
    assert all(words in told(facts) for words in chosen)
    assert "in train too" not in told(facts)
    refit = facts._replace(metrics=facts.metrics | {"train": facts.metrics["train"] | {"validation_in_train": True}})
    card = told(refit, train__calibration_temperature=1.8, evaluate__threshold=0.0)
    assert not any(words in card for words in chosen)
    assert "The validation queries are in train too" in card


def test_the_card_says_that_the_samples_out_of_scope_texts_may_be_in_scope_elsewhere(committed: Path) -> None:
    facts = read_facts(committed)
    others = facts._replace(dataset=facts.dataset._replace(name="mails.csv"))
    assert "may rightly accept some" not in told(facts)
    assert "may rightly accept some" in told(others)
    assert "may rightly accept some" not in told(others, evaluate__out_of_scope="other_mail.csv")


def test_the_card_tells_the_cost_of_all_stages_by_the_same_recipe_on_the_same_cpu_alone(tree: Path) -> None:
    run = json.loads((tree / "metrics/reference/sample_seeds.json").read_text())
    for other in (tree / "metrics/reference").iterdir():
        other.unlink()
    cpu = json.loads((tree / "metrics/machine.json").read_text())["cpu"]
    run |= {"command": "make seeds SEEDS=4", "wall_seconds": dict.fromkeys(STAGES, 600.0), "cpu": cpu}
    run["params"] = yaml.safe_load((tree / "params.yaml").read_text())
    run["params"]["train"]["seed"] += 3
    file = tree / "metrics/reference/all_stages.json"
    file.write_text(json.dumps(run))
    measured = (
        "Measured in another run of the same recipe, `make seeds SEEDS=4`, over all stages, for the teachers and one student: 30 minutes"
    )
    assert measured in told(read_facts(tree))
    changes: list[dict[str, object]] = [
        {"wall_seconds": {"train": 600.0}},
        {"cpu": "another"},
        {"params": run["params"] | {"train": run["params"]["train"] | {"epochs": 99}}},
    ]
    for change in changes:
        file.write_text(json.dumps(run | change))
        assert "Not measured for this recipe on this CPU" in told(read_facts(tree))


def test_a_picture_that_is_not_there_is_one_line(tree: Path) -> None:
    (tree / "plots/evaluate/reliability.png").unlink()
    with pytest.raises(UserError, match=r"^plots/evaluate/reliability\.png: no such file: run `make repro`$"):
        read_facts(tree)


def test_graphs_that_were_not_measured_are_not_handed_on(tree: Path) -> None:
    (tree / "metrics/export.json").unlink()
    output = sh(tree, sys.executable, "-m", "pipeline.card", "--onnx", code=1, variables=variables("http://127.0.0.1:9", None))
    assert output == "error: metrics/export.json: no such file: run `make repro`\n"
    assert not (tree / "build/publish").exists()


def test_what_was_not_laid_out_here_is_not_replaced(tree: Path, tmp_path: Path) -> None:
    before = sh(tree, "git", "status", "--porcelain")
    output = sh(tree, sys.executable, "-m", "pipeline.card", "--output", ".", code=1, variables=variables("http://127.0.0.1:9", None))
    assert "error: .: already exists and holds no provenance.json: everything in it would be replaced: move it away" in output
    assert (sh(tree, "git", "status", "--porcelain"), (tree / "models").is_dir()) == (before, True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file: already exists and holds no"):
        check_replaceable(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/provenance.json").write_text("{}")
    for name in ("absent", "empty", "ours"):
        check_replaceable(tmp_path / name)


def change_the_checkpoint(root: Path) -> None:
    path = root / "models/tinybert/config.json"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content + b"\n")


def change_the_checkpoint_without_a_cache(root: Path) -> None:
    """DVC's status then says no more than that the cache lacks the folder."""
    change_the_checkpoint(root)
    shutil.rmtree(root / ".dvc/cache")


def add_a_note(root: Path) -> None:
    (root / "notes.txt").write_text("mine")


def better_the_figures(root: Path) -> None:
    path = root / "metrics/evaluate.json"
    path.write_text(path.read_text().replace("0.8", "0.9", 1))
    commit(root, "better figures")


def better_the_figures_and_lock_them(root: Path) -> None:
    path = root / "metrics/evaluate.json"
    figures = json.loads(path.read_text())
    figures["tinybert"]["accuracy"] = 0.99
    path.write_text(json.dumps(figures))
    sh(root, "dvc", "commit", "--force", "--quiet", "evaluate")
    commit(root, "better figures under their own lock")


def turn_a_knob(root: Path) -> None:
    path = root / "dvc.yaml"
    path.write_text(path.read_text().replace("cmd: 'true'", "cmd: 'true --fast'", 1))
    commit(root, "faster")


def remove_the_checkpoint(root: Path) -> None:
    shutil.rmtree(root / "models/tinybert")


@pytest.mark.parametrize(
    ("soil", "told"),
    [
        (change_the_checkpoint, "models/tinybert: its hash is"),
        (change_the_checkpoint_without_a_cache, "models/tinybert: its hash is"),
        (add_a_note, "the working tree has changes that are in no commit"),
        (better_the_figures, "dvc.lock: evaluate: changed outs: metrics/evaluate.json: modified"),
        (better_the_figures_and_lock_them, "metrics/evaluate.json: tinybert: accuracy is 0.99, by metrics/predictions.csv 0."),
        (turn_a_knob, "dvc.lock: train: changed command"),
        (remove_the_checkpoint, "models/tinybert: no such folder: run `make repro`"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_the_lock_does_not_vouch_for_is_refused(tree: Path, hub: Hub, soil: Callable[[Path], None], told: str) -> None:
    soil(tree)
    assert told in publish(tree, hub.url, "--repo", REPOSITORY, "--push", code=1)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("token", "repository", "told"),
    [
        ("hf_wrong", REPOSITORY, "the hub does not know this token: run `hf auth login`, or set HF_TOKEN"),
        (None, REPOSITORY, "the hub asks who you are: run `hf auth login`, or set HF_TOKEN"),
        (
            TOKEN,
            "stranger/inbox",
            "stranger/inbox: the hub does not allow it: You don't have the rights to create a model under this namespace: "
            "if it is the token, use one of stranger's with the right to write",
        ),
        (TOKEN, "someone/in box", "--repo someone/in box: "),
    ],
    ids=["a wrong token", "no token", "a stranger's place", "no name"],
)
def test_who_may_not_publish_reads_one_line(tree: Path, hub: Hub, token: str | None, repository: str, told: str) -> None:
    output = publish(tree, hub.url, "--repo", repository, "--push", token=token, code=1)
    assert told in output
    assert not token or token not in output
    assert hub.uploads.heads == {}


@pytest.mark.parametrize("repository", ["inbox", "a/b/c", "someone/", ""])
def test_a_repository_without_an_owner_is_refused_before_anything_is_made(tree: Path, hub: Hub, repository: str) -> None:
    assert "user/name" in publish(tree, hub.url, "--repo", repository, "--push", code=1)
    assert hub.asked == []
    assert not (tree / "build/publish").exists()


def test_a_push_without_a_name_or_without_a_hub_is_one_line(tree: Path) -> None:
    assert "with --repo user/name (`make publish REPO=user/name PUSH=1`)" in publish(tree, "http://127.0.0.1:9", "--push", code=1)
    output = publish(tree, "http://127.0.0.1:9", "--repo", REPOSITORY, "--push", code=1)
    assert "cannot be reached" in output
    assert "no file there was changed; run again" in output


@pytest.mark.parametrize("part", ["/large/", "/commit/"])
def test_an_upload_that_fails_leaves_the_repository_as_it_was_and_the_next_one_completes_it(tree: Path, hub: Hub, part: str) -> None:
    hub.uploads.stop_at = part
    output = publish(tree, hub.url, "--repo", REPOSITORY, "--push", code=1)
    assert "no file there was changed; run again" in output
    assert held(hub) == {".gitattributes"}
    sent = list(hub.uploads.received)
    hub.uploads.stop_at = None
    publish(tree, hub.url, "--repo", REPOSITORY, "--push")
    assert {"README.md", "model.safetensors", "provenance.json"} <= held(hub)
    assert hub.uploads.received[: len(sent)] == sent
    assert len(set(hub.uploads.received)) == len(hub.uploads.received)  # what had arrived is not sent again
    assert len(hub.uploads.messages) == 2  # the hub's own first commit, and one


def test_a_killed_upload_leaves_the_repository_as_it_was(tree: Path, hub: Hub) -> None:
    hub.uploads.stop_at, hub.uploads.hang = "/large/", True
    command = [sys.executable, "-m", "pipeline.publish", "--repo", REPOSITORY, "--push"]
    with subprocess.Popen(command, cwd=tree, env=os.environ | variables(hub.url, TOKEN), stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not any("/large/" in path for path in hub.asked) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    assert any("/large/" in path for path in hub.asked)
    assert held(hub) == {".gitattributes"}
    hub.uploads.stop_at = None
    publish(tree, hub.url, "--repo", REPOSITORY, "--push")
    assert "provenance.json" in held(hub)


def test_the_repository_holds_the_last_published_files_and_no_others(tree: Path, hub: Hub) -> None:
    publish(tree, hub.url, "--repo", REPOSITORY, "--push", "--onnx", "--public")
    assert hub.uploads.private == {REPOSITORY: False}
    assert "onnx/int8.onnx" in held(hub)
    assert "removed there: onnx/int8.onnx" in publish(tree, hub.url, "--repo", REPOSITORY, "--push", "--public")
    assert not [name for name in held(hub) if name.startswith("onnx/")]


@pytest.mark.parametrize(
    ("visibility", "options", "line"),
    [
        ("public", (), "is public, and --public was not: name another repository"),
        ("private", ("--public",), "is private, and --public was given: name another repository"),
    ],
)
def test_a_repository_that_is_there_keeps_its_visibility_or_is_left_alone(
    tree: Path, hub: Hub, visibility: str, options: tuple[str, ...], line: str
) -> None:
    hub.uploads.create({"name": "inbox", "visibility": visibility}, hub.url)
    assert f"{REPOSITORY}: {line}" in publish(tree, hub.url, "--repo", REPOSITORY, "--push", *options, code=1)
    assert held(hub) == {".gitattributes"}


@pytest.mark.parametrize(("value", "options"), [("1", "--push --onnx --public"), ("0", ""), ("", "")])
def test_make_passes_on_what_is_one(value: str, options: str) -> None:
    given = [f"{name}={value}" for name in ("PUSH", "ONNX", "PUBLIC")]
    output = sh(Path(), "make", "--dry-run", "--no-print-directory", "--assume-old=.venv/installed", "publish", *given)
    assert output.splitlines()[-1].split() == ["python", "-m", "pipeline.publish", *options.split()]


def test_a_repository_that_publish_did_not_make_is_left_alone_unless_told(tree: Path, hub: Hub) -> None:
    hub.uploads.create({"name": "inbox", "visibility": "private"}, hub.url)
    (hub.folder / REPOSITORY / "adapter.safetensors").write_bytes(b"another's work")
    before = held(hub)
    output = publish(tree, hub.url, "--repo", REPOSITORY, "--push", code=1)
    assert "it was not made by this command: name another repository, or pass --replace" in output
    assert held(hub) == before
    publish(tree, hub.url, "--repo", REPOSITORY, "--push", "--replace")
    assert "adapter.safetensors" not in held(hub)
