"""A part of `benchmarks/operator_sweep.py`: Paddle builds small programs, the steps export them, the runtimes agree."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import operator_sweep as sweep

CASES = ("p_norm as a vector", "pool2d counted zeros [")


def test_a_part_of_the_sweep_has_nothing_wrong(tmp_path: Path) -> None:
    cells = [cell for cell in sweep.all_cells() if cell.name.startswith(CASES)]
    journal = sweep.Journal(tmp_path)
    sweep.run(cells, journal, batch=64)
    rows = {key: row for key, row in journal.rows.items() if key[1] != "paddle"}
    assert {row.outcome for row in rows.values()} <= {"equal", "refused"}
    assert sum(row.outcome == "equal" for row in rows.values()) > len(cells)
    assert "Silently wrong: onnx 0, paddle-lite 0." in sweep.markdown(sweep.summary(cells, journal))


def test_a_difference_is_said() -> None:
    import numpy as np

    three, four = np.ones(3, np.float32), np.ones(4, np.float32)
    assert sweep.compare([three], [three]) == ""
    assert sweep.compare([four], [three]) == "sizes [4], in Paddle [3]"
    assert sweep.compare([three * 2], [three]) == "values differ by 1.0e+00 of the largest"
