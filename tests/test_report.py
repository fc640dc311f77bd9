"""Reports on real git repositories with hand-made runs."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from clones import sh
from markdown_it import MarkdownIt
from small_runs import INTENTS, PARAMS, commit, labels, predict, write_run

from pipeline import report
from pipeline.errors import UserError
from pipeline.report import compose, examine

TRUTH = labels(200)
BASE = predict(TRUTH, range(40))
MINUS = "\N{MINUS SIGN}"
HOSTILE = [
    "<script>alert(1)</script> <img src=x onerror=alert(1)>",
    "![picture](https://example.org/x.png) [link](https://example.org) www.example.org",
    "a | cell, `code`, ``more``, \\| and \\",
    "@octocat #1 octocat/repository#2 mail@example.org",
    "<!-- tinybert-intents report -->",
    "</details>\n\n# A heading\n- a list **bold** _emphasis_",
    "left\u202eright\x1b[31m",
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository whose main has a run with 160 of 200 right, and whose working tree is that run."""
    write_run(tmp_path, TRUTH, BASE)
    commit(tmp_path)
    return tmp_path


def markdown(root: Path, most: int = 65_536) -> str:
    return compose(examine(root, "main"), [], most)


def heading(root: Path) -> str:
    first, second = markdown(root).splitlines()[:2]
    assert first == "<!-- tinybert-intents report -->"
    return second


