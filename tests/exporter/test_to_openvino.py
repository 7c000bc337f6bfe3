"""OpenVINO exports: the demo's model in every precision, compared with ONNX Runtime, and what really runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from graphs import Graph
from installed import require, require_worker
from workshop import SIDE, Workshop

from segexport.artifact import ModelArtifact
from segexport.check.audit import audit
from segexport.check.compare import check
from segexport.check.request import CheckRequest
from segexport.data.dataset import Dataset
from segexport.errors import InputError, UnsupportedModelError, WorkerError
from segexport.exporter.from_openvino import adopt_openvino
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.onnx_quantize import QuantizeOnnx
from segexport.exporter.targets.onnx import OnnxExport
from segexport.exporter.targets.openvino import OpenVinoExport
from segexport.exporter.to_onnx import ToOnnx
from segexport.exporter.to_openvino import ToOpenVino
from segexport.files.store import Store
from segexport.importers.model_files import find_model
from segexport.judge.results import Export
from segexport.pipeline.plan import PlanRunner, plan
from segexport.pipeline.registry import runtime_for
from segexport.pipeline.step import StepContext
from segexport.process.worker import Worker
from segexport.recipe.calibration import Calibration
from segexport.recipe.schema import CheckRecipe, Recipe
from segexport.references.live import LiveReference
from segexport.runtimes.base import RunOptions
from segexport.spec import Precision
from segexport.verdict import Verdict

DEMO = Path(__file__).resolve().parents[2] / "src/segexport/demo"
ALL_INT8 = Calibration(agreement=0)  # no convolution stays float
PRECISIONS = (Precision.FP32, Precision.FP16, Precision.INT8)
INT8 = ("onnx-int8", "openvino-int8")


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> dict[str, ModelArtifact]:
    """`onnx-fp32`, `openvino-fp32`, ..., and their `source`."""
    require("paddle2onnx")
    require_worker("openvino")
    store = Store(tmp_path_factory.mktemp("store"))
    source = import_model(DEMO / "model", ImportOptions(), store)
    wanted = [OnnxExport(to="onnx", precision=one, calibration=ALL_INT8) for one in PRECISIONS]
    wanted += [OpenVinoExport(to="openvino", precision=one, calibration=ALL_INT8) for one in PRECISIONS]
    recipe = Recipe.model_construct(model=None, data=None, exports=tuple(wanted))
    data = Dataset.open(DEMO / "data", "train")
    builder = PlanRunner(store, StepContext(data=data))
    found = {"source": source}
    for name, chain in plan(recipe, source, data.fingerprint).chains.items():
        found[name] = builder.build(name, source, chain)
    return found


def test_the_axes_of_logsumexp(workshop: Workshop) -> None:
    """OpenVINO's reader ignores those of ONNX's ReduceLogSumExp."""
    require("paddle2onnx")
    require_worker("openvino")
    graph, dims = Graph(), (1, 3, SIDE, SIDE)
    x = graph.feed(*dims)
    attrs = {"axis": [2, 3], "keepdim": True, "reduce_all": False}
    total = graph.op("logsumexp", {"X": x}, (1, 3, 1, 1), **attrs)
    program = graph.program(graph.op("elementwise_sub", {"X": x, "Y": total}, dims, axis=-1))
    made = workshop.made(ToOpenVino(), workshop.made(ToOnnx(), workshop.imported(program)))
    (given,) = image(made)
    expected = given - np.log(np.exp(given).sum((2, 3), keepdims=True))
    np.testing.assert_allclose(outputs(made), expected, atol=1e-5)


def image(artifact: ModelArtifact) -> list[np.ndarray]:
    return [np.random.default_rng(0).normal(size=artifact.manifest.inputs[0].shape).astype(np.float32)]


def outputs(artifact: ModelArtifact, runtime: str = "") -> np.ndarray:
    with runtime_for(artifact.manifest.format, name=runtime).open(artifact, RunOptions()) as session:
        return session.outputs(image(artifact))[0]


def test_fp32_gives_what_onnx_runtime_gives(exports):
    expected = outputs(exports["onnx-fp32"])
    assert np.ptp(expected) > 1
    for found in (outputs(exports["openvino-fp32"]), outputs(exports["onnx-fp32"], "openvino")):
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_export_gives_what_its_onnx_gives_in_openvino(exports, precision):
    """The conversion changes nothing but the file; fp16 weights are rounded the same."""
    expected = outputs(exports[f"onnx-{precision.value}"], "openvino")
    found = outputs(exports[f"openvino-{precision.value}"])
    np.testing.assert_allclose(found, expected, atol=2e-2 if precision is Precision.FP16 else 1e-4)
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.999


def test_attention_with_biases_for_each_window_is_converted(workshop):
    """OpenVINO's own fusion of it fails: 3 windows of 2 heads are 6 matrices, and the biases of the heads are 2."""
    require("paddle2onnx")
    require_worker("openvino")
    graph, (heads, windows, pixels, width) = Graph(), (2, 3, SIDE, SIDE)
    image = graph.feed(1, 3, SIDE, SIDE)

    def shaped(name: str, *dims: int) -> str:
        return graph.op("reshape2", {"X": name}, {"Out": dims, "XShape": (0, *graph.shape(name))}, shape=list(dims))

    def product(x: str, y: str, dims: tuple[int, ...], *, turned: bool = False) -> str:
        return graph.op("matmul_v2", {"X": x, "Y": y}, dims, trans_x=False, trans_y=turned)

    def part() -> str:
        both = product(image, graph.noise(width, heads * width), (1, windows, pixels, heads * width))
        apart = shaped(both, windows, pixels, heads, width)
        turned = {"Out": (windows, heads, pixels, width), "XShape": (0, *graph.shape(apart))}
        return shaped(graph.op("transpose2", {"X": apart}, turned, axis=[0, 2, 1, 3]), windows * heads, pixels, width)

    scores = product(part(), part(), (windows * heads, pixels, pixels), turned=True)
    per_window = (windows, heads, pixels, pixels)
    biases = {"X": shaped(scores, *per_window), "Y": graph.noise(1, heads, pixels, pixels)}
    scores = shaped(graph.op("elementwise_add", biases, per_window, axis=-1), windows * heads, pixels, pixels)
    shares = graph.op("softmax", {"X": scores}, (windows * heads, pixels, pixels), axis=-1)
    found = product(shares, part(), (windows * heads, pixels, width))
    source = workshop.made(ToOnnx(), workshop.imported(graph.program(shaped(found, 1, windows * heads, pixels, width))))
    made = workshop.made(ToOpenVino(), source)
    expected = outputs(source)
    np.testing.assert_allclose(outputs(made), expected, atol=1e-4 * np.abs(expected).max())


