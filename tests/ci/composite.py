"""Runs a composite action as a GitHub runner does: conditions, expressions, environment and command files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
UPLOAD = "actions/upload-artifact@"


@dataclass
class ActionRun:
    """How an action ended.

    Attributes:
        steps: Name of a step -> "success", "failure" or "skipped".
        uploads: Name of an artifact -> its files.
    """

    code: int = 0
    log: str = ""
    summary: str = ""
    steps: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, dict[str, bytes]] = field(default_factory=dict)


def run_action(work: Path, inputs: Mapping[str, str], environment: Mapping[str, str], scratch: Path) -> ActionRun:
    """Runs the repository's action.yml in the folder `work`.

    Args:
        environment: Variables of the job, besides those of this process.
    """
    action = yaml.safe_load((REPOSITORY / "action.yml").read_text(encoding="utf-8"))
    unknown = set(inputs) - set(action["inputs"])
    assert not unknown, unknown
    context: dict[str, Any] = {
        "inputs": {name: inputs.get(name, str(given.get("default", ""))) for name, given in action["inputs"].items()},
        "steps": {},
        "github": {
            "token": environment.get("GITHUB_TOKEN", ""),
            "event_name": environment.get("GITHUB_EVENT_NAME", ""),
        },
    }
    context["inputs"] = {name: _filled(value, context) for name, value in context["inputs"].items()}
    done, paths = ActionRun(), []
    for step in action["runs"]["steps"]:
        name, failed = step["name"], "failure" in done.steps.values()
        if not _holds(step.get("if", "success()"), context, failed):
            done.steps[name] = "skipped"
            continue
        found = {
            key: _filled(str(value), context) for key, value in (step.get("env") or step.get("with") or {}).items()
        }
        if "uses" in step:
            assert step["uses"].startswith(UPLOAD), step["uses"]
            folder = work / found["path"]
            files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
            done.uploads[found["name"]] = files
            outputs = {"artifact-url": f"https://github.com/octo/nets/actions/runs/9/artifacts/{len(done.uploads)}"}
            done.steps[name] = "success"
        else:
            code, text, outputs = _run(step["run"], work, {**environment, **found}, scratch, paths)
            done.log += text
            done.steps[name] = "failure" if code else "success"
            done.code = done.code or code
        if "id" in step:
            context["steps"][step["id"]] = {"outputs": outputs}
    summary = scratch / "summary"
    done.summary = summary.read_text(encoding="utf-8") if summary.exists() else ""
    done.outputs = {name: _filled(each["value"], context) for name, each in action["outputs"].items()}
    return done


def _run(
    script: str, work: Path, environment: Mapping[str, str], scratch: Path, paths: list[str]
) -> tuple[int, str, dict[str, str]]:
    """Runs a `shell: bash` step with its files; returns exit code, log and outputs."""
    (scratch / "temp").mkdir(parents=True, exist_ok=True)
    outputs, path_file = scratch / "outputs", scratch / "path"
    outputs.write_text("")
    path_file.write_text("")
    file = scratch / "step.sh"
    file.write_text(script, encoding="utf-8")
    given = {
        **os.environ,
        "GITHUB_OUTPUT": str(outputs),
        "GITHUB_PATH": str(path_file),
        "GITHUB_STEP_SUMMARY": str(scratch / "summary"),
        "GITHUB_ACTION_PATH": str(REPOSITORY),
        "GITHUB_WORKSPACE": str(work),
        "RUNNER_TEMP": str(scratch / "temp"),
        **environment,
    }
    given["PATH"] = os.pathsep.join([*reversed(paths), given["PATH"]])
    bash = shutil.which("bash") or "/bin/bash"
    command = [bash, "--noprofile", "--norc", "-e", "-o", "pipefail", str(file)]
    done = subprocess.run(command, cwd=work, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    paths += path_file.read_text().splitlines()
    pairs = (line.partition("=") for line in outputs.read_text(encoding="utf-8").splitlines())
    return done.returncode, done.stdout, {name: value for name, _, value in pairs}


_EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")


def _filled(text: str, context: Mapping[str, Any]) -> str:
    return _EXPRESSION.sub(lambda match: _value(match[1], context), text)


def _value(path: str, context: Mapping[str, Any]) -> str:
    found: Any = context
    for part in path.split("."):
        found = found.get(part, {})
    return found if isinstance(found, str) else ""


def _holds(condition: str, context: Mapping[str, Any], failed: bool) -> bool:
    """Evaluates the part of GitHub's expressions that the action uses: `&&`, `==`, `!=`, always()."""
    always = "always()" in condition
    for part in (part.strip() for part in condition.split("&&")):
        if part in ("always()", "success()"):
            continue
        left, operator, right = re.fullmatch(r"(\S+) (==|!=) '(.*)'", part).groups()
        if (_value(left, context) == right) != (operator == "=="):
            return False
    return always or not failed