def run_command(root: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The command's exit code."""
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", ["report", *arguments])
    try:
        report.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_an_improvement_is_called_better(tree: Path) -> None:
    write_run(tree, TRUTH, predict(TRUTH, range(12)), params=PARAMS | {"train": PARAMS["train"] | {"learning_rate": 0.002}})
    text = markdown(tree)
    assert heading(tree).startswith("## ▲ Better: accuracy +14.00, macro-F1 +1")
    assert "| accuracy | 80.00 | 94.00 | +14.00 |" in text
    assert "28 newly right, 0 newly wrong" in text
    assert "| `train.learning_rate` | `0.001` | `0.002` |" in text
    assert "| `train` | params `train.learning_rate` | `models/tinybert` |" in text
    assert "| `evaluate` | reads `models/tinybert` | `metrics/evaluate.json`, `metrics/predictions.csv` |" in text
    assert "Not rerun, or rerun with the same result: `fetch`." in text
    assert "| `tinybert` | 80.00 → 94.00 |" in text
    assert "None is broken." in text


def test_a_regression_is_called_worse(tree: Path) -> None:
    write_run(tree, TRUTH, predict(TRUTH, range(60)))
    assert re.match(rf"## ▼ Worse: accuracy {MINUS}10.00, macro-F1 {MINUS}\d+.\d\d points; 2 budgets broken$", heading(tree))


def test_a_difference_that_the_queries_cannot_tell_is_noise(tree: Path) -> None:
    write_run(tree, TRUTH, predict(TRUTH, range(3, 42)))
    assert heading(tree).startswith("## ≈ Within noise: accuracy +0.50")


@pytest.mark.parametrize(
    ("right", "wrong", "told"), [(42, 25, "0.0498 | ▲ better"), (22, 10, "0.0501 | ≈ within noise"), (20, 10, "0.099 | ≈ within noise")]
)
def test_a_p_value_near_the_level_shows_on_which_side_it_is(tmp_path: Path, right: int, wrong: int, told: str) -> None:
    write_run(tmp_path, TRUTH, predict(TRUTH, range(right)))
    commit(tmp_path)
    write_run(tmp_path, TRUTH, predict(TRUTH, range(right, right + wrong)))
    [row] = [line for line in markdown(tmp_path).splitlines() if line.startswith("| accuracy |")]
    assert row.endswith(f"| {told} |")


def test_a_difference_below_the_spread_of_seeds_is_noise_though_significant(tmp_path: Path) -> None:
    truth = labels(2000)
    write_run(tmp_path, truth, predict(truth, range(400)))
    commit(tmp_path)
    write_run(tmp_path, truth, predict(truth, range(420)))
    found = examine(tmp_path, "main")
    assert found.differences["accuracy"].p < 0.001
    assert heading(tmp_path).startswith(f"## ≈ Within noise: accuracy {MINUS}1.00")
    assert not any(check.broken for check in found.checks)


def write_reference(root: Path, name: str, each: list[float], dataset: str = "mine.csv", **more: Any) -> None:
    """What `make seeds` leaves of the student, with a standard deviation that is not that of its figures."""
    figures = {metric: {"std": 0.0, "each": [scale * value for value in each]} for metric, scale in (("accuracy", 1), ("macro_f1", 2))}
    run = {"seeds": list(range(len(each))), "params": {"fetch": {"train": dataset}}, "models": {"tinybert": figures}} | more
    (root / "metrics/reference").mkdir(exist_ok=True)
    (root / f"metrics/reference/{name}.json").write_text(json.dumps(run))


def test_the_spread_of_seeds_is_measured_where_a_reference_run_has_three_or_more(tree: Path) -> None:
    why = "since `metrics/reference` has no run of this dataset over 3 seeds or more"
    declared = f"0.50 points, declared in `pyproject.toml`, {why}: `made up for a test`"
    assert declared in markdown(tree)
    write_reference(tree, "few", [0.4, 0.402])
    write_reference(tree, "other", [0.4, 0.401, 0.399], dataset="other.csv")
    assert declared in markdown(tree)
    write_reference(tree, "this", [0.4, 0.401, 0.399], varied=["teach.seed", "train.seed"])
    text = markdown(tree)
    assert "of 0.10 and 0.20 points, measured over 3 seeds (`teach.seed`, `train.seed`): `metrics/reference/this.json`" in text
    assert "0.61 (accuracy) and 1.22 (macro-F1)" in text  # 4.30 (Student's t, 2 degrees of freedom) times the root of 2 times the spread
    write_reference(tree, "this", [0.4, 0.401, float("nan")])
    with pytest.raises(UserError, match=r"^metrics/reference/this.json: not the result of a reference run: ValidationError"):
        examine(tree, "main")


def test_a_change_is_held_to_the_noise_floor_of_its_base_and_a_change_of_it_is_told(tree: Path) -> None:
    write_reference(tree, "seeds", [0.4, 0.401, 0.399])
    commit(tree, "seeds")
    assert "moves the noise floor" not in markdown(tree)
    write_reference(tree, "seeds", [0.4, 0.5, 0.3])
    write_reference(tree, "a", [0.4, 0.5, 0.3])  # the first in the list
    text = markdown(tree)
    assert "of 0.10 and 0.20 points, measured over 3 seeds (`train.seed`): `metrics/reference/seeds.json`" in text
    told = (
        "Before: 0.10 and 0.20 points, measured over 3 seeds (`train.seed`): `metrics/reference/seeds.json`. After: 10.00 and 20.00 points"
    )
    assert "**The change moves the noise floor**" in text
    assert told in text
    assert "It is judged by that of the base." in text


def test_a_noise_floor_that_the_change_brings_is_told(tree: Path) -> None:
    write_reference(tree, "seeds", [0.4, 0.401, 0.399])
    text = markdown(tree)
    assert "Before: none measured. After: 0.10 and 0.20 points" in text
    assert "It is judged by that of the change itself." in text


LACKS = "**That floor does not cover the seed noise of `teach`, which ran again**: changes beyond it get no verdict."


def test_a_change_of_what_the_floor_did_not_vary_has_no_verdict_beyond_it(tmp_path: Path) -> None:
    truth = labels(2000)
    write_run(tmp_path, truth, predict(truth, range(400)))
    write_reference(tmp_path, "seeds", [0.4, 0.401, 0.399])
    commit(tmp_path)

    def change_teachers(wrong: range) -> None:
        write_run(tmp_path, truth, predict(truth, wrong), params=PARAMS | {"teach": {"seed": 43}})

    change_teachers(range(300))
    assert heading(tmp_path).startswith("## ? No verdict: accuracy +5.00")
    assert LACKS in markdown(tmp_path)
    assert not any(check.line for check in examine(tmp_path, "main").checks)
    change_teachers(range(420))
    told = "accuracy_drop: not judged: a fall of 1.00 points; the noise floor does not cover the seed noise of teach"
    assert [(check.broken, check.line) for check in examine(tmp_path, "main").checks if check.line] == [(None, told)]
    change_teachers(range(480))
    assert "accuracy fell by more than is tolerated" in examine(tmp_path, "main").checks[0].line
    change_teachers(range(401))
    assert heading(tmp_path).startswith("## ≈ Within noise")  # with that luck the floor would be higher


def test_teachers_that_came_out_anew_count_as_changed_whatever_the_reason(tree: Path) -> None:
    write_reference(tree, "seeds", [0.4, 0.401, 0.399])
    with_teachers(tree, "1")
    commit(tree, "seeds")
    write_run(tree, TRUTH, predict(TRUTH, range(12)))
    with_teachers(tree, "1")
    assert heading(tree).startswith("## ▲ Better")
    with_teachers(tree, "2")
    assert heading(tree).startswith("## ? No verdict")
    write_reference(tree, "seeds", [0.4, 0.401, 0.399], varied=["featurize.seed", "teach.seed", "train.seed"])
    commit(tree, "seeds of all")
    write_run(tree, TRUTH, predict(TRUTH, range(40)))
    with_teachers(tree, "3")
    assert heading(tree).startswith("## ▼ Worse")
    assert LACKS not in markdown(tree)


def with_teachers(root: Path, md5: str) -> None:
    """Adds a stage to the lock that wrote other teachers."""
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    lock["stages"]["teach"] = {"cmd": "x", "outs": [{"path": "models/teacher", "md5": md5}]}
    (root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))


