"""The README's commands, run as a new user would type them, with the demo's model and images in place of theirs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from installed import require

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = REPOSITORY / "src" / "segexport" / "demo"
LANGUAGES = ("README.md", "README.zh.md")


def blocks(name: str) -> list[str]:
    """The shell blocks of a README."""
    return re.findall(r"```sh\n(.*?)```", (REPOSITORY / name).read_text(encoding="utf-8"), re.DOTALL)


def test_both_languages_have_the_same_commands():
    english, chinese = (
        ["\n".join(line.split("#")[0].rstrip() for line in block.splitlines()) for block in blocks(name)]
        for name in LANGUAGES
    )
    assert english == chinese
    assert any("make demo" in block for block in english)


def test_the_make_targets_exist():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make ([a-z-]+)", "\n".join(blocks("README.md"))):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_your_own_model(tmp_path):
    require("paddle", "paddle2onnx", "onnxruntime", "paddlelite")
    (tmp_path / "path" / "to").mkdir(parents=True)
    for name, target in (("export", "model"), ("data", "data")):
        (tmp_path / "path" / "to" / name).symlink_to(DEMO / target)
    block = next(block for block in blocks("README.md") if "segexport export" in block)
    commands = [line for line in block.splitlines() if line.startswith("segexport")]
    assert len(commands) == 3
    for command in commands:
        arguments = [sys.executable, "-m", "segexport", *shlex.split(command)[1:]]
        done = subprocess.run(arguments, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or " check " in command, done.stderr
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000
    # Three images decide little: INCONCLUSIVE is the honest answer of the last command, and nothing may have failed.
    report = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    verdicts = [check["verdict"] for export in report["exports"] for check in export["checks"] if check["gated"]]
    assert set(verdicts) == {"PASS", "INCONCLUSIVE"}
    assert done.returncode == 1


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_link_leads_somewhere(name):
    links = re.findall(r"\]\(([^)#]+)\)", (REPOSITORY / name).read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert (REPOSITORY / link).exists(), link
