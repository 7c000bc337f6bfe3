"""Moving pictures with an exact truth, made by the tests, and models that find them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from segexport.artifact import Manifest, TargetDevice, file_entry, write_artifact
from segexport.spec import Format, Label, Pad, Precision, Preprocess, Resize, TensorSpec

SIZE = (96, 72)  # of the network: width, height


@pytest.fixture
def texture():
    """A smooth random picture, uint8 (height, width)."""

    def make(height: int, width: int, seed: int = 0, grain: float = 3.0) -> np.ndarray:
        noise = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), grain)
        return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)

    return make


def disc(index: int, size: tuple[int, int] = (128, 96)) -> np.ndarray:
    """(h, w) bool: where the bright disc of frame `index` is."""
    width, height = size
    ys, xs = np.mgrid[:height, :width]
    return (ys - height / 2) ** 2 + (xs - 30 - 2 * index) ** 2 < 20**2


def frames(count: int, size: tuple[int, int] = (128, 96)) -> list[np.ndarray]:
    """Frames in BGR: a bright red disc moves over dark waves."""
    width, height = size
    ys, xs = np.mgrid[:height, :width]
    waves = (50 + 30 * np.sin(xs / 7) * np.cos(ys / 9)).astype(np.uint8)
    found = []
    for index in range(count):
        frame = np.repeat(waves[..., None], 3, axis=2)
        frame[disc(index, size)] = (60, 60, 230)
        found.append(frame)
    return found


@pytest.fixture
def video(tmp_path):
    """Writes frames to a file, by OpenCV."""

    def make(name: str = "clip.avi", count: int = 12, codec: str = "MJPG", fps: float = 25.0, **options) -> Path:
        path, pictures = tmp_path / name, frames(count, **options)
        height, width = pictures[0].shape[:2]
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, (width, height))
        for picture in pictures:
            writer.write(picture)
        writer.release()
        return path

    return make


@pytest.fixture
def red_model(tmp_path):
    """An ONNX model that finds red: its score is that of red above blue, of two classes or as classes alone."""
    from onnx import TensorProto, helper, numpy_helper, save

    def make(semantics: str = "logits", classes: int = 2, color: str = "rgb") -> Path:
        folder = tmp_path / f"model_{semantics}_{classes}_{color}"
        folder.mkdir()
        weight = np.zeros((classes, 3, 1, 1), np.float32)
        bias = np.zeros(classes, np.float32)
        red, blue = (0, 2) if color == "rgb" else (2, 0)
        weight[1, red], weight[1, blue], bias[1] = 8, -8, -2
        weight[2:, red], bias[2:] = 1, -9
        nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y" if semantics == "logits" else "z"])]
        shape, kind = [1, classes, SIZE[1], SIZE[0]], TensorProto.FLOAT
        if semantics == "class_index":
            nodes.append(helper.make_node("ArgMax", ["z"], ["y"], axis=1, keepdims=0))
            shape, kind = [1, SIZE[1], SIZE[0]], TensorProto.INT64
        graph = helper.make_graph(
            nodes,
            "red",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIZE[1], SIZE[0]])],
            [helper.make_tensor_value_info("y", kind, shape)],
            [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
        save(model, str(folder / "model.onnx"))
        layout = "NCHW" if semantics == "logits" else "NHW"
        dtype = "float32" if semantics == "logits" else "int64"
        output = TensorSpec(name="y", dtype=dtype, shape=tuple(shape), layout=layout, semantics=semantics)
        image = TensorSpec(name="x", dtype="float32", shape=(1, 3, SIZE[1], SIZE[0]), layout="NCHW", semantics="image")
        geometry = (Resize(width=SIZE[0], height=SIZE[1], keep_ratio=True), Pad(width=SIZE[0], height=SIZE[1]))
        manifest = Manifest(
            name="red",
            format=Format.ONNX,
            files=(file_entry(folder, "model.onnx"),),
            inputs=(image,),
            outputs=(output,),
            preprocess=Preprocess(color=color, geometry=geometry, mean=(0.0,) * 3, std=(1.0,) * 3),
            labels=tuple(
                Label(id=i, name=("back", "front", "none")[min(i, 2)], rgb=(40 * i, 250 - 40 * i, 9))
                for i in range(classes)
            ),
            target=TargetDevice(arch="any", precision=Precision.FP32),
        )
        write_artifact(folder, manifest)
        return folder

    return make
