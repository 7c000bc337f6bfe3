"""docs/paddlex-migration.md says what is so: it is made from its data, and the tests that it names are there."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    row
    for section in yaml.safe_load((ROOT / "docs/paddlex-migration.yaml").read_text(encoding="utf-8"))["sections"]
    for row in section["rows"]
]


def names_of_tests(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_the_page_is_made_from_the_data():
    made = runpy.run_path(str(ROOT / "docs/make_paddlex_migration.py"))["text"]()
    assert (ROOT / "docs/paddlex-migration.md").read_text(encoding="utf-8") == made


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_row(row):
    there, status, here, test = row
    assert there
    assert here
    assert "|" not in there + here
    assert status in ("same", "renamed", "not applicable", "not yet")
    assert bool(test) == (status in ("same", "renamed")), "each that is the same, and no other, names its test"
    if test:
        path, _, name = test.partition("::")
        assert name in names_of_tests(ROOT / path)
