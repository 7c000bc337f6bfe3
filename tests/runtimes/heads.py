"""One convolution under every kind of head, for every runtime, and what it must give: worked out in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from graphs import Graph
from installed import require

from segexport.artifact import Manifest, ModelArtifact, TargetDevice, file_entry, write_artifact
from segexport.exporter.program import Program
from segexport.exporter.to_openvino import ToOpenVino
from segexport.pipeline.step import StepContext
from segexport.process.worker import Worker
from segexport.spec import Format, Label, Precision, Preprocess, TensorSpec

HEIGHT, WIDTH = 4, 6
WORKERS = Path(__file__).resolve().parents[2] / "exporter" / "workers"


@dataclass(frozen=True)
class Head:
    """A way for a model to end.

    Attributes:
        channels: Of the convolution in front of it.
        semantics, layout: As in the manifest.
    """

    name: str
    channels: int
    semantics: str
    layout: str

    @property
    def weight(self) -> np.ndarray:
        """(channels, 3, 1, 1) float32."""
        return np.random.default_rng(5).normal(size=(self.channels, 3, 1, 1)).astype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        sizes = {"N": 1, "C": self.channels, "H": HEIGHT, "W": WIDTH}
        return tuple(sizes[axis] for axis in self.layout)

    def scores(self, tensor: np.ndarray) -> np.ndarray:
        """(channels, H, W) float64: what the head makes of the convolution's output."""
        logits = np.einsum("oc,chw->ohw", self.weight[:, :, 0, 0].astype(np.float64), tensor[0].astype(np.float64))
        if self.name == "softmax":
            exponents = np.exp(logits - logits.max(0))
            return exponents / exponents.sum(0)
        if self.name == "sigmoid":
            return 1 / (1 + np.exp(-logits))
        return logits

    def mask(self, tensor: np.ndarray) -> np.ndarray:
        scores = self.scores(tensor)
        if len(scores) == 1:
            return (scores[0] > (0.5 if self.semantics == "probability" else 0)).astype(np.uint8)
        return scores.argmax(0).astype(np.uint8)

    def margin(self, tensor: np.ndarray) -> np.ndarray | None:
        if self.semantics == "class_index":
            return None
        scores = np.sort(self.scores(tensor), axis=0)
        if len(scores) == 1:
            return abs(scores[0] - (0.5 if self.semantics == "probability" else 0))
        return scores[-1] - scores[-2]


HEADS = {
    head.name: head
    for head in (
        Head("logits", 3, "logits", "NCHW"),
        Head("softmax", 3, "probability", "NCHW"),
        Head("argmax", 3, "class_index", "NHW"),
        Head("nhwc", 3, "logits", "NHWC"),
        Head("sigmoid", 1, "probability", "NCHW"),
        Head("single logit", 1, "logits", "NCHW"),
        Head("infinite", 3, "logits", "NCHW"),
    )
}


def tensor(seed: int = 0) -> np.ndarray:
    """float32 (1, 3, HEIGHT, WIDTH)."""
    return np.random.default_rng(seed).normal(size=(1, 3, HEIGHT, WIDTH)).astype(np.float32)


def paddle_program(head: Head) -> Program:
    graph = Graph()
    full = (1, head.channels, HEIGHT, WIDTH)
    convolution = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 1}
    inputs = {"Input": graph.feed(1, 3, HEIGHT, WIDTH), "Filter": graph.param(head.weight)}
    out = graph.op("conv2d", inputs, full, slot="Output", **convolution)
    if head.name == "softmax":
        out = graph.op("softmax", {"X": out}, full, axis=1)
    elif head.name == "sigmoid":
        out = graph.op("sigmoid", {"X": out}, full)
    elif head.name == "argmax":
        types = {"dtype": ("INT", 2), "axis": ("LONG", 1)}
        out = graph.op("arg_max", {"X": out}, head.shape, dtype="int32", typed=types, keepdims=False, flatten=False)
    elif head.name == "nhwc":
        sizes = {"Out": head.shape, "XShape": (0, *full)}
        out = graph.op("transpose2", {"X": out}, sizes, axis=[0, 2, 3, 1])
    elif head.name == "infinite":
        zeros = graph.param(np.zeros(full, np.float32))
        out = graph.op("elementwise_div", {"X": out, "Y": zeros}, full, axis=-1)
    return graph.program(out)


def make_paddle(head: Head, folder: Path) -> ModelArtifact:
    program = paddle_program(head)
    model, params = program.write(folder)
    files = (file_entry(folder, model.name), file_entry(folder, params.name, "params"))
    return _artifact(head, folder, Format.PADDLE, files, program.feed_names[0], program.fetch_names[0])


