"""Small ONNX models with every kind of head."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segexport.artifact import Manifest, ModelArtifact, TargetDevice, file_entry, write_artifact
from segexport.spec import Format, Label, Pad, Precision, Preprocess, Resize, TensorSpec

WIDTH, HEIGHT, CLASSES = 32, 24, 5


def manifest(folder: Path, output: TensorSpec, channels: int = 3) -> Manifest:
    """Of a model that takes 32x24: fitted, then padded."""
    grey = (127.5,) * channels
    geometry = (Resize(width=WIDTH, height=HEIGHT, keep_ratio=True), Pad(width=WIDTH, height=HEIGHT, value=grey))
    half = (0.5,) * channels
    own = {} if channels == 3 else {"color": "channels", "depth": "stored"}
    contract = Preprocess(**own, geometry=geometry, mean=half, std=half)
    size = (-1, -1) if channels == 3 else (HEIGHT, WIDTH)
    weights = [path.name for path in folder.iterdir() if path.suffix == ".bin"]
    return Manifest(
        name="convolution",
        format=Format.ONNX,
        files=(file_entry(folder, "model.onnx"), *(file_entry(folder, name, "params") for name in weights)),
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1, channels, *size), layout="NCHW", semantics="image"),),
        outputs=(output,),
        preprocess=contract,
        labels=tuple(Label(id=i, name=f"class {i}", rgb=(40 * i, 255 - 40 * i, 20 * i)) for i in range(CLASSES)),
        target=TargetDevice(arch="any", precision=Precision.FP32),
    )


def convolution(
    folder: Path,
    *,
    dtype: str = "float32",
    layout: str = "NCHW",
    semantics: str = "logits",
    channels: int = 3,
    weights: str = "",
    fixed: bool = False,
) -> ModelArtifact:
    """A 3x3 convolution to 5 classes, and the head that is asked for; its weights in a file `weights`, if named.

    `fixed`: of one size, which XNNPACK and NNAPI want.
    """
    from onnx import TensorProto, checker, helper, numpy_helper, save

    types = {
        "float32": TensorProto.FLOAT,
        "int64": TensorProto.INT64,
        "int32": TensorProto.INT32,
        "uint8": TensorProto.UINT8,
    }
    weight = np.random.default_rng(0).normal(size=(CLASSES, channels, 3, 3)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["scores"], pads=[1, 1, 1, 1])]
    shape: list[str | int] = [1, CLASSES, "h", "w"]
    if semantics == "class_index":
        keep = int(layout == "NCHW")
        nodes.append(helper.make_node("ArgMax", ["scores"], ["mask"], axis=1, keepdims=keep))
        nodes.append(helper.make_node("Cast", ["mask"], ["y"], to=types[dtype]))
        shape = [1, *([1] * keep), "h", "w"]
    elif layout == "NHWC":
        nodes.append(helper.make_node("Transpose", ["scores"], ["y"], perm=[0, 2, 3, 1]))
        shape = [1, "h", "w", CLASSES]
    else:
        nodes.append(helper.make_node("Identity", ["scores"], ["y"]))
    sizes = {"h": HEIGHT, "w": WIDTH} if fixed else {}
    shape = [sizes.get(size, size) if isinstance(size, str) else size for size in shape]
    graph = helper.make_graph(
        nodes,
        "convolution",
        [
            helper.make_tensor_value_info(
                "x", TensorProto.FLOAT, [1, channels, sizes.get("h", "h"), sizes.get("w", "w")]
            )
        ],
        [helper.make_tensor_value_info("y", types[dtype], shape)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    folder.mkdir()
    beside = {"save_as_external_data": True, "location": weights, "size_threshold": 0} if weights else {}
    save(model, str(folder / "model.onnx"), **beside)
    free = tuple(size if isinstance(size, int) else -1 for size in shape)
    output = TensorSpec(name="y", dtype=dtype, shape=free, layout=layout, semantics=semantics)  # type: ignore[arg-type]
    return write_artifact(folder, manifest(folder, output, channels))
