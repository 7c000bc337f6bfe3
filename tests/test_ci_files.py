"""The workflows in docs/ci are YAML, and the commands in them exist with the options that they are given."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from segexport.cli.main import cli

FILES = sorted((Path(__file__).resolve().parent.parent / "docs" / "ci").glob("*.yml"))


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
    assert ours
    for _, name, *words in ours:
        known = {option for parameter in cli.commands[name].params for option in parameter.opts}
        given = {word for word in words if re.match(r"--?[a-z]", word)}
        assert given <= known, (name, given - known)


def test_there_is_one_for_each_service():
    assert {"gitlab-ci.yml", "segexport.yml", "segexport-comment.yml"} <= {file.name for file in FILES}
