"""Small ONNX artifacts to be served: one whose answer can be told by hand, one that takes its time, one without end."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segexport.artifact import Manifest, TargetDevice, file_entry, write_artifact
from segexport.spec import Format, Precision, Preprocess, Resize, TensorSpec
from segexport.ui.pictures import default_labels


def _artifact(
    folder: Path,
    nodes: list,
    constants: dict[str, np.ndarray],
    *,
    classes: int,
    side: int | None,
    argmax: bool = False,
) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    height, width = ("h", "w") if side is None else (side, side)
    channels = [] if argmax else [classes]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, height, width])],
        [
            helper.make_tensor_value_info(
                "y", TensorProto.INT64 if argmax else TensorProto.FLOAT, [1, *channels, height, width]
            )
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    net = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    folder.mkdir(parents=True)
    onnx.save(net, folder / "model.onnx")
    sides = (-1, -1) if side is None else (side, side)
    manifest = Manifest(
        name=folder.name,
        format=Format.ONNX,
        files=(file_entry(folder, "model.onnx"),),
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 3, *sides), layout="NCHW", semantics="image"),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(1, classes, *sides), layout="NCHW", semantics="logits"),),
        preprocess=Preprocess(
            mean=(0, 0, 0), std=(1, 1, 1), geometry=() if side is None else (Resize(width=side, height=side),)
        ),
        labels=default_labels([f"class {index}" for index in range(classes)]),
        target=TargetDevice(arch="any", precision=Precision.FP32),
    )
    write_artifact(folder, manifest)
    return folder


def red(folder: Path) -> Path:
    """Class 1 where red is above one half, class 0 elsewhere; takes images of any size."""
    from onnx import helper

    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"])]
    return _artifact(folder, nodes, _red_weights(), classes=2, side=None)


def red_argmax(folder: Path) -> Path:
    """The same, with the mask made inside the model."""
    from onnx import helper

    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["y"], axis=1, keepdims=0),
    ]
    return _artifact(folder, nodes, _red_weights(), classes=2, side=None, argmax=True)


def _red_weights() -> dict[str, np.ndarray]:
    weights = np.zeros((2, 3, 1, 1), np.float32)
    weights[1, 0] = 1
    return {"w": weights, "b": np.array([0.5, 0], np.float32)}


def brightness(folder: Path, classes: int = 12) -> Path:
    """The class grows with brightness, from 0 to the last; takes images of any size."""
    from onnx import helper

    # argmax over k of k * x - k^2 / (2 (classes - 1)) is the k nearest to (classes - 1) * x
    steps = np.arange(classes, dtype=np.float32)
    weights = np.repeat(steps.reshape(-1, 1, 1, 1) / 3, 3, axis=1)
    constants = {"w": weights.astype(np.float32), "b": -(steps**2) / np.float32(2 * (classes - 1))}
    return _artifact(folder, [helper.make_node("Conv", ["x", "w", "b"], ["y"])], constants, classes=classes, side=None)


def slow(folder: Path, rounds: int) -> Path:
    """Class 0 everywhere, after so many rounds over 64x64 pixels; 2000 take some 50 ms."""
    from onnx import TensorProto, helper

    shape = [1, 2, 64, 64]
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["still"]), helper.make_node("Cos", ["state"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, shape),
        ],
    )
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["z"]),
        helper.make_node("Loop", ["rounds", "true", "z"], ["y"], body=body),
    ]
    constants = {"w": np.zeros((2, 3, 1, 1), np.float32), "rounds": np.array(rounds), "true": np.array(True)}
    return _artifact(folder, nodes, constants, classes=2, side=64)


def endless_on_white(folder: Path) -> Path:
    """Answers at once, but runs for ever on an image whose first pixel is white."""
    from onnx import TensorProto, helper

    shape = [1, 2, 64, 64]
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["still"]), helper.make_node("Cos", ["state"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, shape),
        ],
    )
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["z"]),
        helper.make_node("Slice", ["x", "start", "end"], ["first"]),
        helper.make_node("Reshape", ["first", "scalar"], ["value"]),
        helper.make_node("Cast", ["value"], ["floor"], to=TensorProto.INT64),  # 1 for white, 0 for all else
        helper.make_node("Mul", ["floor", "many"], ["rounds"]),
        helper.make_node("Loop", ["rounds", "true", "z"], ["y"], body=body),
    ]
    constants = {
        "w": np.zeros((2, 3, 1, 1), np.float32),
        "start": np.zeros(4, np.int64),
        "end": np.ones(4, np.int64),
        "scalar": np.zeros(0, np.int64),
        "many": np.array(2**62),
        "true": np.array(True),
    }
    return _artifact(folder, nodes, constants, classes=2, side=64)
