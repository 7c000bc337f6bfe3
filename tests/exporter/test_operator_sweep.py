"""A part of `benchmarks/operator_sweep.py`: Paddle builds small programs, the steps export them, the runtimes agree."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from segexport.errors import WorkerCrashed, WorkerFailed
from segexport.process import worker_host
from segexport.process.worker import Worker

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import operator_sweep as sweep
from operators.forks import quick_workers
from stamped import RESULTS, load

CASES = ("p_norm as a vector", "pool2d counted zeros [")


def test_a_part_of_the_sweep_has_nothing_wrong(tmp_path: Path) -> None:
    cells = [cell for cell in sweep.all_cells() if cell.name.startswith(CASES)]
    journal = sweep.Journal(tmp_path)
    sweep.run(cells, journal, batch=64)
    rows = {key: row for key, row in journal.rows.items() if key[1] != "paddle"}
    assert {row.outcome for row in rows.values()} <= {"equal", "refused"}
    assert sum(row.outcome == "equal" for row in rows.values()) > len(cells)
    assert "Silently wrong: onnx 0, paddle-lite 0." in sweep.markdown(sweep.summary(cells, journal))


@pytest.mark.slow
def test_a_sample_of_the_sweep_has_nothing_wrong(tmp_path: Path) -> None:
    """$SWEEP_SEED draws other cells, $SWEEP_CELLS more of them."""
    size, seed = int(os.environ.get("SWEEP_CELLS", "600")), int(os.environ.get("SWEEP_SEED", "0"))
    cells = sweep.sample(sweep.all_cells(), size, seed)
    journal = sweep.Journal(tmp_path)
    sweep.run(cells, journal, batch=64)
    assert {key: row.detail for key, row in journal.rows.items() if row.outcome == "wrong"} == {}
    found = sweep.summary(cells, journal)
    for totals in found["totals"].values():
        assert totals["equal"] > 0.7 * found["cells"]


def test_the_table_has_nothing_wrong_and_each_operator() -> None:
    found = load(RESULTS / "operator_sweep.json")
    assert {name: totals["wrong"] for name, totals in found["totals"].items()} == {"onnx": 0, "paddle-lite": 0}
    assert set(found["operators"]) == {cell.family for cell in sweep.all_cells()}


def test_a_sample_has_each_operator_and_another_seed_draws_others() -> None:
    cells = sweep.all_cells()
    first, again, other = (sweep.sample(cells, 300, seed) for seed in (1, 1, 2))
    assert [cell.name for cell in first] == [cell.name for cell in again]
    assert {cell.name for cell in first} != {cell.name for cell in other}
    assert len(first) == len(other) == 300
    assert {cell.family for cell in first} == {cell.family for cell in cells}


def test_a_row_counts_for_what_it_was_measured_on(tmp_path: Path) -> None:
    cell = sweep.all_cells()[0]
    sweep.Journal(tmp_path).add(cell.name, "onnx", "one program", sweep.Row("equal"))
    later = sweep.Journal(tmp_path)
    assert not later.knows(cell, "onnx", "another program")
    assert later.rows == {}
    assert later.knows(cell, "onnx", "one program")
    assert later.rows == {(cell.name, "onnx"): sweep.Row("equal")}


_ENDS = """
import os
from worker_host import WorkerFailure

def add(arguments, arrays):
    return {"sum": arguments["a"] + arguments["b"], "process": os.getppid()}, []

def refuse(arguments, arrays):
    raise WorkerFailure("not today", cause="rain")

def abort(arguments, arrays):
    os.abort()

COMMANDS = {"add": add, "refuse": refuse, "abort": abort}
"""


def test_a_forked_worker_answers_and_ends_as_a_started_one(tmp_path: Path) -> None:
    script = tmp_path / "ends_worker.py"
    script.write_text(_ENDS)
    parents = set()
    with quick_workers(Path(worker_host.__file__), [script]):
        for shared in (False, True):
            with Worker(script, shared=shared) as worker:
                answer, _ = worker.call("add", {"a": 2, "b": 3}, timeout_s=60)
                assert answer["sum"] == 5
                parents.add(answer["process"])
                with pytest.raises(WorkerFailed, match="not today"):
                    worker.call("refuse", timeout_s=60)
        with Worker(script) as worker, pytest.raises(WorkerCrashed, match="SIGABRT"):
            worker.call("abort", timeout_s=60)
    assert os.getpid() not in parents
    assert "SEGEXPORT_PYTHON" not in os.environ


def test_a_difference_is_said() -> None:
    import numpy as np

    three, four = np.ones(3, np.float32), np.ones(4, np.float32)
    assert sweep.compare([three], [three]) == ""
    assert sweep.compare([four], [three]) == "sizes [4], in Paddle [3]"
    assert sweep.compare([three * 2], [three]) == "values differ by 1.0e+00 of the largest"