def extremes(graph: Graph, x: str, then: str = "assign") -> str:
    """OpenVINO by itself keeps them in the bytes of their rounding, and loses their fractions and signs."""
    x, dims = graph.op("tanh", {"X": x}, (1, 8, SIDE, SIDE)), (1, 1, SIDE, SIDE)
    reduced = {"dim": [1], "keep_dim": True, "reduce_all": False, "in_dtype": -1, "out_dtype": -1}
    ends = [graph.op(f"reduce_{kind}", {"X": x}, dims, **reduced) for kind in ("max", "min")]
    return graph.op("concat", {"X": [graph.op(then, {"X": end}, dims) for end in ends]}, (1, 2, SIDE, SIDE), axis=1)


def shares_of_extremes(graph: Graph, x: str) -> str:
    return extremes(graph, x, "sigmoid")


def averages(graph: Graph, x: str) -> str:
    """OpenVINO by itself pads rounded values with the byte 0."""
    attrs = {"pooling_type": "avg", "ksize": [3, 3], "strides": [1, 1], "paddings": [1, 1], "exclusive": False}
    attrs |= {"global_pooling": False, "adaptive": False, "ceil_mode": False, "padding_algorithm": "EXPLICIT"}
    return graph.op("pool2d", {"X": x}, (1, 8, SIDE, SIDE), data_format="NCHW", **attrs)


