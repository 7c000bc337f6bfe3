"""From a detector's raw outputs to objects, as the workers do it: padding rows, NaN, and shapes that are none."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(REPOSITORY / "runtimes/workers"), str(REPOSITORY / "src/segexport/process")]

import instances  # noqa: E402
from worker_host import WorkerFailure  # noqa: E402

SPECS = [{"semantics": "boxes"}, {"semantics": "box_count"}, {"semantics": "instance_masks"}]
ROWS = np.array(
    [
        [1, 0.5, 0, 0, 4, 4],
        [0, 0.9, 1, 1, 9, 5],
        [-1, 0.8, 0, 0, 4, 4],  # no object
        [0, 0.0, 0, 0, 1, 1],  # appended by the export, so that nothing is empty
        [0, 0.7, 5, 5, 5, 9],  # no area
    ],
    np.float32,
)


def outputs(rows: np.ndarray, count: int | None = None, size: tuple[int, int] = (10, 6)) -> list[np.ndarray]:
    masks = np.zeros((len(rows), *size[::-1]), np.int32)
    for index, mask in enumerate(masks):
        mask[:, : index + 1] = 1
    return [rows, np.array([len(rows) if count is None else count], np.int32), masks]


def test_objects_come_best_first_without_those_that_are_none() -> None:
    rows, bits, size, finite = instances.objects(outputs(ROWS), SPECS)
    assert rows[:, 1].tolist() == pytest.approx([0.9, 0.5])
    assert size == [10, 6]
    assert finite
    assert bits.shape == (2, 6, 2)
    assert np.unpackbits(bits, axis=2).sum(axis=(1, 2)).tolist() == [2 * 6, 1 * 6]  # masks stay with their rows


def test_only_as_many_as_are_counted() -> None:
    assert len(instances.objects(outputs(ROWS, 1), SPECS)[0]) == 1
    assert len(instances.objects(outputs(ROWS, 0), SPECS)[0]) == 0
    assert len(instances.objects(outputs(ROWS[:0]), SPECS)[0]) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [1, 3])
def test_numbers_that_are_none_are_left_out_and_told(value: float, column: int) -> None:
    rows = ROWS[:2].copy()
    rows[0, column] = value
    found, bits, _, finite = instances.objects(outputs(rows), SPECS)
    assert not finite
    assert found[:, 1].tolist() == pytest.approx([0.9])
    assert len(bits) == 1


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ([np.zeros((2, 7), np.float32), np.array([2]), np.zeros((2, 6, 10))], "rows of objects have the shape"),
        ([ROWS, np.array([2, 3]), np.zeros((5, 6, 10))], "objects of 2 images at once"),
        ([ROWS, np.array([5]), np.zeros((5, 3, 28, 28))], "masks of shape"),
        ([ROWS, np.array([5]), np.zeros((2, 6, 10))], "masks of shape .* for 5 objects"),
    ],
)
def test_other_shapes_are_refused(broken: list[np.ndarray], message: str) -> None:
    with pytest.raises(WorkerFailure, match=message):
        instances.objects(broken, SPECS)
