"""Exports to LiteRT: they compute what their source does, and what was converted wrongly is no success."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from graphs import Graph
from installed import require, require_worker
from test_mnn import network
from workshop import Workshop

from segexport.artifact import ModelArtifact
from segexport.errors import InputError, UnsupportedModelError, WorkerError
from segexport.exporter import to_litert
from segexport.exporter.from_litert import adopt_litert
from segexport.exporter.same_as_source import made_inputs, outputs_of
from segexport.files.store import Store
from segexport.measure.noise import noise
from segexport.pipeline.registry import make_step, target_named
from segexport.pipeline.step import StepContext
from segexport.runtimes.base import RunOptions
from segexport.runtimes.litert import LiteRtRuntime
from segexport.runtimes.ort import OnnxRuntime
from segexport.serve.endpoint import trial
from segexport.spec import Precision
from segexport.verdict import Verdict

WEIGHTS_IN_8_BITS = {"fp32": {}, "fp16": {}, "w8": {"Conv2d": 1}}  # the others are too small to be worth it


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    require("paddle2onnx", "onnx", "onnxruntime")
    require_worker("ai_edge_litert", "onnx")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="module")
def source(workshop) -> ModelArtifact:
    return workshop.made(make_step("to_onnx", {}), workshop.imported(network()))


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-5), ("fp16", 1e-2), ("w8", 5e-2)])
def test_an_export_computes_what_its_source_does(workshop, source, precision, limit):
    made = workshop.made(make_step("to_litert", {"precision": precision}), source)
    inputs = [made_inputs(source.manifest, 3)]
    ((expected,),), ((found,),) = (
        outputs_of(one, runtime, inputs, StepContext())
        for one, runtime in ((source, OnnxRuntime()), (made, LiteRtRuntime()))
    )
    assert np.abs(found - expected).max() <= limit * np.abs(expected).max()
    (image,), (scores,) = made.manifest.inputs, made.manifest.outputs
    assert (image.shape, image.layout) == ((1, 32, 32, 3), "NHWC")
    assert (scores.shape, scores.layout) == ((1, 32, 32, 4), "NHWC")
    audit = target_named("litert").audit(made, inputs, RunOptions(), LiteRtRuntime())
    assert audit.check.verdict is Verdict.PASS, audit.check.message
    assert audit.operators.get("int8", {}) == WEIGHTS_IN_8_BITS[precision]
    assert {one.provider for one in audit.ran} == {"XNNPACK"}


def test_int8_computes_with_our_ranges_and_weights(workshop, source):
    quantized = workshop.made(make_step("onnx_int8", {}), source)
    made = workshop.made(make_step("to_litert", {}), quantized)
    inputs = [made_inputs(source.manifest, 3)]
    ((exact,),), ((ours,),), ((found,),) = (
        outputs_of(one, runtime, inputs, StepContext())
        for one, runtime in ((source, OnnxRuntime()), (quantized, OnnxRuntime()), (made, LiteRtRuntime()))
    )
    assert np.abs(found - ours).mean() < 0.005 * np.abs(exact).max()
    assert np.abs(found - exact).mean() <= 1.1 * np.abs(ours - exact).mean()
    assert made.manifest.target.precision == "int8"
    audit = target_named("litert").audit(made, inputs, RunOptions(), LiteRtRuntime())
    assert audit.operators["int8"] == {"Conv2d": 3, "MaxPool2d": 1}


def test_what_is_int8_is_no_other_precision(workshop, source):
    quantized = workshop.made(make_step("onnx_int8", {}), source)
    with pytest.raises(UnsupportedModelError, match="fp16"):
        workshop.made(make_step("to_litert", {"precision": "fp16"}), quantized)


def test_the_same_model_gives_the_same_bytes(workshop, source):
    files = [workshop.made(make_step("to_litert", {}), source).file("model") for _ in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_mask_as_output(workshop):
    source = workshop.made(make_step("to_onnx", {}), workshop.imported(network(head="argmax"), "mask"))
    made = workshop.made(make_step("to_litert", {}), source)
    assert (made.manifest.outputs[0].dtype, made.manifest.outputs[0].shape) == ("int32", (1, 32, 32))
    tensors = made_inputs(source.manifest, 3)
    with LiteRtRuntime().open(made, RunOptions()) as session, OnnxRuntime().open(source, RunOptions()) as other:
        np.testing.assert_array_equal(session.infer(tensors).mask, other.infer(tensors).mask)


def test_a_session_takes_the_order_of_every_other_format(workshop, source):
    """A server's first run, a timing on noise, and an image as the contract has it."""
    made = workshop.made(make_step("to_litert", {}), source)
    with LiteRtRuntime().open(made, RunOptions()) as session:
        for tensors in (trial(made.manifest), noise(made), made_inputs(source.manifest, 3)):
            assert session.infer(tensors).mask.shape == (32, 32)
            assert len(session.bench(tensors, 2)) == 2
        with pytest.raises(InputError, match=r"takes float32 \[1, 3, 32, 32\], got float32 \[1, 32, 32, 3\]"):
            session.infer([np.zeros((1, 32, 32, 3), np.float32)])