@pytest.mark.parametrize("between", [extremes, shares_of_extremes, averages])
def test_int8_gives_what_onnx_runtime_gives(workshop: Workshop, between: Callable[[Graph, str], str]) -> None:
    require("paddle2onnx")
    require_worker("openvino")
    graph = Graph()
    attrs = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}

    def convolved(x: str, count: int) -> str:
        inputs = {"Input": x, "Filter": graph.noise(count, graph.shape(x)[1], 1, 1)}
        return graph.op("conv2d", inputs, (1, count, SIDE, SIDE), slot="Output", **attrs)

    found = convolved(between(graph, convolved(graph.feed(1, 3, SIDE, SIDE), 8)), 4)
    int8 = workshop.made(QuantizeOnnx(), workshop.made(ToOnnx(), workshop.imported(graph.program(found))))
    expected = outputs(int8)
    np.testing.assert_allclose(outputs(workshop.made(ToOpenVino(), int8)), expected, atol=0.02 * np.ptp(expected))


def test_the_manifest_is_the_onnx_exports_with_other_files(exports):
    onnx, own = (exports[f"{target}-int8"].manifest for target in ("onnx", "openvino"))
    assert [(entry.path, entry.role) for entry in own.files] == [("model.xml", "model"), ("model.bin", "params")]
    for field in ("inputs", "outputs", "labels", "preprocess"):
        assert getattr(own, field) == getattr(onnx, field)
    assert (own.format, own.target.precision) == ("openvino", Precision.INT8)
    assert own.lineage[-1].tools["openvino"].startswith("2026.4")
    sizes = {name: exports[f"openvino-{name}"].manifest.files[1].size_bytes for name in ("fp32", "fp16", "int8")}
    assert sizes["fp16"] < 0.51 * sizes["fp32"]
    assert sizes["int8"] < 0.33 * sizes["fp32"]
    assert exports["openvino-int8"].size_bytes < 0.62 * exports["openvino-fp32"].size_bytes  # with the graph's text


def test_two_conversions_give_the_same_bytes(exports, tmp_path):
    def converted(name: str) -> list[bytes]:
        (folder := tmp_path / name).mkdir()
        ToOpenVino().run(exports["onnx-int8"], folder, StepContext())
        return [file.read_bytes() for file in sorted(folder.iterdir())]

    first = converted("first")
    assert [bool(content) for content in first] == [True, True]
    assert converted("second") == first
    assert str(tmp_path).encode() not in b"".join(first)


def test_int8_does_not_become_fp16(exports, tmp_path):
    step = ToOpenVino(ToOpenVino.Params(half=True))
    with pytest.raises(UnsupportedModelError, match="quantized to int8 already: fp16 takes float models"):
        step.run(exports["onnx-int8"], tmp_path, StepContext())