def test_a_reference_run_that_is_broken_on_the_base_can_be_mended(tree: Path) -> None:
    write_reference(tree, "seeds", [0.4, 0.401, float("nan")])
    commit(tree, "broken")
    write_reference(tree, "seeds", [0.4, 0.401, 0.399])
    assert "Before: none measured." in markdown(tree)


def test_the_same_predictions_are_no_change(tree: Path) -> None:
    assert heading(tree) == "## No change: every test query gets the same prediction"
    assert "None ran: `dvc.lock` is the same." in markdown(tree)


def test_no_change_is_said_of_the_queries_that_were_compared_alone(tree: Path) -> None:
    write_run(tree, TRUTH[:150], BASE[:150])
    assert heading(tree) == "## No change: every paired query gets the same prediction"


def test_the_headline_names_the_metric_that_moved_and_calls_the_other_noise(tmp_path: Path) -> None:
    truth = ["age_limit"] * 200 + ["change_pin"] * 20
    write_run(tmp_path, truth, predict(truth, range(200, 215)))
    commit(tmp_path)
    write_run(tmp_path, truth, predict(truth, range(15)))
    assert re.match(r"## ▲ Better: macro-F1 \+\d+\.\d\d points \(accuracy 0\.00, within noise\)$", heading(tmp_path))


def test_a_significant_fall_below_the_noise_floor_is_not_worse(tree: Path) -> None:
    write_reference(tree, "seeds", [0.4, 0.45, 0.35])
    commit(tree, "seeds")
    write_run(tree, TRUTH, predict(TRUTH, range(46)))
    assert "| `accuracy_drop` | at most 3.00 points, and not worse | 3.00 points | holds |" in markdown(tree)  # to the last bit


def test_the_base_is_where_the_branch_left_main(tree: Path) -> None:
    sh(tree, "git", "checkout", "--quiet", "-b", "change")
    write_run(tree, TRUTH, predict(TRUTH, range(12)))
    commit(tree)
    sh(tree, "git", "checkout", "--quiet", "main")
    write_run(tree, TRUTH, TRUTH)  # main goes on, and is better than the change
    commit(tree)
    sh(tree, "git", "checkout", "--quiet", "change")
    assert heading(tree).startswith("## ▲ Better")
    assert ", where this branch left `main`." in markdown(tree)


