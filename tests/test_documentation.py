"""The documentation builds, and its links lead somewhere."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from installed import require

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted([*(REPOSITORY / "docs").glob("*.md"), *REPOSITORY.glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_to_files(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []


def test_one_sentence_says_what_segexport_is():
    from segexport.cli.main import cli

    assert cli.help is not None
    tagline = cli.help.partition("\n")[0]
    for name in ("README.md", "docs/index.md", "pyproject.toml", "mkdocs.yml", "src/segexport/__init__.py"):
        assert tagline in (REPOSITORY / name).read_text(encoding="utf-8"), name


def test_examples_of_preprocessing_are_taken(tmp_path):
    from segexport.exporter.from_paddle import ImportOptions

    page = (REPOSITORY / "docs/preprocessing.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    assert len(examples) >= 3
    for text in examples:
        (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
        assert ImportOptions.from_strings(preprocess=tmp_path / "p.yaml").preprocess is not None


def test_the_site_builds(tmp_path):
    require("mkdocs", "material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    built = {path.parent.name for path in (tmp_path / "site").glob("*/index.html")}
    assert {page.stem for page in (REPOSITORY / "docs").glob("*.md")} - {"index"} <= built


def test_the_list_of_operators_is_made_from_the_rewrites():
    made = runpy.run_path(str(REPOSITORY / "docs/make_operators.py"))["text"]()
    written = (REPOSITORY / "docs/operators.md").read_text(encoding="utf-8")
    assert written == made, "run `python docs/make_operators.py`"