@pytest.mark.parametrize("export", ["openvino", "onnx"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_runs_is_read_back(exports, export, precision):
    artifact = exports[f"{export}-{precision.value}"]
    found = audit(artifact, [image(artifact)], RunOptions(runtime="openvino"))
    counts = found.check.details["products"]
    assert found.check.verdict is Verdict.PASS
    assert sum(counts.values()) == 33  # convolutions; what converts or reorders is none
    if precision is Precision.FP16 and not counts.get("fp16"):
        assert counts == {"fp32": 33}
        assert not found.check.gated
        assert "OpenVINO has no fp16 arithmetic for this processor" in found.check.message
    else:
        assert counts == {precision.value: 33}
    assert all(one.provider.startswith("CPU") for one in found.ran)
    if export == "openvino":  # hard swish is one operator in int8 too: OpenVINO computes its halves without a kernel
        assert "Math" not in found.operators.get("fp32", {})


def test_files_of_somebody_else_are_adopted(exports, tmp_path):
    made, reference = exports["openvino-int8"], exports["source"]
    for name in ("model.xml", "model.bin"):
        shutil.copy(made.path / name, tmp_path / name.replace("model", "theirs"))
    store = Store(tmp_path / "store")
    found = adopt_openvino(tmp_path / "theirs.xml", reference, store)
    assert (found.manifest.format, found.manifest.target.precision) == ("openvino", Precision.INT8)
    for field in ("inputs", "outputs", "labels", "preprocess"):
        assert getattr(found.manifest, field) == getattr(made.manifest, field)
    np.testing.assert_array_equal(outputs(found), outputs(made))
    (tmp_path / "theirs.xml").write_text("<net/>")
    with pytest.raises(WorkerError, match=r"theirs\.xml: not a valid OpenVINO model"):
        adopt_openvino(tmp_path / "theirs.xml", reference, store)
    (tmp_path / "theirs.bin").unlink()
    with pytest.raises(InputError, match=r"theirs\.xml: an OpenVINO model without its weights"):
        adopt_openvino(tmp_path / "theirs.xml", reference, store)


def test_an_xml_file_is_a_model_only_with_its_weights(tmp_path):
    for name in ("model.pdmodel", "model.pdiparams", "notes.xml"):
        (tmp_path / name).write_bytes(b"content")
    assert find_model(tmp_path).model.name == "model.pdmodel"
    (tmp_path / "notes.bin").write_bytes(b"content")
    with pytest.raises(InputError, match=r"2 models: model\.pdmodel, notes\.xml"):
        find_model(tmp_path)


def test_a_check_has_a_row_for_each_runtime_of_an_export(exports, tmp_path):
    data = Dataset.open(DEMO / "data", "all")
    wanted = [Export(name, exports[name].manifest.format, Precision.INT8, exports[name]) for name in INT8]
    options = CheckRecipe(latency_seconds=0, worst_images=0, runtimes=("onnxruntime", "openvino"))
    request = CheckRequest(LiveReference.of(exports["source"], options), tuple(wanted), data, tmp_path, options)
    rows = check(request).exports
    assert [(row.name, row.runtime.split()[0]) for row in rows] == [
        ("onnx-int8@onnxruntime", "onnxruntime"),
        ("onnx-int8@openvino", "openvino"),
        ("openvino-int8", "openvino"),
    ]
    assert [row.verdict for row in rows] == [Verdict.PASS] * 3
    assert {row.operators["int8"].get("Convolution") or row.operators["int8"].get("QLinearConv") for row in rows} == {
        33
    }


SPY = """
import sys
sockets = []
sys.addaudithook(lambda event, _: sockets.append(event) if event.startswith("socket.") else None)
import openvino_worker

def events(_arguments, _arrays):
    return {"sockets": sockets}, []

COMMANDS = {**openvino_worker.COMMANDS, "events": events}
"""


def test_nothing_is_sent_and_nothing_is_written_home(exports, tmp_path):
    """OpenVINO left to itself opens a socket when it is imported, and writes an identity into ~/intel."""
    folder = Path(__file__).resolve().parents[2] / "exporter/workers"
    (spy := tmp_path / "spy.py").write_text(f"import sys\nsys.path.insert(0, {str(folder)!r})\n{SPY}")
    (home := tmp_path / "home").mkdir()
    with Worker(spy, needs="openvino", environment={"HOME": str(home), "CI": ""}) as worker:
        asked = {"model": str(exports["onnx-fp32"].file("model")), "out": str(tmp_path / "model.xml")}
        worker.call("convert", {**asked, "half": False, "names": []}, timeout_s=300)
        assert worker.call("events", timeout_s=300)[0]["sockets"] == []
    assert list(home.iterdir()) == []
