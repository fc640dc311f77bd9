"""A stand-in for GitHub's runner: executes the steps of a job as they stand in the YAML, with what plays each action handed to it.

It knows as much of the workflow language as our workflows use, and stops at anything else.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Inputs = dict[str, str]
Action = Callable[[Inputs], dict[str, str] | None]  # returns outputs, if it has any
SHELLS = {None: ["bash", "-e"], "bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"]}


def load_workflow(name: str) -> dict[Any, Any]:
    workflow: dict[Any, Any] = yaml.safe_load(Path(f".github/workflows/{name}.yaml").read_text(encoding="utf-8"))
    return workflow


@dataclass
class Runner:
    """One job on one machine: ``workspace`` is the checkout, ``scratch`` the runner's own folder."""

    workspace: Path
    scratch: Path
    contexts: dict[str, Any]  # github, vars, needs: what expressions can read
    variables: dict[str, str]  # GITHUB_API_URL and the like, for every step
    actions: dict[str, Action]  # by name, without the version
    outcomes: dict[str, str] = field(default_factory=dict)  # of every step: success, failure, skipped
    printed: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    results: list[str] = field(default_factory=list)  # what success() and failure() go by: of the jobs it needs, then of its steps

    @property
    def failed(self) -> bool:
        return "failure" in self.results

    def run(self, workflow: dict[Any, Any], job: str) -> bool:
        """Executes a job; returns whether it did, or its condition kept it from running."""
        self.contexts = {"steps": {}, "runner": {"temp": str(self.scratch)}} | self.contexts
        definition = workflow["jobs"][job]
        assert set(workflow) <= {"name", True, "permissions", "concurrency", "defaults", "env", "jobs"}  # YAML 1.1 reads `on` as true
        assert set(definition) <= {"name", "needs", "if", "runs-on", "timeout-minutes", "permissions", "env", "steps"}
        needs = self.contexts.get("needs", {})
        assert list(needs) == [definition["needs"]] if "needs" in definition else not needs
        self.results = [need["result"] for need in needs.values()]
        if not self.condition(str(definition.get("if", "success()"))):
            return False
        self.results = []
        shell = workflow.get("defaults", {}).get("run", {}).get("shell")
        env = workflow.get("env", {}) | definition.get("env", {})
        for step in definition["steps"]:
            assert set(step) <= {"name", "id", "if", "uses", "with", "run", "env", "continue-on-error", "timeout-minutes"}
            name = step.get("name", step.get("uses", "").split("@")[0])
            assert name not in self.outcomes, name
            outputs: dict[str, str] = {}
            if not self.condition(str(step.get("if", "success()"))):
                outcome = "skipped"
            else:
                outcome = "success" if self.step(name, step, shell, env, outputs) else "failure"
            self.outcomes[name] = outcome
            self.results.append("success" if step.get("continue-on-error", False) else outcome)
            if "id" in step:
                self.contexts["steps"][step["id"]] = {"outcome": outcome, "outputs": outputs}
        return True

    def step(self, name: str, step: dict[str, Any], shell: str | None, env: dict[str, str], outputs: dict[str, str]) -> bool:
        """Executes a step; returns whether it succeeded."""
        if "uses" in step:
            inputs = {key: self.fill(value) for key, value in step.get("with", {}).items()}
            outputs |= self.actions[step["uses"].split("@")[0]](inputs) or {}
            return True
        files = {key: self.scratch / key.lower() for key in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for path in files.values():
            path.write_text("")
        script = self.scratch / "script.sh"
        assert "${{" not in step["run"], "values reach a script through env alone"
        script.write_text(step["run"])
        environment = {key: value for key, value in os.environ.items() if not re.search("TOKEN|GITHUB|SECRET", key)}
        environment["PATH"] = self.path()
        environment |= self.variables | {key: str(path) for key, path in files.items()} | {"RUNNER_TEMP": str(self.scratch), "CI": "true"}
        environment |= {key: self.fill(value) for key, value in (env | step.get("env", {})).items()}
        done = subprocess.run(
            [*SHELLS[shell], str(script)], cwd=self.workspace, env=environment, capture_output=True, text=True, check=False
        )
        self.printed[name] = done.stdout + done.stderr
        self.summary += files["GITHUB_STEP_SUMMARY"].read_text()
        outputs |= dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
        return done.returncode == 0

    def path(self) -> str:
        """Ours, less this environment, which no step activates; first what setup-python brings: Python and its library, no package."""
        programs = self.scratch / "bin"
        programs.mkdir(exist_ok=True)
        for name in ("python", "python3"):
            (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys._base_executable)} -S "$@"\n')
            (programs / name).chmod(0o755)
        own = Path(sys.prefix, "bin").resolve()
        return os.pathsep.join([str(programs), *(place for place in os.environ["PATH"].split(os.pathsep) if Path(place).resolve() != own)])

    def condition(self, text: str) -> bool:
        """Value of an ``if``, which without a status function of its own means "and all went well"."""
        text = text.removeprefix("${{").removesuffix("}}")
        if not re.search(r"\b(success|failure|cancelled|always)\(", text):
            text = f"success() && ({text})"
        return bool(self.evaluate(text))

    def fill(self, value: Any) -> str:
        """A value of the YAML with its expressions replaced."""
        return re.sub(r"\$\{\{(.*?)\}\}", lambda match: str(self.evaluate(match[1])), str(value))

    def evaluate(self, expression: str) -> Any:
        operators = {"&&": " and ", "||": " or ", "!": " not "}

        def translate(match: re.Match[str]) -> str:
            token = match[0]
            return token if token[0] == "'" else operators.get(token) or (f"look_up({token!r})" if "." in token else token)

        python = re.sub(r"'[^']*'|[A-Za-z_][\w-]*(?:\.[\w-]+)*|&&|\|\||!(?!=)", translate, expression.strip())
        functions = {
            "look_up": self.look_up,
            "success": lambda: not {"failure", "cancelled"} & set(self.results),
            "failure": lambda: self.failed,
            "cancelled": lambda: False,
            "always": lambda: True,
            "hashFiles": lambda *patterns: "a-hash" if any(list(self.workspace.glob(pattern)) for pattern in patterns) else "",
        }
        return eval(python.strip(), {"__builtins__": {}}, functions)

    def look_up(self, name: str) -> Any:
        """A value of the contexts; what is not there is empty, as on GitHub."""
        value: Any = self.contexts
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return "" if value is None else value