def make_paddle_lite(head: Head, folder: Path) -> ModelArtifact:
    program = paddle_program(head)
    model, params = program.write(folder)
    arguments = {"model": str(model), "params": str(params), "stem": str(folder / "model.x86"), "places": "x86"}
    with Worker(WORKERS / "lite_opt_worker.py", needs="paddlelite") as worker:
        worker.call("compile", {**arguments, "fp16": False, "weight_int8": False}, timeout_s=60)
    files = (file_entry(folder, "model.x86.nb", "host_model"),)
    return _artifact(head, folder, Format.PADDLE_LITE, files, program.feed_names[0], program.fetch_names[0])


def make_onnx(head: Head, folder: Path) -> ModelArtifact:
    from onnx import TensorProto, helper, numpy_helper, save

    constants = {"w": head.weight, "zeros": np.zeros((1, head.channels, HEIGHT, WIDTH), np.float32)}
    ends = {
        "softmax": helper.make_node("Softmax", ["z"], ["y"], axis=1),
        "sigmoid": helper.make_node("Sigmoid", ["z"], ["y"]),
        "argmax": helper.make_node("ArgMax", ["z"], ["y"], axis=1, keepdims=0),
        "nhwc": helper.make_node("Transpose", ["z"], ["y"], perm=[0, 2, 3, 1]),
        "infinite": helper.make_node("Div", ["z", "zeros"], ["y"]),
    }
    kind = TensorProto.INT64 if head.name == "argmax" else TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["z"]),
            ends.get(head.name, helper.make_node("Identity", ["z"], ["y"])),
        ],
        "head",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("y", kind, head.shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), folder / "model.onnx")
    return _artifact(head, folder, Format.ONNX, (file_entry(folder, "model.onnx"),), "x", "y", "int64")


def make_mnn(head: Head, folder: Path) -> ModelArtifact:
    require("onnx")
    source = folder / "source"
    source.mkdir()
    arguments = {"model": str(make_onnx(head, source).file("model")), "source_format": "ONNX", "options": []}
    with Worker(WORKERS / "mnn_convert_worker.py", needs="MNN") as worker:
        worker.call("convert", {**arguments, "out": str(folder / "model.mnn")}, timeout_s=60)
    return _artifact(head, folder, Format.MNN, (file_entry(folder, "model.mnn"),), "x", "y")


def make_litert(head: Head, folder: Path) -> ModelArtifact:
    require("onnx")
    (source := folder / "source").mkdir()
    arguments = {"onnx": str(make_onnx(head, source).file("model")), "precision": "fp32", "channels_last": ["x"]}
    with Worker(WORKERS / "litert_convert_worker.py", needs=("ai_edge_litert", "onnx")) as worker:
        worker.call("convert", {**arguments, "out": str(folder / "model.tflite")}, timeout_s=60)
    made = _artifact(head, folder, Format.LITERT, (file_entry(folder, "model.tflite"),), "x", "y")
    (image,) = made.manifest.inputs
    return write_artifact(folder, made.manifest.model_copy(update={"inputs": (image.channels_last,)}))


def make_ncnn(head: Head, folder: Path) -> ModelArtifact:
    require("onnx")
    (source := folder / "source").mkdir()
    files = {"param": str(folder / "model.ncnn.param"), "bin": str(folder / "model.ncnn.bin")}
    options = [f"inputshape=[1,3,{HEIGHT},{WIDTH}]", "fp16=0"]
    with Worker(WORKERS / "pnnx_worker.py", needs=("ncnn", "pnnx")) as worker:
        model = str(make_onnx(head, source).file("model"))
        worker.call("convert", {"model": model, "options": options, **files}, timeout_s=60)
    entries = file_entry(folder, "model.ncnn.param"), file_entry(folder, "model.ncnn.bin", "params")
    return _artifact(head, folder, Format.NCNN, entries, "x", "y")


def make_openvino(head: Head, folder: Path) -> ModelArtifact:
    (before := folder / "onnx").mkdir()
    source = make_onnx(head, before)
    return write_artifact(folder, ToOpenVino().run(source, folder, StepContext()))


def _artifact(
    head: Head, folder: Path, format: Format, files: tuple, feed: str, fetch: str, index_dtype: str = "int32"
) -> ModelArtifact:
    dtype = index_dtype if head.semantics == "class_index" else "float32"
    shape = (1, 3, HEIGHT, WIDTH)
    manifest = Manifest(
        name=head.name,
        format=format,
        files=files,
        inputs=(TensorSpec(name=feed, dtype="float32", shape=shape, layout="NCHW", semantics="image"),),
        outputs=(TensorSpec(name=fetch, dtype=dtype, shape=head.shape, layout=head.layout, semantics=head.semantics),),
        preprocess=Preprocess(),
        labels=tuple(Label(id=index, name=f"class {index}", rgb=(0, 0, 0)) for index in range(max(head.channels, 2))),
        target=TargetDevice(arch="any", precision=Precision.FP32),
    )
    return write_artifact(folder, manifest)
