"""The workflows `pipeline` and `comment`, executed as they stand in the YAML: in real clones, against a stand-in for GitHub's API."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from clones import STAGES, Run, link_environment, sh, stages_run, users_csv
from github_standin import BOT, REPOSITORY, TOKEN, GitHub, serve_github
from runner_standin import Action, Inputs, Runner, load_workflow
from small_runs import commit, labels, predict, write_run

FORK = "stranger/intents"
SHA = "0123456789abcdef0123456789abcdef01234567"
MARKER = "<!-- tinybert-intents report -->"
WORKFLOWS = sorted(Path(".github/workflows").glob("*.yaml"))


@pytest.fixture
def github() -> Iterator[GitHub]:
    with serve_github() as hub:
        yield hub


def link_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=os.link, dirs_exist_ok=True, ignore_dangling_symlinks=True)


@dataclass
class Office:
    """A repository on GitHub, somebody's clone of it, and the runners that work on its pull requests."""

    origin: Path
    desk: Path  # where the pull request is written
    first: dict[str, Path]  # what the run that `main` holds left to actions/cache, by its key
    scratch: Path
    hub: GitHub
    runs: int = 0
    caches: dict[str, Path] = field(default_factory=dict)

    def begin(self) -> None:
        """The desk and the cache as `main` left them."""
        self.caches = self.first
        sh(self.desk, "git", "checkout", "--quiet", "--force", "--detach", "origin/main")

    def push(self, branch: str, message: str) -> str:
        """What changed in the working tree, as a commit on a branch."""
        sh(self.desk, "git", "add", "--all")
        sh(self.desk, "git", "commit", "--quiet", "-m", message)
        sh(self.desk, "git", "push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
        return sh(self.desk, "git", "rev-parse", "HEAD").strip()

    def set_learning_rate(self, value: float) -> None:
        path = self.desk / "configs/config.yaml"
        text, count = re.subn(r"^  learning_rate: \S+", f"  learning_rate: {value}", path.read_text(), flags=re.MULTILINE)
        assert count == 1
        path.write_text(text)
        sh(self.desk, "python", "-m", "pipeline.compose")

    def set_budget(self, name: str, value: float) -> None:
        path = self.desk / "pyproject.toml"
        path.write_text(re.sub(rf"^{name} = \S+", f"{name} = {value}", path.read_text(), flags=re.MULTILINE))

    def set_defaults(self, clone: Path) -> None:
        """Makes configs/ compose to the params of the first run, so that a plain `dvc exp run` is a small one."""
        new = {
            "config.yaml": [("data: sample", "data: csv"), ("experiment: null", "experiment: smoke")],
            "data/csv.yaml": [
                ("SET_fetch.train_TO_YOUR.csv", str(users_csv(clone))),
                ("text_column: text", "text_column: message"),
                ("label_column: label", "label_column: team"),
            ],
        }
        for name, replacements in new.items():
            path = self.desk / "configs" / name
            for old, text in replacements:
                assert old in path.read_text()
                path.write_text(path.read_text().replace(old, text))
        sh(self.desk, "python", "-m", "pipeline.compose")
        assert sh(self.desk, "git", "diff", "params.yaml") == ""

    def lock_otherwise(self, change: dict[str, str]) -> None:
        """A lock that no run made, under which everything still agrees: other hashes, and what git holds written over."""
        lock = (self.desk / "dvc.lock").read_text()
        for old, new in change.items():
            assert old in lock
            lock = lock.replace(old, new)
        (self.desk / "dvc.lock").write_text(lock)
        assert "matches the code" in sh(self.desk, "python", "-m", "pipeline.verify", "--commit")

    def invented_checkpoint(self) -> dict[str, str]:
        """The hash of the checkpoint, and one of none."""
        outs = yaml.safe_load((self.desk / "dvc.lock").read_text())["stages"]["train"]["outs"]
        return {out["md5"]: "0" * 32 + ".dir" for out in outs if out["path"] == "models/tinybert"}

    def foreign_checkpoint(self) -> dict[str, str]:
        """The hash of the checkpoint, and that of another, which an earlier commit of the pull request has left in its cache."""
        [honest] = self.invented_checkpoint()
        [(key, first)] = self.first.items()
        cache = self.scratch / "foreign"
        link_tree(first, cache)

        def keep(content: bytes, suffix: str = "") -> str:
            md5 = hashlib.md5(content).hexdigest()
            path = cache / "files/md5" / md5[:2] / (md5[2:] + suffix)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            return md5 + suffix

        listed = json.loads((cache / "files/md5" / honest[:2] / honest[2:]).read_bytes())
        listed.append({"md5": keep(b"foreign"), "relpath": "foreign"})
        self.caches = {key: cache}
        return {honest: keep(json.dumps(listed).encode(), ".dir")}

    def invented_metric(self, name: str, old: str, new: str) -> dict[str, str]:
        """Rewrites a file of metrics; its hashes and sizes as the lock has them."""
        path = self.desk / "metrics" / name
        before = path.read_bytes()
        after = re.sub(old, new, before.decode(), count=1).encode()
        path.write_bytes(after)
        entries = [f"md5: {hashlib.md5(content).hexdigest()}\n      size: {len(content)}\n" for content in (before, after)]
        return {entries[0]: entries[1]}

    def run_pipeline(self, number: int, branch: str, base: str = "main") -> tuple[Runner, Path]:
        """Executes `pipeline` on a pull request merged into its base; returns the run and the artifact."""
        self.runs += 1
        workspace, artifact = self.scratch / f"workspace{self.runs}", self.scratch / f"artifact{self.runs}"

        def check_out(inputs: Inputs) -> None:
            assert inputs == {"fetch-depth": "0", "persist-credentials": "False"}
            sh(Path(), "git", "clone", "--quiet", "--branch", base, str(self.origin), str(workspace))
            who = ["-c", "user.name=GitHub", "-c", "user.email=noreply@example.org"]
            sh(workspace, "git", "checkout", "--quiet", "--detach", base)
            sh(workspace, "git", *who, "merge", "--quiet", "--no-ff", "-m", "Merge", f"origin/{branch}")

        def restore_cache(inputs: Inputs) -> dict[str, str]:
            assert inputs["path"] == ".dvc/cache"
            for key in [key for key in self.caches if key.startswith(inputs["restore-keys"])]:
                link_tree(self.caches[key], workspace / ".dvc/cache")
            return {"cache-hit": "false", "cache-primary-key": inputs["key"]}

        def save_cache(inputs: Inputs) -> None:
            assert inputs["path"] == ".dvc/cache"
            self.caches = {inputs["key"]: self.scratch / f"cache{self.runs}"}
            link_tree(workspace / ".dvc/cache", self.caches[inputs["key"]])

        def upload(inputs: Inputs) -> None:
            shutil.copytree(workspace / inputs["path"], artifact)

        machine = self.scratch / f"machine{self.runs}"
        machine.mkdir()
        actions = {
            "actions/checkout": check_out,
            "actions/setup-python": lambda _: link_environment(workspace),
            "actions/cache/restore": restore_cache,
            "actions/cache/save": save_cache,
            "actions/upload-artifact": upload,
        }
        variables = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": REPOSITORY, "GITHUB_RUN_ID": str(self.runs)}
        github = {"event": {"pull_request": {"number": number}}, "base_ref": base}
        runner = Runner(workspace, machine, {"github": github}, variables, actions)
        runner.run(load_workflow("pipeline"), "pipeline")
        return runner, artifact


@pytest.fixture(scope="module")
def office(clone: Path, first_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    root = tmp_path_factory.mktemp("office")
    sh(clone, "git", "clone", "--quiet", "--bare", ".", str(root / "origin"))
    sh(root / "origin", "git", "branch", "--force", "main", "HEAD")
    sh(root, "git", "clone", "--quiet", "--branch", "main", str(root / "origin"), str(root / "desk"))
    for setting in (("user.email", "stranger@example.org"), ("user.name", "stranger")):
        sh(root / "desk", "git", "config", *setting)
    link_tree(clone / ".dvc/cache", root / "cache")
    link_environment(root / "desk")
    machine = run_steps(root / "desk", root / "machine", "Class of machine").contexts["steps"]["machine"]["outputs"]["class"]
    with serve_github() as hub:
        office = Office(root / "origin", root / "desk", {f"dvc-{machine}-first": root / "cache"}, root, hub)
        office.set_budget("ece", 0.0)  # which nothing meets
        office.set_defaults(clone)
        office.push("main", "a strict budget; the small run as the default")
        yield office


def run_comment(
    hub: GitHub,
    checkout: Path,
    scratch: Path,
    artifact: Path,
    sha: str = SHA,
    branch: str = "warmer",
    repository: str = REPOSITORY,
    cml: str | None = None,
) -> Runner:
    """Executes `comment` after a run of `pipeline`: `checkout` is the default branch, `cml` the script that plays CML."""
    scratch.mkdir()
    run = {
        "id": 7,
        "event": "pull_request",
        "conclusion": "success",
        "head_sha": sha,
        "head_branch": branch,
        "head_repository": {"full_name": repository},
        "html_url": f"https://github.com/{REPOSITORY}/actions/runs/7",
    }
    (scratch / "event.json").write_text(json.dumps({"workflow_run": run}))
    if cml is not None:
        (scratch / "bin").mkdir()
        (scratch / "bin/cml").write_text(f"#!/bin/bash\n{cml}\n")
        (scratch / "bin/cml").chmod(0o755)

    def download(inputs: Inputs) -> None:
        assert inputs["run-id"] == "7"
        assert Path(inputs["path"]).parent == scratch  # beside the checkout, not in it
        shutil.copytree(artifact, inputs["path"], symlinks=True)

    actions = {"actions/checkout": lambda _: None, "actions/download-artifact": download, "iterative/setup-cml": lambda _: None}
    variables = {
        "GITHUB_API_URL": hub.url,
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_RUN_ID": "8",
        "GITHUB_EVENT_PATH": str(scratch / "event.json"),
    }
    runner = Runner(checkout, scratch, {"github": {"event": {"workflow_run": run}, "token": TOKEN}}, variables, actions)
    assert runner.run(load_workflow("comment"), "comment")
    return runner


def write_artifact(folder: Path, number: str = "5", report: str = f"{MARKER}\n\n# Better\n") -> Path:
    folder.mkdir()
    (folder / "number").write_text(number)
    (folder / "report.md").write_text(report)
    return folder


# Whole runs


@pytest.mark.slow
def test_a_pull_request_is_judged_brings_its_results_passes_and_breaks(office: Office, clone: Path, tmp_path: Path) -> None:
    """From a fork: it changes train.learning_rate, then commits the results of that run, then a rate that is none."""
    office.begin()
    patch = judge_a_change(office, clone, tmp_path)
    pass_with_its_results(office, clone, tmp_path, patch)
    break_a_stage(office, clone, tmp_path)


def judge_a_change(office: Office, clone: Path, tmp_path: Path) -> Path:
    """The first run trains anew and posts one comment. Returns the patch that it hands over."""
    office.set_learning_rate(0.0012)  # as no other test does: the run cache would know it
    sha = office.push("warmer", "a higher learning rate")
    office.hub.open_pull_request(5, sha, "warmer", FORK)
    run, artifact = office.run_pipeline(5, "warmer")
    assert stages_run(run.printed["Pipeline"]) == ["train", "evaluate", "export"], run.printed
    assert run.outcomes["Report of a failure"] == "skipped"
    assert "ece" in run.printed["Report and gate"].lower()
    assert failures(run) == ["Does the lock belong to this change?", "Report and gate"]
    report = (artifact / "report.md").read_text()
    assert report.startswith(MARKER)
    assert report in run.summary
    assert list(artifact.rglob("*.png"))
    said = run_comment(office.hub, clone, tmp_path / "first", artifact, sha, repository=FORK)
    assert not said.failed, said.printed
    assert said.outcomes["Post with CML"] == "failure"  # there is none on this machine
    [comment] = office.hub.comments[5]
    assert comment["user"]["login"] == BOT
    assert comment["body"].startswith(MARKER)
    assert sha[:12] in comment["body"]
    assert "train.learning_rate" in comment["body"]
    assert "`git merge origin/main`" in comment["body"]
    assert "`git apply --index results.patch`" in comment["body"]
    return artifact / "results.patch"


def pass_with_its_results(office: Office, clone: Path, tmp_path: Path, patch: Path) -> None:
    """The second run holds them to one of its own, is green and updates the same comment."""
    [before] = [comment["id"] for comment in office.hub.comments[5]]
    sh(office.desk, "git", "apply", "--index", str(patch))
    changed = set(sh(office.desk, "git", "diff", "--cached", "--name-only").split())
    assert {"dvc.lock", "metrics/evaluate.json", "README.md", "docs/tour.ipynb"} <= changed
    office.set_budget("ece", 1.0)
    office.set_budget("accuracy_drop", 1.0)
    office.set_budget("macro_f1_drop", 1.0)
    office.set_budget("significance", 0.000001)
    sh(office.desk, "python", "-m", "pipeline.tables", "--write")  # docs/verdict.md tells what the budgets make of the noise
    sha = office.push("warmer", "its results, and milder budgets")
    files = [f"tests/test_{name}.py" for name in ("documents", "tour", "structure")]
    assert "skipped" not in sh(office.desk, "pytest", "-q", *files, "-k", "generated or kept or committed_params")
    office.hub.open_pull_request(5, sha, "warmer", FORK)
    run, artifact = office.run_pipeline(5, "warmer")
    assert not run.failed, run.printed
    assert stages_run(run.printed["Pipeline"]) == STAGES  # though the cache that the first run left has them
    assert "bit-identical" in run.printed["Do the committed results hold?"]
    assert not (artifact / "results.patch").exists()
    said = run_comment(office.hub, clone, tmp_path / "second", artifact, sha, repository=FORK)
    assert not said.failed, said.printed
    [comment] = office.hub.comments[5]
    assert comment["id"] == before
    assert sha[:12] in comment["body"]
    assert "train.learning_rate" in comment["body"]
    assert "results.patch" not in comment["body"]


def break_a_stage(office: Office, clone: Path, tmp_path: Path) -> None:
    """The third run says which stage failed and why, in the same comment."""
    office.set_learning_rate(-1.0)
    sha = office.push("warmer", "a learning rate that is none")
    office.hub.open_pull_request(5, sha, "warmer", FORK)
    run, artifact = office.run_pipeline(5, "warmer")
    assert failures(run) == ["Does the lock belong to this change?", "Pipeline"]
    assert run.outcomes["Report and gate"] == "skipped"
    said = run_comment(office.hub, clone, tmp_path / "third", artifact, sha, repository=FORK)
    assert not said.failed, said.printed
    [comment] = office.hub.comments[5]
    assert "## The pipeline failed in stage `train`" in comment["body"]
    assert "error: params.yaml: train.learning_rate: -1.0: input should be greater than 0" in comment["body"]
    assert f"https://github.com/{REPOSITORY}/actions/runs/{office.runs}" in comment["body"]
    assert "The pipeline failed" in run.summary


@pytest.mark.slow
def test_results_that_no_run_made_are_found_and_replaced_by_the_patch(office: Office) -> None:
    """Nor does the cache vouch for them: an earlier commit of the pull request, force-pushed away, may have filled it."""
    office.begin()
    office.set_budget("ece", 1.0)
    office.push("honest", "a budget that can be met")
    honest = yaml.safe_load((office.desk / "dvc.lock").read_text())
    figures = office.invented_metric("evaluate.json", r'"nll": [\d.]+', '"nll": 0.000001')
    office.lock_otherwise(figures | office.foreign_checkpoint())
    office.push("forged", "better than they are")
    run, artifact = office.run_pipeline(6, "forged", "honest")
    assert stages_run(run.printed["Pipeline"]) == STAGES, run.printed
    assert failures(run) == ["Do the committed results hold?", "Fail where they do not hold"], run.printed
    line = "error: dvc.lock: does not hold on the class of machine it was made on: these outputs differ: "
    line += "models/tinybert, metrics/evaluate.json\n"
    assert run.printed["Do the committed results hold?"].endswith(line)
    assert line in (artifact / "report.md").read_text()
    sh(office.desk, "git", "apply", "--index", str(artifact / "results.patch"))
    assert yaml.safe_load((office.desk / "dvc.lock").read_text()) == honest


@pytest.mark.slow
def test_a_change_of_words_alone_is_no_change_where_the_lock_is_of_another_class_of_machine(office: Office) -> None:
    """The stages whose outputs this machine cannot have run anew, and end with other bits; they are not what is judged."""
    office.begin()
    office.set_budget("ece", 1.0)
    machine = office.invented_metric("machine.json", r'"cpu": "[^"]*"', '"cpu": "another"')
    office.lock_otherwise(office.invented_checkpoint() | machine)
    office.push("elsewhere", "a run on another machine")
    (office.desk / "README.md").write_text((office.desk / "README.md").read_text() + "\nA word more.\n")
    office.push("words", "a word more")
    run, artifact = office.run_pipeline(7, "words", "elsewhere")
    assert not run.failed, run.printed
    assert stages_run(run.printed["Pipeline"])[:1] == ["train"]
    report = (artifact / "report.md").read_text()
    assert "No change: every" in report
    assert "verified within 0.03: another class of machine" in report
    assert not (artifact / "results.patch").exists()


@pytest.mark.slow
def test_the_walk_through_goes_from_an_experiment_to_a_branch_with_its_verdict(office: Office) -> None:
    walker = office.scratch / "walker"
    sh(Path(), "git", "clone", "--quiet", "--branch", "main", str(office.origin), str(walker))
    link_environment(walker)
    link_tree(next(iter(office.first.values())), walker / ".dvc/cache")
    blocks = re.findall(r"```bash\n(.*?)```", Path("docs/pull-requests.md").read_text(encoding="utf-8"), re.DOTALL)
    printed = {line: sh(walker, "bash", "-c", line) for block in blocks for line in block.splitlines()}
    [ran] = [output for line, output in printed.items() if line.startswith("dvc exp run")]
    assert set(stages_run(ran)) <= {"train", "evaluate", "export"}
    [report] = [output for line, output in printed.items() if "pipeline.report" in line]
    assert report.startswith(MARKER)
    assert "train.learning_rate" in report
    assert "faster" in printed["dvc exp list origin"]
    changed = sh(walker, "git", "diff", "--name-only", "origin/main", "origin/try-faster").split()
    assert {"configs/config.yaml", "params.yaml", "dvc.lock", "metrics/evaluate.json", "metrics/predictions.csv"} <= set(changed)
    assert sh(walker, "git", "status", "--porcelain") == ""
    assert "up to date" in sh(walker, "dvc", "status")


# Steps of `pipeline` by themselves


def run_steps(workspace: Path, scratch: Path, *names: str, actions: dict[str, Action] | None = None, **outcomes: str) -> Runner:
    """Executes steps of `pipeline`, after earlier ones that ended as told, by their ids."""
    steps = [step for step in load_workflow("pipeline")["jobs"]["pipeline"]["steps"] if step.get("name") in names]
    assert len(steps) == len(names)
    scratch.mkdir(exist_ok=True)
    before = {name: {"outcome": outcome} for name, outcome in outcomes.items()}
    runner = Runner(workspace, scratch, {"steps": before}, {}, actions or {})
    runner.run({"defaults": {"run": {"shell": "bash"}}, "jobs": {"pipeline": {"steps": steps}}}, "pipeline")
    return runner


def failures(run: Runner) -> list[str]:
    return [name for name, outcome in run.outcomes.items() if outcome == "failure"]


def play_python(root: Path, script: str) -> None:
    """A repository whose environment's Python is a script."""
    (root / ".venv/bin").mkdir(parents=True)
    (root / ".venv/bin/python").write_text(f"#!/bin/bash\n{script}\n")
    (root / ".venv/bin/python").chmod(0o755)
    (root / ".gitignore").write_text("/.venv/\n/build/\n")
    (root / "build/report").mkdir(parents=True)


def play_no_install(root: Path) -> None:
    """A repository whose environment is this one."""
    play_python(root, f'PYTHONPATH={shlex.quote(str(Path.cwd()))} exec {shlex.quote(sys.executable)} "$@"')


def test_the_first_commit_of_a_repository_is_compared_with_itself_and_every_other_with_its_parent(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    play_python(root, 'echo "$@" > build/asked')
    for base in ("HEAD", "HEAD^1"):
        commit(root, base)
        run = run_steps(root, tmp_path / "scratch", "Report and gate")
        assert not run.failed, run.printed
        assert f"pipeline.report --base {base} --output" in (root / "build/asked").read_text()
        (root / "file").touch()


@pytest.mark.parametrize(("proof", "failed"), [("success", True), ("failure", False), ("skipped", False)])
def test_results_that_hold_are_judged_as_committed_and_else_the_run_is(tmp_path: Path, proof: str, failed: bool) -> None:
    """A commit that is much worse than its base, and a run of it that is not."""
    root, truth = tmp_path / "tree", labels(300)
    play_no_install(root)
    for wrong in (range(10), range(60)):
        write_run(root, truth, predict(truth, wrong))
        commit(root)
    write_run(root, truth, predict(truth, range(10)))
    run = run_steps(root, tmp_path / "scratch", "Report and gate", proof=proof)
    assert run.failed == failed, run.printed
    assert ("error: accuracy fell" in (root / "build/log").read_text()) == failed
    assert (root / "build/report/report.md").exists()


def test_each_class_of_machine_has_a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play_no_install(tmp_path / "tree")
    classes = set()
    for capability in ("", "default"):  # torch without the CPU's wide instructions
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", capability)
        run = run_steps(tmp_path / "tree", tmp_path / "scratch", "Class of machine")
        assert not run.failed, run.printed
        classes.add(run.contexts["steps"]["machine"]["outputs"]["class"])
    assert len(classes) == 2
    [restore] = [step for step in load_workflow("pipeline")["jobs"]["pipeline"]["steps"] if step.get("id") == "cache"]
    prefix = "dvc-${{ steps.machine.outputs.class }}-"
    assert restore["with"]["restore-keys"] == prefix
    assert restore["with"]["key"].startswith(prefix)


@pytest.mark.parametrize("locked", [True, False], ids=["with a lock", "without a lock"])
def test_the_results_of_a_run_are_committed_whole_new_files_too_as_the_documents_tell(tmp_path: Path, locked: bool) -> None:
    """On a branch whose base has moved, and with it the lock."""
    desk, origin, workspace = tmp_path / "desk", tmp_path / "origin", tmp_path / "workspace"
    play_python(desk, "true")
    for folder in ("metrics", "plots", "docs"):
        (desk / folder).mkdir()
        (desk / folder / "old.json").touch()
    if locked:
        (desk / "dvc.lock").touch()
    commit(desk)
    sh(tmp_path, "git", "clone", "--quiet", "--bare", "desk", "origin")
    sh(desk, "git", "remote", "add", "origin", str(origin))
    sh(desk, "git", "fetch", "--quiet", "origin")
    sh(desk, "git", "switch", "--quiet", "--create", "change")
    (desk / "params.yaml").write_text("a change\n")
    commit(desk, "a change")
    sh(desk, "git", "push", "--quiet", "--set-upstream", "origin", "change")
    sh(desk, "git", "switch", "--quiet", "main")
    for name in ["other.py", *(["dvc.lock"] if locked else [])]:
        (desk / name).write_text("another change\n")
    commit(desk, "another change")
    sh(desk, "git", "push", "--quiet", "origin", "main")
    sh(desk, "git", "update-ref", "refs/remotes/origin/main", "change~1")  # as of yesterday
    sh(desk, "git", "switch", "--quiet", "change")

    sh(tmp_path, "git", "clone", "--quiet", "--branch", "main", "origin", "workspace")
    who = ["-c", "user.name=GitHub", "-c", "user.email=noreply@example.org"]
    sh(workspace, "git", *who, "merge", "--quiet", "--no-ff", "-m", "Merge", "origin/change")
    results = {"dvc.lock", "metrics/old.json", "metrics/new.json", "plots/new.png", "data/.gitignore"}
    for name in results:
        (workspace / name).parent.mkdir(exist_ok=True)
        (workspace / name).write_bytes(b"\x00results")
    (workspace / "build/report").mkdir(parents=True)
    run = run_steps(workspace, tmp_path / "scratch", "Results as a patch", proof="skipped")
    assert not run.failed, run.printed

    shutil.copy(workspace / "build/report/results.patch", desk)
    [block] = re.findall(r"```text\n(.*?)```", Path("docs/pull-requests.md").read_text(encoding="utf-8"), re.DOTALL)
    for line in block.splitlines():
        sh(desk, "bash", "-c", line)
    assert sh(desk, "git", "status", "--porcelain") == "?? results.patch\n"
    assert set(sh(desk, "git", "show", "--name-only", "--format=").split()) == results
    assert sh(desk, "git", "rev-parse", "HEAD") == sh(origin, "git", "rev-parse", "change")
    text = Path(".github/workflows/pipeline.yaml").read_text(encoding="utf-8")
    assert {line in text for line in block.splitlines() if re.match("git (fetch|apply)", line)} == {True}
    assert not re.search(r"git apply (?!--index)", text)


def test_documents_that_cannot_be_made_hide_neither_the_report_nor_the_patch(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    say = "echo 'error: docs/tour.ipynb: the kernel died'; exit 1"
    play_python(root, f'case "$2" in pipeline.tour) {say};; pipeline.report) echo "# Report" > "$6/report.md";; esac')
    for name in ("dvc.lock", "metrics/old.json", "plots/old.png", "docs/old.md"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    commit(root)
    (root / "dvc.lock").write_text("of the run\n")
    (root / "build/lock").write_text("error: dvc.lock: does not match the files in the tree\n")
    names = ("Documents and notebook of the run", "Results as a patch", "Report and gate", "Report of a failure", "Note on the lock")
    last = ("Job summary", "Hand over", "Fail where they do not hold")
    actions: dict[str, Action] = {"actions/upload-artifact": lambda _: None}
    run = run_steps(root, tmp_path / "scratch", *names, *last, actions=actions, lock="failure", pipeline="success", proof="skipped")
    assert run.failed
    assert failures(run) == ["Documents and notebook of the run", "Fail where they do not hold"], run.printed
    assert "+of the run" in (root / "build/report/results.patch").read_text()
    assert "error: docs/tour.ipynb: the kernel died\n" in (root / "build/log").read_text()
    assert run.summary.startswith("# Report\n")
    assert "error: dvc.lock: does not match the files in the tree\nerror: docs/tour.ipynb: the kernel died\n" in run.summary


# The artifact is a stranger's


@pytest.mark.parametrize("number", ["5; rm -rf .", "$(id)", "5\n6", "-5", "0", "\N{FULLWIDTH DIGIT FIVE}", "", "9" * 400, "../pulls/5"])
def test_a_number_that_is_none_is_refused(github: GitHub, clone: Path, tmp_path: Path, number: str) -> None:
    github.open_pull_request(5, SHA, "warmer")
    run = run_comment(github, clone, tmp_path / "run", write_artifact(tmp_path / "artifact", number))
    assert [name for name, outcome in run.outcomes.items() if outcome == "failure"] == ["Check"]
    assert run.printed["Check"].startswith("error: number: ")
    assert run.printed["Check"].count("\n") == 1
    assert github.writes == []


@pytest.mark.parametrize(
    ("sha", "branch", "repository"), [(SHA, "other", REPOSITORY), (SHA, "warmer", FORK), ("f" * 40, "other", REPOSITORY)]
)
def test_the_number_of_somebody_elses_pull_request_is_refused(
    github: GitHub, clone: Path, tmp_path: Path, sha: str, branch: str, repository: str
) -> None:
    github.open_pull_request(5, sha, branch, repository)
    run = run_comment(github, clone, tmp_path / "run", write_artifact(tmp_path / "artifact"))
    assert "nothing is posted" in run.printed["Check"]
    assert run.failed
    assert github.writes == []


def test_a_report_on_an_older_commit_is_left_to_the_newer_run(github: GitHub, clone: Path, tmp_path: Path) -> None:
    github.open_pull_request(5, "f" * 40, "warmer")
    run = run_comment(github, clone, tmp_path / "run", write_artifact(tmp_path / "artifact"))
    assert not run.failed, run.printed
    assert "newer commit" in run.printed["Check"]
    assert github.writes == []


def test_an_unknown_pull_request_is_a_line(github: GitHub, clone: Path, tmp_path: Path) -> None:
    run = run_comment(github, clone, tmp_path / "run", write_artifact(tmp_path / "artifact"))
    assert re.fullmatch(r"error: GitHub: GET pulls/5: 404: .*\n", run.printed["Check"])


def test_a_report_over_the_cap_is_cut_and_says_so(github: GitHub, clone: Path, tmp_path: Path) -> None:
    github.open_pull_request(5, SHA, "warmer")
    report = f"{MARKER}\n\n" + "".join(f"| intent {row} | {row} |\n" for row in range(20_000))
    run = run_comment(github, clone, tmp_path / "run", write_artifact(tmp_path / "artifact", report=report))
    assert not run.failed, run.printed
    body = github.comments[5][0]["body"]
    assert 55_000 < len(body) < 61_000
    assert "Cut to 60,000 characters" in body.split("| intent")[0]
    assert re.search(r"\| intent (\d+) \| \1 \|\n", body[-200:])  # whole lines


def test_hostile_text_stays_text(github: GitHub, clone: Path, tmp_path: Path) -> None:
    github.open_pull_request(5, SHA, "warmer")
    calls = "@everyone and a@b.example, _@x_ &#64;y &#X040;z"
    report = f"{MARKER}\n$(touch pwned) `touch pwned` ${{{{ github.token }}}}\n{calls}\n\x00\x1b[31m\u202eevil\n<!-- open"
    run = run_comment(github, clone, tmp_path / "run", write_artifact(tmp_path / "artifact", report=report))
    assert not run.failed, run.printed
    body = github.comments[5][0]["body"]
    assert body.count(MARKER) == 1
    assert "Made by this pull request's own code" in body.splitlines()[2]
    assert "$(touch pwned) `touch pwned` ${{ github.token }}" in body
    assert "@\u200beveryone and a@\u200bb.example, _@\u200bx_ @\u200by @\u200bz\n" in body
    assert not set(body) & set("\x00\x1b\u202e")
    assert TOKEN not in body + "".join(run.printed.values())
    assert not list(clone.glob("pwned")) + list((tmp_path / "run").rglob("pwned"))


@pytest.mark.parametrize("name", ["number", "report.md"])
def test_a_link_out_of_the_artifact_is_not_followed(github: GitHub, clone: Path, tmp_path: Path, name: str) -> None:
    github.open_pull_request(5, SHA, "warmer")
    artifact = write_artifact(tmp_path / "artifact")
    (tmp_path / "secret").write_text("5")
    (artifact / name).unlink()
    (artifact / name).symlink_to(tmp_path / "secret")
    run = run_comment(github, clone, tmp_path / "run", artifact)
    assert f"error: {name}: not to be read" in run.printed["Check"]
    assert github.writes == []


def test_a_strangers_comment_with_our_first_line_is_not_touched_and_ours_is_found_on_a_later_page(
    github: GitHub, clone: Path, tmp_path: Path
) -> None:
    github.open_pull_request(5, SHA, "warmer")
    github.add_comment(5, f"{MARKER}\nfake", "stranger")
    for number in range(120):
        github.add_comment(5, f"talk {number}", "stranger")
    ours = github.add_comment(5, f"{MARKER}\nours", BOT)
    run = run_comment(github, clone, tmp_path / "run", write_artifact(tmp_path / "artifact"))
    assert not run.failed, run.printed
    assert github.writes == [f"PATCH issues/comments/{ours['id']}"]
    assert "# Better" in ours["body"]


def test_where_cml_posts_nothing_else_does(github: GitHub, clone: Path, tmp_path: Path) -> None:
    github.open_pull_request(5, SHA, "warmer")
    record = 'printf "%s\\n" "$@" > "$RUNNER_TEMP/asked"; env > "$RUNNER_TEMP/saw"; cat "${!#}" > "$RUNNER_TEMP/posted"'
    run = run_comment(github, clone, tmp_path / "run", write_artifact(tmp_path / "artifact"), cml=record)
    assert run.outcomes["Post with CML"] == "success"
    assert run.outcomes["Post without CML"] == "skipped"
    assert github.writes == []
    asked = (tmp_path / "run/asked").read_text().splitlines()
    assert asked[:2] == ["comment", "update"]
    assert {"--publish=false", "--target=pr/5", f"--repo=https://github.com/{REPOSITORY}"} <= set(asked)
    assert (tmp_path / "run/posted").read_text().startswith(MARKER)
    assert {"ITERATIVE_DO_NOT_TRACK=1", f"REPO_TOKEN={TOKEN}"} <= set((tmp_path / "run/saw").read_text().splitlines())


@pytest.mark.parametrize("reason", ["ours is beyond what CML reads", "a stranger has its watermark"])
def test_where_cml_would_write_elsewhere_it_is_not_asked(github: GitHub, clone: Path, tmp_path: Path, reason: str) -> None:
    github.open_pull_request(5, SHA, "warmer")
    watermark = f'![](https://cml.dev/watermark.png#{SHA} "CML watermark tinybert-intents")'
    for number in range(40):
        github.add_comment(5, f"talk {number}", "stranger")
    ours = github.add_comment(5, f"{MARKER}\n{watermark}", BOT)
    if reason.startswith("a stranger"):
        github.comments[5] = [ours, github.add_comment(5, f"{MARKER}\n{watermark}", "stranger")]
    run = run_comment(github, clone, tmp_path / "run", write_artifact(tmp_path / "artifact"), cml="exit 0")
    assert run.outcomes["Post with CML"] == "skipped"
    assert github.writes == [f"PATCH issues/comments/{ours['id']}"]


def test_where_cml_fails_the_comment_is_posted_all_the_same(github: GitHub, clone: Path, tmp_path: Path) -> None:
    github.open_pull_request(5, SHA, "warmer")
    run = run_comment(github, clone, tmp_path / "run", write_artifact(tmp_path / "artifact"), cml="exit 1")
    assert not run.failed, run.printed
    assert github.writes == ["POST issues/5/comments"]
    # CML would know this comment for its own: its expression for that, with the commit and the title that it adds
    assert re.search(
        r'!\[\]\(https://cml\.dev/watermark\.png#[0-9a-fA-F]+ "CML watermark tinybert-intents"\)', github.comments[5][0]["body"]
    )


# The weekly alarms


@pytest.mark.parametrize("result", ["failure", "cancelled", "success"])
@pytest.mark.parametrize("name", ["verify", "advisories"])
def test_a_week_that_fails_opens_an_issue_the_next_adds_to_it_and_one_after_it_was_closed_opens_another(
    github: GitHub, clone: Path, tmp_path: Path, name: str, result: str
) -> None:
    for week in (1, 2, 3):
        if week == 3:
            for issue in github.issues:
                issue["state"] = "closed"
        variables = {
            "GITHUB_API_URL": github.url,
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_RUN_ID": str(week),
        }
        needs = {name: {"result": result, "outputs": {"verdict": "error: dvc.lock: `does not hold`"}}}
        runner = Runner(clone, tmp_path, {"github": {"token": TOKEN}, "needs": needs}, variables, {"actions/checkout": lambda _: None})
        assert runner.run(load_workflow(name), "alarm") == (result != "success")
        assert not runner.failed, runner.printed
    if result == "success":
        assert github.writes == []
        return
    runs = f"https://github.com/{REPOSITORY}/actions/runs"
    assert [issue["body"] for issue in github.issues] == [f"error: dvc.lock: `does not hold`\n\n{runs}/{week}" for week in (1, 3)]
    assert [comment["body"].splitlines()[-1] for comment in github.comments[1]] == [f"{runs}/2"]


@pytest.mark.parametrize(
    ("log", "verdict"),
    [
        ("note: x\nverified: all 9 outputs are bit-identical\n", "verified: all 9 outputs are bit-identical"),
        ("error: first\nerror: dvc.lock: does not hold $(id)\nmake: *** [verify] Error 1\n", "error: dvc.lock: does not hold $(id)"),
        ("pip: no network\n", "no verdict: see the run"),
    ],
)
def test_the_verdict_of_the_verification_is_its_last_word(tmp_path: Path, log: str, verdict: str) -> None:
    [step] = [step for step in load_workflow("verify")["jobs"]["verify"]["steps"] if step.get("id") == "verdict"]
    (tmp_path / "build").mkdir()
    (tmp_path / "build/log").write_text(log)
    runner = Runner(tmp_path, tmp_path, {}, {}, {})
    runner.run({"defaults": {"run": {"shell": "bash"}}, "jobs": {"verify": {"steps": [step]}}}, "verify")
    assert not runner.failed, runner.printed
    assert runner.contexts["steps"]["verdict"]["outputs"]["verdict"] == verdict


# What the YAML must hold to


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_rights_are_least_and_time_is_limited(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for use in re.findall(r"uses: (.*)", text):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", use), use
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["group"]
    for name, job in workflow["jobs"].items():
        assert job["permissions"], name
        assert job["timeout-minutes"] <= 120, name
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), "values reach a script through env alone"
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_each_job_has_exactly_the_rights_that_it_needs() -> None:
    found = {path.stem: {name: job["permissions"] for name, job in load_workflow(path.stem)["jobs"].items()} for path in WORKFLOWS}
    reads, alarm = {"contents": "read"}, {"contents": "read", "issues": "write"}
    assert found == {
        "advisories": {"advisories": reads, "alarm": alarm},
        "comment": {"comment": reads | {"actions": "read", "pull-requests": "write"}},
        "pipeline": {"pipeline": reads},
        "remote": {"remote": reads | {"id-token": "write"}},
        "tests": {"tests": reads},
        "verify": {"verify": reads, "alarm": alarm},
    }


def test_the_code_of_a_pull_request_never_meets_a_right_to_write_or_a_secret() -> None:
    for name in ("tests", "pipeline"):
        assert not re.search(r"secrets\.|github\.token|id-token", Path(f".github/workflows/{name}.yaml").read_text(encoding="utf-8"))
    triggers = {path.stem: set(load_workflow(path.stem)[True]) for path in WORKFLOWS}  # YAML 1.1 reads `on` as true
    assert {name for name, on in triggers.items() if "pull_request" in on} == {"tests", "pipeline"}
    assert not any("pull_request_target" in on for on in triggers.values())


@pytest.mark.parametrize("module", ["alarm", "comment", "failure"])
def test_what_runs_beside_a_token_or_after_a_failed_installation_needs_no_package(module: str) -> None:
    command = [sys.executable, "-S", "-m", f"pipeline.{module}", "--help"]
    assert "Run " in subprocess.run(command, capture_output=True, text=True, check=True).stdout