def test_a_size_that_is_free_is_asked_for(source, tmp_path):
    (image,) = source.manifest.inputs
    free = image.model_copy(update={"shape": (1, 3, -1, -1)})
    manifest = source.manifest.model_copy(update={"inputs": (free,)})
    with pytest.raises(InputError, match="LiteRT's files hold one size") as caught:
        to_litert.ToLiteRt().run(ModelArtifact(source.path, manifest), tmp_path, StepContext())
    assert "--input-size" in caught.value.hint


def test_a_fault_of_the_writer_is_found_and_named(workshop, source, tmp_path, monkeypatch):
    """It takes the mean where it should take the largest."""
    import onnx

    right = to_litert.convert

    def faulty(file: Path, *others) -> str:
        model = onnx.load(file)
        for node in model.graph.node:
            node.op_type = "AveragePool" if node.op_type == "MaxPool" else node.op_type
        onnx.save(model, tmp_path / "faulty.onnx")
        return right(tmp_path / "faulty.onnx", *others)

    monkeypatch.setattr(to_litert, "convert", faulty)
    with pytest.raises(UnsupportedModelError, match=r"LiteRT converts this model into another one, from MaxPool \("):
        workshop.made(make_step("to_litert", {}), source)


def test_an_operator_that_litert_has_not_is_refused_by_name(workshop, source, tmp_path):
    content = source.file("model").read_bytes().replace(b"MaxPool", b"NoSuchP")
    (broken := tmp_path / "broken").mkdir()
    (broken / "model.onnx").write_bytes(content)
    with pytest.raises(UnsupportedModelError, match="LiteRT cannot convert this model") as caught:
        workshop.made(make_step("to_litert", {}), ModelArtifact(broken, source.manifest))
    assert "NoSuchP" in caught.value.cause


@pytest.mark.parametrize("precision", ["fp32", "fp16", "w8", "int8"])
def test_a_file_of_somebody_else_is_adopted(workshop, source, tmp_path, precision):
    """What the file lacks is the reference's; its own layout and precision are seen."""
    before = source if precision != "int8" else workshop.made(make_step("onnx_int8", {}), source)
    step = make_step("to_litert", {"precision": precision if precision != "int8" else "fp32"})
    made = workshop.made(step, before)
    shutil.copyfile(made.file("model"), tmp_path / "theirs.tflite")
    found = adopt_litert(tmp_path / "theirs.tflite", source, Store(tmp_path / "store"))
    assert found.manifest.inputs == made.manifest.inputs
    assert found.manifest.outputs == made.manifest.outputs
    assert found.manifest.target.precision == precision
    tensors = made_inputs(source.manifest, 3)
    with LiteRtRuntime().open(made, RunOptions()) as one, LiteRtRuntime().open(found, RunOptions()) as other:
        np.testing.assert_array_equal(one.infer(tensors).mask, other.infer(tensors).mask)


def test_a_file_that_is_no_model_is_an_error(source, tmp_path):
    (tmp_path / "theirs.tflite").write_bytes(b"no model")
    with pytest.raises(WorkerError, match="LiteRT cannot load"):
        adopt_litert(tmp_path / "theirs.tflite", source, Store(tmp_path / "store"))


def test_every_precision_of_the_target_has_its_steps():
    target = target_named("litert")
    for precision in target.searched:
        assert target.steps(target.Recipe(to="litert", precision=precision))[-1].produces == "litert"
    assert Precision.FP32 in target.searched


def test_inspect_names_what_litert_lacks_before_a_conversion():
    graph = Graph()
    value = graph.op("relu", {"X": graph.feed(1, 3, 8, 8)}, (1, 3, 8, 8))
    program = graph.program(graph.op("asin", {"X": value}, (1, 3, 8, 8)))
    (found,) = target_named("litert").verdict_before(program)
    assert (found.target, found.support) == ("litert", "no")
    assert [(one.operator, one.reason) for one in found.obstacles] == [
        ("asin", "segexport's LiteRT writer has no operator asin")
    ]
    (onnx,) = target_named("onnx").verdict_before(program)
    assert onnx.support == "as it is"
