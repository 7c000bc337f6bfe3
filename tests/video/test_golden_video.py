"""The pinned vectors are what Python computes; the Java core is tested against the same file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "video"
sys.path.insert(0, str(GOLDEN))
import make  # noqa: E402 - lies beside the vectors

CASES = json.loads((GOLDEN / "cases.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_vectors_are_met(case):
    blob = (GOLDEN / "vectors.bin").read_bytes()

    def read(key: str) -> np.ndarray:
        entry = case[key]
        count = int(np.prod(entry["shape"]))
        return np.frombuffer(blob, entry["dtype"], count, entry["offset"]).reshape(entry["shape"])

    grey, scores = read("grey"), read("scores")
    given = make.Given(read("forward"), read("backward"))
    np.testing.assert_allclose(make.smoothed(scores, grey, given), read("smooth"), atol=1e-6)
    np.testing.assert_allclose(make.smoothed(scores, grey, make.BlockFlow()), read("blocks_smooth"), atol=1e-6)
    for index, flow in enumerate(read("blocks")):
        np.testing.assert_array_equal(make.BlockFlow()(grey[index], grey[index + 1]), flow)
    np.testing.assert_allclose(make.alpha(read("smooth")[-1, -1]), read("alpha"), atol=1e-6)


def test_all_cases_are_pinned():
    assert [case["name"] for case in CASES] == list(make.CASES)
