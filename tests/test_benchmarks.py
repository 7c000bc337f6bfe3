"""Every benchmark's result says what made it, and every benchmark writes through the one function that stamps."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_names_command_commit_version_and_machine(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    assert set(content) == {"stamp", "results"}
    assert set(content["stamp"]) == {"command", "commit", "version", "machine"}
    assert all(content["stamp"].values())
    assert content["results"]


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_no_benchmark_writes_results_by_itself(path):
    written = re.findall(r"(?:output|json|RESULT|result)\)?\.write_text\(.*json", path.read_text(encoding="utf-8"))
    assert written == []


def test_a_stamp_holds_no_path_of_the_machine(tmp_path):
    source = (
        f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); from pathlib import Path; from stamped import save\n"
    )
    source += "save(Path(sys.argv[1]), [1])"
    target = tmp_path / "out.json"
    subprocess.run([sys.executable, "-c", source, str(target)], check=True)
    content = json.loads(target.read_text())
    assert content["results"] == [1]
    assert str(tmp_path) not in content["stamp"]["command"]
    assert content["stamp"]["command"].endswith(f"{tmp_path.name}/out.json")
    assert content["stamp"]["machine"]["packages"]["segexport"]


def test_the_truth_table_is_made_from_its_results():
    sys.path.insert(0, str(BENCHMARKS))
    import truth_table

    assert truth_table.PAGE.read_text(encoding="utf-8") == truth_table.page(truth_table.load(truth_table.RESULT))
