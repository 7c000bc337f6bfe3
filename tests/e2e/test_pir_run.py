"""A folder as PaddleX 3 writes it, from the recipe to the report: the original, ONNX, int8 and Paddle-Lite."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "exporter"))
import pir_cases  # noqa: E402

CLASSES = ("sky", "road", "tree", "car")
CONFIG = """\
Global:
  model_name: Tiny
PreProcess:
  transform_ops:
  - Resize: {target_size: [48, 32], keep_ratio: false}
  - Normalize: {mean: [0.5, 0.4, 0.3], std: [0.5, 0.5, 0.5]}
  - ToCHWImage: null
PostProcess:
  label_list: [sky, road, tree, car]
"""


def put_export(folder: Path, config: str) -> None:
    """Paddle 3's two files of a network of dynamic size with four classes, and what PaddleX writes beside them."""
    folder.mkdir()
    case = pir_cases.read(TESTS / "golden" / "pir" / "cases.zip")["segmentation_dynamic"]
    for file, name in zip(case.write(folder), ("inference.json", "inference.pdiparams"), strict=True):
        file.rename(folder / name)
    if config:
        (folder / "inference.yml").write_text(config)


def put_images(folder: Path) -> None:
    random = np.random.default_rng(0)
    lines = [f"{index}.png {index}_label.png" for index in range(3)]
    folder.mkdir()
    for index in range(3):
        coarse = random.integers(0, 256, (4, 6, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(coarse, (48, 32)))
        cv2.imwrite(str(folder / f"{index}_label.png"), random.integers(0, 4, (32, 48), np.uint8))
    for split in ("train", "val"):
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    (folder / "labels.txt").write_text("\n".join(CLASSES) + "\n")


@pytest.mark.parametrize("config", [CONFIG, ""], ids=["with inference.yml", "without"])
def test_a_run_on_an_export_of_paddle_3(workplace, config: str) -> None:
    put_export(workplace.root / "export", config)
    put_images(workplace.root / "street")
    recipe = workplace.recipe(
        model={"path": "export"},
        data={"path": "street", "split": "val", "calibration_split": "train"},
        exports=[{"to": "onnx"}, {"to": "onnx", "precision": "int8"}, {"to": "paddle-lite"}],
    )
    done = workplace.segexport("run", recipe)
    assert done.code in (0, 1), done.stderr  # three images do not decide about int8
    report = workplace.report("out/recipe")
    onnx, int8, lite = report["exports"]
    assert (onnx["agreement"], lite["agreement"]) == (1.0, 1.0)
    assert (onnx["verdict"], lite["verdict"]) == ("PASS", "PASS")
    assert int8["agreement"] > 0.97

    shown = workplace.segexport("inspect", "export")
    assert shown.code == 0, shown.stderr
    assert "translated" not in shown.stderr
    names = CLASSES if config else [f"class_{index}" for index in range(4)]
    assert f"4: {', '.join(names)}" in shown.stdout