def test_a_base_without_common_history_is_itself_what_is_compared_with(tree: Path) -> None:
    sh(tree, "git", "checkout", "--quiet", "--orphan", "other")
    commit(tree, "another beginning")
    assert "with no common history here (a shallow clone?): `main`." in markdown(tree)


def test_a_base_that_is_only_on_the_remote_is_found(tree: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    sh(tree, "git", "clone", "--quiet", ".", str(clone))
    sh(clone, "git", "checkout", "--quiet", "--detach")
    sh(clone, "git", "branch", "--quiet", "-D", "main")
    assert "which is `origin/main`." in markdown(clone)


def test_a_branch_that_is_behind_its_remote_is_not_the_base(tree: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    sh(tree, "git", "clone", "--quiet", ".", str(clone))
    write_run(tree, TRUTH, predict(TRUTH, range(12)))  # by others, and merged
    commit(tree)
    sh(clone, "git", "fetch", "--quiet")
    sh(clone, "git", "checkout", "--quiet", "--detach", "origin/main")
    assert heading(clone).startswith("## No change")
    assert "which is `origin/main`." in markdown(clone)
    sh(clone, "git", "checkout", "--quiet", "-B", "main", "origin/main")
    write_run(clone, TRUTH, predict(TRUTH, range(10)))
    commit(clone)
    assert "which is `main`." in markdown(clone)  # that is ahead of its remote
    assert "which is `HEAD^1`." in compose(examine(clone, "HEAD^1"), [], 65_536)  # not origin/HEAD^1


def test_a_base_without_metrics_gives_no_verdict_and_the_rest(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("empty")
    commit(tmp_path)
    write_run(tmp_path, TRUTH, BASE)
    text = markdown(tmp_path)
    assert heading(tmp_path) == "## No verdict: the figures cannot be paired"
    assert "the base has no predictions that can be read (`metrics/predictions.csv`: `no such file`)" in text
    assert "| `tinybert` | absent → 80.00 |" in text
    assert "| `train` | new |" in text
    assert not any(check.broken for check in examine(tmp_path, "main").checks)


def test_what_cannot_be_paired_is_not_judged_and_report_and_gate_say_so(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tree, TRUTH, predict(TRUTH, range(150)), ids=[f"train.csv:{i + 152}" for i in range(200)])
    assert run_command(tree, monkeypatch, "--fail-on-regression") == 0
    printed = capsys.readouterr()
    assert "So there is no verdict on accuracy and macro-F1, and **the gate does not judge them**." in printed.out
    assert "None is broken; not judged: `accuracy_drop`, `macro_f1_drop`." in printed.out
    reason = "not judged: the test sets are not the same: of 200 queries before and 200 after, 50 are in both"
    assert printed.err.splitlines() == [f"note: accuracy_drop: {reason}", f"note: macro_f1_drop: {reason}"]


@pytest.mark.parametrize(("metric", "claimed", "counted"), [("accuracy", 0.95, "0.800000"), ("ece", 0.01, "0.020000")])
def test_metrics_that_the_predictions_contradict_fail_the_gate(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], metric: str, claimed: float, counted: str
) -> None:
    write_run(tree, TRUTH, BASE, claimed={metric: claimed})
    assert run_command(tree, monkeypatch, "--fail-on-regression") == 1
    printed = capsys.readouterr()
    told = f"tinybert: {metric} is {claimed}, by metrics/predictions.csv {counted}"
    assert printed.err == f"error: metrics/evaluate.json: {told}: run `dvc repro --force evaluate` and commit what it writes\n"
    assert f"- `{told}`" in printed.out


def test_other_labels_cannot_be_paired_and_are_named(tree: Path) -> None:
    truth = labels(200, (*INTENTS[:4], "@everyone"))
    write_run(tree, truth, truth)
    text = markdown(tree)
    assert "the labels are not the same: `terminate_account` only before; <code>&#64;everyone</code> only after" in text


def test_another_test_set_cannot_be_paired(tree: Path) -> None:
    write_run(tree, TRUTH, TRUTH, ids=[f"train.csv:{i + 152}" for i in range(200)])
    assert "the test sets are not the same: of 200 queries before and 200 after, 50 are in both" in markdown(tree)


def test_ids_of_another_dataset_are_not_trusted(tree: Path) -> None:
    write_run(tree, TRUTH, TRUTH, dataset="2")
    told = "the datasets may differ, so an id may refer to another query"
    assert told in markdown(tree)
    (tree / "dvc.lock").unlink()
    commit(tree, "no lock")
    assert told in markdown(tree)  # two datasets that nothing is known of are not the same


def test_rows_of_the_sample_are_paired_by_text_when_the_data_change(tmp_path: Path) -> None:
    params = PARAMS | {"fetch": {"train": "data/sample/queries.csv", "test": "data/sample/queries.csv"}}
    file = tmp_path / "data/sample/queries.csv"
    file.parent.mkdir(parents=True)
    rows = [f"our question number {i},{intent}" for i, intent in enumerate(TRUTH)]
    file.write_text("\n".join(["text,intent", *rows]) + "\n")
    write_run(tmp_path, TRUTH, BASE, params=params)
    commit(tmp_path)
    file.write_text("\n".join(["text,intent", f"a new one,{INTENTS[0]}", *rows]) + "\n")
    write_run(tmp_path, [INTENTS[0], *TRUTH], [INTENTS[0], *predict(TRUTH, range(39))], params=params, dataset="2")
    text = markdown(tmp_path)
    assert "Paired on 200 test queries: 1 newly right, 0 newly wrong." in text
    assert "0 before, 1 after" in text
    assert "- `train.csv:42` `terminate_account`" not in text  # wrong before and after
    assert f"- `train.csv:42` `{BASE[39]}` → `{TRUTH[39]}`: `our question number 39`" in text


def test_texts_of_other_data_are_never_shown(tree: Path) -> None:
    (tree / "data/sample").mkdir(parents=True)
    (tree / "data/sample/queries.csv").write_text("text,intent\n" + "a private text,age_limit\n" * 300)
    write_run(tree, TRUTH, TRUTH)
    text = markdown(tree)
    assert f"- `train.csv:2` `{BASE[0]}` → `{TRUTH[0]}`\n" in text
    assert "private" not in text


def test_nothing_of_a_strangers_names_and_texts_renders_links_or_pings(tmp_path: Path) -> None:
    intents = tuple(sorted(HOSTILE))
    truth = labels(210, intents)
    params = PARAMS | {"fetch": {"train": "data/sample/queries.csv", "test": None}, "train": {HOSTILE[0]: HOSTILE[3]}}
    file = tmp_path / "data/sample/queries.csv"
    file.parent.mkdir(parents=True)
    quoted = [f'"{text}"' for text in HOSTILE]
    file.write_text("text,intent\n" + "".join(f"{quoted[i % 7]},x\n" for i in range(300)))
    write_run(tmp_path, truth, predict(truth, range(40)), params=params, ids=[f"{text} {i}" for i, text in enumerate(truth)])
    commit(tmp_path)
    params["train"] = {HOSTILE[0]: HOSTILE[1], HOSTILE[5]: HOSTILE[5]}
    write_run(tmp_path, truth, predict(truth, range(30, 80)), params=params, ids=[f"{text} {i}" for i, text in enumerate(truth)])
    text = markdown(tmp_path)
    assert text.count("<!--") == 1
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    outside = re.sub(r"<code>.*?</code>", "", page)
    tags = {"p", "h2", "h3", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "em", "strong", "ul", "li", "code"}
    assert set(re.findall(r"</?(\w+)", page)) <= tags
    for mark in ("@", "http", "www.", "octocat", "heading", "script", "onerror", "bold", "`"):
        assert mark not in outside
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert page.count("<details>") == page.count("</details>") == text.count("<details>")
    widths = {row.count("<td>") for row in re.findall(r"<tr>.*?</tr>", page.split("<h3>Params</h3>")[1].split("<h3>")[0], re.DOTALL)}
    assert widths == {0, 3}  # the header, then three cells a row


def test_a_change_of_budgets_and_packages_is_told(tree: Path) -> None:
    assert "### Packages" not in markdown(tree)
    (tree / "requirements.lock").write_text("numpy==2.1 \\\n    --hash=sha256:00\nruff==0.14.0\n")
    (tree / "pyproject.toml").write_text(
        (tree / "pyproject.toml").read_text().replace("ece = 0.08", "ece = 0.9").replace("2.13.0", "2.14.0")
    )
    text = markdown(tree)
    assert "**The change moves the budgets**" in text
    assert "| `ece` | `0.08` | `0.9` |" in text
    assert "| `numpy` | `absent` | `2.1` |" in text
    assert "| `torch` | `2.13.0` | `2.14.0` |" in text


def test_a_report_over_the_limit_is_cut_at_a_section_and_says_so(tree: Path) -> None:
    write_run(tree, TRUTH, TRUTH)
    whole = markdown(tree)
    cut = markdown(tree, len(whole) - 1)
    assert len(cut) < len(whole)
    assert whole.startswith(cut[: cut.rindex("\n*Cut at")].rstrip())
    assert "*Cut at" not in whole
    small = markdown(tree, 4_000)
    assert len(small) <= 4_000
    assert "left out: " in small
    assert "### Queries" not in small
    assert small.count("<details>") == small.count("</details>")


def test_long_lists_are_capped_and_counted(tree: Path) -> None:
    write_run(tree, TRUTH, predict(TRUTH, range(40, 120)))
    text = markdown(tree)
    assert "<summary>80 newly wrong (intent → predicted now)</summary>" in text
    assert "The first 50 of 80." in text


def test_a_file_that_cannot_be_read_is_named(tree: Path) -> None:
    (tree / "metrics/predictions.csv").write_text("id,label,predicted,confidence\na,x,x,1\na,x,x,1\n")
    assert "the working tree has no predictions that can be read (`metrics/predictions.csv`: `an id occurs twice`)" in markdown(tree)
    (tree / "metrics/predictions.csv").write_bytes(b"\xff\xfe")
    (tree / "params.yaml").write_text("a: [")
    assert "| after | `params.yaml` |" in markdown(tree)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"wrong": range(60)}, "accuracy fell significantly and beyond the noise floor: 0.8000 -> 0.7000"),
        ({"wrong": [*range(6, 40), *range(100, 114)]}, "accuracy fell by more than is tolerated: 0.8000 -> 0.7600"),
        ({"ece": 0.081}, "tinybert: ece is 0.0810, pyproject.toml tool.budgets.ece allows 0.08"),
        ({"parameters": 15_000_001}, "tinybert: parameters is 15,000,001"),
        ({"checkpoint": 60_000_001}, "tinybert: checkpoint_bytes is 60,000,001"),
        ({"ece": float("nan")}, "metrics/evaluate.json: tinybert.ece: "),
        ({"spoilt": "{50 %"}, "metrics/evaluate.json: tinybert.ece: 1 validation error"),
    ],
)
def test_a_broken_budget_fails_the_gate_with_a_line(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: dict[str, Any], line: str
) -> None:
    spoilt = change.pop("spoilt", None)
    write_run(tree, TRUTH, predict(TRUTH, change.pop("wrong", range(40))), **change)
    if spoilt:
        (tree / "metrics/evaluate.json").write_text(spoilt)
    assert run_command(tree, monkeypatch) == 0
    assert capsys.readouterr().err == ""
    assert run_command(tree, monkeypatch, "--fail-on-regression") == 1
    printed = capsys.readouterr()
    assert f"error: {line}" in printed.err
    assert all(row.startswith("error: ") for row in printed.err.splitlines())
    assert "budget" in printed.out.splitlines()[1]


