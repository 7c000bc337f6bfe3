"""The pinned frames of a camera, against Pillow's conversion and the contract; the Java core reads the same file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segexport import preprocess
from segexport.spec import Preprocess

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "camera"
CASES = json.loads((GOLDEN / "cases.json").read_text())["cases"]
BLOB = (GOLDEN / "vectors.bin").read_bytes()
TURNED = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}


def read(entry: dict) -> np.ndarray:
    return np.frombuffer(BLOB, entry["dtype"], int(np.prod(entry["shape"])), entry["offset"]).reshape(entry["shape"])


def samples(plane: dict, width: int, height: int) -> np.ndarray:
    """The plane without its strides, (height, width)."""
    at = np.arange(height)[:, None] * plane["row_stride"] + np.arange(width) * plane["pixel_stride"]
    return read(plane)[at]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_vectors_are_met(case: dict) -> None:
    left, top, width, height = case["crop"]
    columns, rows = left + width, top + height
    luma = samples(case["luma"], columns, rows)
    chroma = [
        samples(case[name], (columns + 1) // 2, (rows + 1) // 2).repeat(2, axis=0).repeat(2, axis=1)[:rows, :columns]
        for name in ("u", "v")
    ]
    image = Image.fromarray(np.dstack([luma, *chroma]), "YCbCr").convert("RGB").crop((left, top, columns, rows))
    if case["rotation"]:
        image = image.transpose(TURNED[case["rotation"]])
    if case["mirrored"]:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    rgb = read(case["rgb"])
    assert np.abs(np.asarray(image).astype(int) - rgb).max() <= 1
    tensor, _ = preprocess.apply(Preprocess.model_validate(case["preprocess"]), rgb)
    np.testing.assert_allclose(tensor, read(case["tensor"]), atol=1e-6)


def test_every_layout_and_turn_is_pinned() -> None:
    kinds = {(case["layout"], case["rotation"], case["mirrored"]) for case in CASES}
    assert len(kinds) == 4 * 4 * 2
    assert {case["u"]["pixel_stride"] for case in CASES} == {1, 2}
    assert any(case["luma"]["row_stride"] > 22 for case in CASES)
    assert {case["crop"][0] % 2 for case in CASES} == {0, 1}
    assert sum(file.stat().st_size for file in GOLDEN.iterdir()) < 160_000
