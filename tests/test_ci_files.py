"""The workflows in docs/ci are YAML, and the commands in them exist with the options that they are given."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
import yaml

from segexport.cli.main import cli

REPOSITORY = Path(__file__).resolve().parent.parent
FILES = sorted((REPOSITORY / "docs" / "ci").glob("*.yml"))


class Plain(yaml.SafeLoader):
    """YAML 1.2, in which the key `on` is text."""


Plain.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:bool"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Plain.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), ["t", "f"])


def scripts(value: object) -> list[str]:
    """Every shell command of a workflow."""
    found = []
    for key, child in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        if key in ("run", "script"):
            found += [child] if isinstance(child, str) else child
        else:
            found += scripts(child)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_commands_and_options_exist(file):
    lines = "\n".join(scripts(yaml.safe_load(file.read_text(encoding="utf-8")))).replace("\\\n", " ").splitlines()
    ours = [line.split() for line in lines if line.strip().startswith("segexport ")]
    assert ours or file.name == "segexport-comment.yml"
    for _, name, *words in ours:
        command = cli.commands[name]
        if isinstance(command, click.Group):
            command, words = command.commands[words[0]], words[1:]
        known = {option for parameter in command.params for option in parameter.opts}
        given = {word for word in words if re.match(r"--?[a-z]", word)}
        assert given <= known, (name, given - known)


def test_the_workflow_gives_inputs_that_the_action_has():
    action = yaml.safe_load((REPOSITORY / "action.yml").read_text(encoding="utf-8"))
    workflow = yaml.safe_load((REPOSITORY / "docs/ci/segexport-comment.yml").read_text(encoding="utf-8"))
    (ours,) = (step for step in workflow["jobs"]["check"]["steps"] if step.get("uses", "").startswith("segexport/"))
    assert set(ours["with"]) <= set(action["inputs"])
    page = (REPOSITORY / "docs/ci.md").read_text(encoding="utf-8")
    assert {name for name in action["inputs"] if f"`{name}`" not in page} == {"output", "token"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("github-actions", "action.yml"),
        *(("github-workflows", f"docs/ci/{file.name}") for file in FILES if "gitlab" not in file.name),
        ("gitlab-ci", "docs/ci/gitlab-ci.yml"),
    ],
)
def test_files_are_valid_against_the_services_schemas(kind, name):
    check = pytest.importorskip("check_jsonschema")
    schema = Path(check.__file__).parent / "builtin_schemas" / "vendor" / f"{kind}.json"
    jsonschema = pytest.importorskip("jsonschema")
    value = json.loads(json.dumps(yaml.load((REPOSITORY / name).read_text(encoding="utf-8"), Loader=Plain)))
    found = jsonschema.Draft7Validator(json.loads(schema.read_text(encoding="utf-8"))).iter_errors(value)
    assert [f"{list(error.path)}: {error.message[:200]}" for error in found] == []


def test_there_is_one_for_each_service():
    assert {"gitlab-ci.yml", "segexport.yml", "segexport-comment.yml"} <= {file.name for file in FILES}
