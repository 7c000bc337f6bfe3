"""Every benchmark's result says what made it, and every benchmark writes through the one function that stamps."""

from __future__ import annotations

import json
import os
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
    import truth_pages
    import truth_table

    rows = truth_table.load(truth_table.RESULT)
    assert truth_table.PAGE.read_text(encoding="utf-8") == truth_pages.markdown(rows)
    assert truth_table.SORTABLE.read_text(encoding="utf-8") == truth_pages.html(rows)


def test_the_table_of_runtimes_is_made_from_its_results():
    sys.path.insert(0, str(BENCHMARKS))
    import coverage_table
    import runtime_zoo

    found = runtime_zoo.load(runtime_zoo.RESULT)
    assert found["summary"] == runtime_zoo.summary(found["rows"])
    page = (BENCHMARKS.parent / "docs" / "coverage.md").read_text(encoding="utf-8")
    assert coverage_table.runtimes_table(found) in page


def test_the_page_of_the_collection_is_made_from_its_results():
    sys.path.insert(0, str(BENCHMARKS))
    import collection_table
    from stamped import load

    rows = load(BENCHMARKS / "results" / "paddleseg_collection.json")
    page = (BENCHMARKS.parent / "docs" / "collection.md").read_text(encoding="utf-8")
    assert page == collection_table.markdown(rows)


def test_a_row_of_the_collection_gets_the_target_that_it_lacks():
    sys.path.insert(0, str(BENCHMARKS))
    from collection_table import markdown
    from paddleseg_collection import left, merged

    right = {"outcome": "right", "agreement": [1.0, 0.9999]}
    before = {"operators": 9, "nudged": [1.0, 0.999], "targets": {"onnx": right}}
    assert left(before, ["onnx", "mnn"], again=False) == ["mnn"]
    assert left(before, ["onnx"], again=True) == ["onnx"]
    assert left({"not run": "not reached"}, ["onnx", "mnn"], again=False) == ["onnx", "mnn"]
    assert left({"not built": "no backbone"}, ["onnx"], again=False) == []

    refused = {"outcome": "refused", "reason": "no | kernel"}
    row = merged(before, {"operators": 9, "nudged": [0.998, 1.0], "targets": {"mnn": refused}})
    assert row == {"operators": 9, "nudged": [0.998, 0.999], "targets": {"onnx": right, "mnn": refused}}
    assert merged(before, {"fault": "no memory"}) == before
    page = markdown({"argmax, free": {"Net": row, "Other": {**before, "nudged": [1.0]}}})
    assert "| Net | 9 | refused (1) | 99.990% | 99.800% |" in page
    assert "| Other | 9 | - | 99.990% | 100.000% |" in page
    assert "1. no | kernel\n" in page
    assert "| argmax, free | mnn |  |  | 1 |  |  |  |  |  | 1 |" in page


MEASURED = {
    "net mnn-fp32": {
        "verdict": "PASS",
        "agreement": 0.99999,
        "agreement_worst": 0.9999,
        "miou_delta": -0.0001,
        "size_ratio": 0.5,
        "time_ratio": 1.5,
        "time_ratio_interval": [1.25, 1.75],
        "runtime": "mnn 3.6.1",
    },
    "net ncnn-int8": {"verdict": "ERROR", "why": "Reshape <a|b>\nis gone"},
}


def test_pages_of_the_truth_table_repeat_and_show_every_row(tmp_path):
    """Two processes make the same pages of the same results, in which one row was measured and one failed."""
    results = tmp_path / "results.json"
    results.write_text(json.dumps(MEASURED))
    made = [
        subprocess.run(
            [sys.executable, "-c", PAGES, str(BENCHMARKS), str(results)],
            check=True,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "utf-8"},
        ).stdout
        for seed in ("1", "2")
    ]
    assert made[0] == made[1]
    assert "| mnn-fp32 | PASS | 99.999% | 99.990% | -0.0001 | 0.50x | 1.50x (1.25 to 1.75) |  |" in made[0]
    assert "| ncnn-int8 | ERROR |  |  |  |  |  | Reshape <a/b> is gone |" in made[0]
    assert '<td class="number" data-key="1.5">1.50x (1.25 to 1.75)</td>' in made[0]
    assert '<td class="why">Reshape &lt;a|b&gt;\nis gone</td>' in made[0]
    assert "Runtimes: mnn 3.6.1." in made[0]


PAGES = """
import json, sys
sys.path.insert(0, sys.argv[1])
import truth_pages
rows = json.load(open(sys.argv[2]))
print(truth_pages.markdown(rows), truth_pages.html(rows))
"""


def test_the_chains_times_are_relative_to_the_original():
    sys.path.insert(0, str(BENCHMARKS))
    from chain import to_original

    original = {"name": "original", "latency": {"sessions_ms": (4.0, 8.0, 4.0)}}
    row = {"latency_baseline": "reference", "latency_ratio": 0.7, "latency": {"sessions_ms": (1.0, 2.0, 1.0)}}
    found = to_original(row, original)
    assert found["latency_ratio"] == pytest.approx(0.25)
    assert found["latency_ratio_interval"] == pytest.approx((0.25, 0.25))  # what slows a session slows both
    assert to_original(row | {"latency_baseline": "original"}, original) == {}
    assert to_original(row | {"latency": None}, original)["latency_ratio"] is None