def test_the_macro_f1_budget_can_break_alone(tmp_path: Path) -> None:
    truth = ["age_limit"] * 200 + ["change_pin"] * 4
    write_run(tmp_path, truth, truth)
    commit(tmp_path)
    write_run(tmp_path, truth, predict(truth, [200, 201]))
    broken = [check.name for check in examine(tmp_path, "main").checks if check.broken]
    assert broken == ["macro_f1_drop"]


def test_a_change_within_all_budgets_passes_the_gate(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tree, TRUTH, predict(TRUTH, range(2, 43)))
    assert run_command(tree, monkeypatch, "--fail-on-regression") == 0
    assert capsys.readouterr().err == ""


def test_a_lock_that_does_not_match_the_tree_fails_the_gate(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "params.yaml").write_text((tree / "params.yaml").read_text().replace("seed: 42", "seed: 43"))
    (tree / "train.py").write_text("print()\n")
    assert run_command(tree, monkeypatch, "--fail-on-regression") == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("error: dvc.lock: train: ")
    assert "(and 1 more): it does not match the tree: run `make repro` and commit dvc.lock" in printed.err
    assert "- `train: params.yaml: train.seed: 42 in the lock, 43 in the tree`" in printed.out
    assert "- `train: changed deps: train.py: modified`" in printed.out


