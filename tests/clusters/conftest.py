"""ONNX models whose outputs are colours of the image, so that a test draws the fields that it wants clustered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segexport.artifact import Manifest, TargetDevice, file_entry, write_artifact
from segexport.spec import Format, Label, Pad, Precision, Preprocess, Resize, TensorSpec


def save(
    folder: Path,
    outputs: dict[str, tuple[np.ndarray, np.ndarray, str]],
    *,
    size: tuple[int, int] = (-1, -1),
    letterbox: tuple[int, int] | None = None,
    labels: tuple[str, ...] = ("nothing", "something"),
    postprocess=None,
) -> Path:
    """Writes an artifact whose outputs are 1x1 convolutions of the image's grey levels.

    Args:
        outputs: Name -> (weights (channels, 3), bias (channels,), semantics).
        size: (height, width) of the input.
        letterbox: (width, height) to fit images into.
    """
    from onnx import TensorProto, helper, numpy_helper
    from onnx import save as save_model

    folder.mkdir()
    sides = [side if side > 0 else name for side, name in zip(size, "hw", strict=True)]
    nodes, constants, values, specs = [], [], [], []
    for name, (weights, bias, semantics) in outputs.items():
        nodes.append(helper.make_node("Conv", ["x", f"{name}_w", f"{name}_b"], [f"{name}_z"]))
        nodes.append(helper.make_node("Sigmoid" if semantics == "probability" else "Identity", [f"{name}_z"], [name]))
        constants.append(numpy_helper.from_array(np.float32(weights)[:, :, None, None], f"{name}_w"))
        constants.append(numpy_helper.from_array(np.float32(bias), f"{name}_b"))
        values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, len(bias), *sides]))
        spec = {"name": name, "dtype": "float32", "shape": (1, len(bias), *size), "layout": "NCHW"}
        specs.append(TensorSpec(**spec, semantics=semantics))
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, *sides])
    graph = helper.make_graph(nodes, "fields", [image], values, constants)
    opsets = [helper.make_opsetid("", 15)]
    save_model(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(folder / "model.onnx"))
    fitted = ()
    if letterbox is not None:
        width, height = letterbox
        fitted = (Resize(width=width, height=height, keep_ratio=True), Pad(width=width, height=height, value=(0,) * 3))
    manifest = Manifest(
        name="fields",
        format=Format.ONNX,
        files=(file_entry(folder, "model.onnx"),),
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 3, *size), layout="NCHW", semantics="image"),),
        outputs=tuple(specs),
        preprocess=Preprocess(geometry=fitted, scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3),
        postprocess=postprocess,
        labels=tuple(Label(id=i, name=name, rgb=(0, 90 * i, 200)) for i, name in enumerate(labels)),
        target=TargetDevice(arch="any", precision=Precision.FP32),
    )
    write_artifact(folder, manifest)
    return folder


@pytest.fixture
def saved(tmp_path):
    def make(name: str, outputs, **options) -> Path:
        return save(tmp_path / name, outputs, **options)

    return make