def test_the_command_prints_and_writes_the_same_report_and_pictures_of_the_same_bytes(tree: Path) -> None:
    write_run(tree, TRUTH, TRUTH)
    for folder in ("plots/train", "plots/evaluate"):
        (tree / folder).mkdir(parents=True)
    (tree / "plots/train/loss.tsv").write_text("step\tloss\n1\t2.5\n2\t1.5\n")
    (tree / "plots/evaluate/reliability.csv").write_text("queries,confidence,accuracy\n20,0.5,0.6\n180,0.9,1\n")
    command = [sys.executable, "-m", "pipeline.report", "--output"]
    variables = {"PYTHONPATH": str(Path().resolve())}
    printed = sh(tree, *command, "build/one", "--fail-on-regression", variables=variables)
    sh(tree, *command, "build/two", variables=variables)
    written = {path.name: path.read_bytes() for path in (tree / "build/one").iterdir()}
    assert set(written) == {"report.md", "f1_change.png", "reliability.png", "curves.png"}
    assert printed == written["report.md"].decode()
    assert written == {path.name: path.read_bytes() for path in (tree / "build/two").iterdir()}
    assert "Beside this report: `f1_change.png`, `reliability.png`, `curves.png`." in printed
    assert "](" not in printed


def test_hostile_names_can_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = labels(100, ("$x^$", "意図", "a" * 500, "%s\\n", "$\\frac{$"))
    write_run(tmp_path, truth, predict(truth, range(40)))
    commit(tmp_path)
    write_run(tmp_path, truth, truth)
    assert run_command(tmp_path, monkeypatch, "--output", "out") == 0
    assert (tmp_path / "out/f1_change.png").exists()


def test_what_a_user_can_mend_is_one_line(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, message in (
        (
            ["--base", "nowhere"],
            "--base nowhere: no such revision here: `git fetch origin nowhere`, or name another (`make report BASE=..`)",
        ),
        (["--base=--all"], "--base --all: no such revision"),
        (["--output", "params.yaml"], "params.yaml: is a file: give a folder for the output"),
        (["--max-characters", "10"], "--max-characters 10: at least 4000"),
    ):
        with pytest.raises(UserError, match=re.escape(message)):
            run_command(tree, monkeypatch, *arguments)
    for text, message in (
        ("", "[tool.budgets] is missing"),
        ("[tool.budgets]\nece = 0.1\n", "tool.budgets.significance: missing"),
        ((tree / "pyproject.toml").read_text().replace("0.08", '"low"'), "tool.budgets.ece: 'low': input should be a valid number"),
        ((tree / "pyproject.toml").read_text() + "ecee = 1\n", "tool.budgets.ecee: unknown key"),
        ("[tool", "pyproject.toml: "),
    ):
        (tree / "pyproject.toml").write_text(text)
        with pytest.raises(UserError, match=re.escape(message)):
            examine(tree, "main")


def test_outside_a_repository_it_is_one_line(tmp_path: Path) -> None:
    write_run(tmp_path, TRUTH, BASE)
    with pytest.raises(UserError, match=r"git rev-parse .*not a git repository.*: run in a clone of the repository$"):
        examine(tmp_path, "main")
