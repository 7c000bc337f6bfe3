"""What ran is read back from the real runtimes, and fake quantization is told from real."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from segexport.artifact import ModelArtifact, file_entry, read_artifact
from segexport.check.audit import audit, audited
from segexport.errors import InputError
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.targets.arm_rounding import arm_rounding_check
from segexport.exporter.targets.nb_kernels import nb_kernels, quantized_weights
from segexport.exporter.targets.onnx import OnnxExport
from segexport.exporter.targets.paddle_lite import PaddleLiteExport
from segexport.files.store import Store
from segexport.measure.audit import NOT_RUN, Ran, precision_check
from segexport.pipeline.plan import PlanRunner, plan
from segexport.pipeline.step import StepContext
from segexport.recipe.calibration import Calibration
from segexport.recipe.schema import Recipe
from segexport.runtimes.base import RunOptions
from segexport.spec import Format, Precision
from segexport.verdict import Verdict

ALL_INT8 = Calibration(agreement=0)  # no convolution stays float
DEMO = Path(__file__).resolve().parents[2] / "src/segexport/demo"


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> dict[str, ModelArtifact]:
    """The demo model in every form: `onnx-fp32`, `onnx-int8`, ..."""
    pytest.importorskip("paddle2onnx")
    pytest.importorskip("paddlelite")
    from segexport.data.dataset import Dataset

    store = Store(tmp_path_factory.mktemp("store"))
    source = import_model(DEMO / "model", ImportOptions(), store)
    wanted = [OnnxExport(to=Format.ONNX, precision=p) for p in (Precision.FP32, Precision.FP16)]
    wanted.append(OnnxExport(to=Format.ONNX, precision=Precision.INT8, calibration=ALL_INT8))
    wanted += [OnnxExport(to=Format.ONNX, precision=p) for p in (Precision.W4A8, Precision.W4, Precision.W8)]
    wanted += [PaddleLiteExport(to=Format.PADDLE_LITE, precision=p) for p in (Precision.FP16, Precision.W8)]
    recipe = Recipe.model_construct(model=None, data=None, exports=tuple(wanted))
    data = Dataset.open(DEMO / "data", "train")
    chains = plan(recipe, source, data.fingerprint).chains
    builder = PlanRunner(store, StepContext(data=data))
    return {"paddle": source, **{name: builder.build(name, source, chain) for name, chain in chains.items()}}


def _image(artifact: ModelArtifact) -> list[np.ndarray]:
    return [np.random.default_rng(0).normal(size=artifact.manifest.inputs[0].shape).astype(np.float32)]


def _audit(artifact: ModelArtifact):
    return audit(artifact, [_image(artifact)], RunOptions())


def test_four_bit_weights_that_are_fused(exports):
    check = _audit(exports["onnx-w4a8"]).check
    assert check.verdict is Verdict.PASS
    narrow = check.details["operators_with_int4_weights"]
    assert narrow > 0
    assert check.details["not_fused"] == []
    assert check.message.endswith(f"; {narrow} of {narrow} with 4-bit weights compute in int8.")


@pytest.mark.parametrize(("precision", "kind"), [("w4", "int4"), ("w8", "int8")])
def test_weights_alone_in_fewer_bits(exports, precision, kind):
    check = _audit(exports[f"onnx-{precision}"]).check
    assert check.verdict is Verdict.PASS
    held = check.details[f"operators_with_{kind}_weights"]
    assert held > 0
    assert check.message.endswith(f"; {held} operators hold {kind} weights and compute in float, as asked.")


def test_four_bit_weights_that_become_floats():
    ran = (Ran("QLinearConv", "int8", "cpu", "a"), Ran("Conv", "fp32", "cpu", "b"), Ran("MatMul", "fp32", "cpu", "c"))
    check = precision_check(Precision.W4A8, ran, "the profile", narrow=["a", "b"])
    assert check.verdict is Verdict.FAIL
    assert check.details["not_fused"] == ["b"]
    assert check.message.endswith("1 of 2 with 4-bit weights compute in int8.")
    fused = precision_check(Precision.W4A8, ran, "the profile", narrow=["a"])
    assert (fused.verdict, fused.details["not_fused"]) == (Verdict.PASS, [])
    assert precision_check(Precision.W4A8, ran, "the profile").verdict is Verdict.FAIL  # no 4-bit weights in the file


def _asking(artifact: ModelArtifact, precision: Precision) -> ModelArtifact:
    target = artifact.manifest.target.model_copy(update={"precision": precision})
    return ModelArtifact(artifact.path, artifact.manifest.model_copy(update={"target": target}))


def test_every_convolution_of_the_int8_export_runs_in_int8(exports):
    found = _audit(exports["onnx-int8"])
    assert found.operators["int8"]["QLinearConv"] == 33
    assert "Conv" not in found.operators["fp32"]
    assert (found.check.verdict, found.check.value) == (Verdict.PASS, 1.0)
    assert {one.provider for one in found.ran} == {"CPUExecutionProvider"}


def test_fp16_on_a_cpu_without_such_kernels_is_stated_not_failed(exports):
    found = _audit(exports["onnx-fp16"])
    assert found.operators["fp32"]["Conv"] == 33
    assert (found.check.verdict, found.check.gated) == (Verdict.PASS, False)
    assert "weights are fp16, the arithmetic here is fp32" in found.check.message


def test_the_kernels_of_the_nb_are_those_of_the_phone(exports):
    found = _audit(exports["paddle-lite-fp16"])
    assert found.operators["fp16"]["conv2d"] == 22
    assert found.operators["fp16"]["depthwise_conv2d"] == 11
    assert (found.check.verdict, found.check.value) == (Verdict.PASS, 1.0)
    assert "arm" in found.check.details["providers"]


def test_weights_in_8_bits_compute_in_float(exports):
    found = _audit(exports["paddle-lite-w8"])
    assert found.operators["fp32"]["conv2d"] == 22
    assert found.check.verdict is Verdict.PASS
    assert "hold int8 weights and compute in float" in found.check.message


def test_paddles_optimized_program_is_read_back(exports):
    found = audit(exports["paddle"], [], RunOptions(options={"graph": "optimized"}))
    assert found.operators["fp32"]["fused_conv2d"] == 32  # oneDNN's fusion of what was conv2d, batch_norm, relu6, ...
    assert "batch_norm" not in found.operators["fp32"]
    assert found.check.details["providers"]["oneDNN"] > found.check.details["providers"]["plain"]
    plain = audit(exports["paddle"], [], RunOptions())
    assert plain.operators["fp32"]["batch_norm"] == 32


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("onnx-fp32", Precision.INT8, "int8 was asked for, and nothing runs in it"),
        ("paddle-lite-w8", Precision.FP16, "fp16 was asked for, and nothing runs in it"),
        ("paddle-lite-fp16", Precision.W8, "no operator holds int8 weights"),
        ("paddle-lite-fp16", Precision.FP32, "33 in fp16"),
    ],
)
def test_what_was_asked_for_and_is_not_there_fails(exports, name, asked, message):
    check = _audit(_asking(exports[name], asked)).check
    assert check.verdict is Verdict.FAIL
    assert message in check.message


def test_quantize_operators_around_float_convolutions_are_fake_quantization(exports, tmp_path):
    """Signed activations: the file is full of QuantizeLinear, and half of its convolutions run in float on x86."""
    onnx = pytest.importorskip("onnx")
    source = exports["onnx-int8"]
    model = onnx.load(source.file("model"))
    weights = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    # DequantizeLinear of activations only: what is left are float convolutions with 8-bit weights.
    replaced = {}
    for node in list(model.graph.node):
        if node.op_type == "QuantizeLinear":
            replaced[node.output[0]] = node.input[0]
            model.graph.node.remove(node)
    for node in list(model.graph.node):
        if node.op_type == "DequantizeLinear" and node.input[0] in replaced and node.output[0] not in weights:
            source_name = replaced[node.input[0]]
            for other in model.graph.node:
                for index, name in enumerate(other.input):
                    if name == node.output[0]:
                        other.input[index] = source_name
            for value in model.graph.output:
                assert value.name != node.output[0]
            model.graph.node.remove(node)
    shutil.copytree(source.path, tmp_path / "fake")
    onnx.save(model, tmp_path / "fake" / "model.onnx")
    files = (file_entry(tmp_path / "fake", "model.onnx"),)
    fake = ModelArtifact(tmp_path / "fake", source.manifest.model_copy(update={"files": files}))
    check = _audit(fake).check
    assert check.verdict is Verdict.FAIL
    assert "33 in fp32; int8 was asked for, and nothing runs in it" in check.message
    assert len(check.details["not_as_asked"]) == 33


def test_an_operator_that_stays_float_is_named(exports, tmp_path):
    from segexport.data.dataset import Dataset
    from segexport.exporter.onnx_quantize import QuantizeOnnx

    model = pytest.importorskip("onnx").load(exports["onnx-fp32"].file("model"))
    first = next(node.name for node in model.graph.node if node.op_type == "Conv")
    step = QuantizeOnnx(QuantizeOnnx.Params(method="minmax", images=2, float_nodes=(first,)))
    data = Dataset.open(DEMO / "data", "train")
    manifest = step.run(exports["onnx-fp32"], tmp_path, StepContext(data=data))
    check = _audit(ModelArtifact(tmp_path, manifest)).check
    assert check.verdict is Verdict.PASS
    assert check.value == pytest.approx(32 / 33)
    assert "1 in fp32, 32 in int8; not so: batch_norm_0.tmp_2." in check.message  # named by what it makes


def test_arm_rounding_runs_both_rules(exports):
    check = arm_rounding_check(exports["onnx-int8"], [_image(exports["onnx-int8"])] * 2, RunOptions())
    assert (check.verdict, check.value, check.details["images"]) == (Verdict.PASS, 1.0, 2)


def test_a_phone_tells_no_operators_which_is_no_fault(exports):
    operators, (check,) = audited(exports["onnx-fp32"], [_image(exports["onnx-fp32"])], RunOptions(device="adb"))
    assert operators == {}
    assert (check.verdict, check.gated) == (Verdict.SKIPPED, False)
    assert check.message == "The phone does not report which operators ran in which precision."


def test_the_check_gets_both_answers_and_a_dead_runtime_is_an_error(exports, tmp_path):
    int8 = exports["onnx-int8"]
    operators, checks = audited(int8, [_image(int8)], RunOptions())
    assert operators["int8"]["QLinearConv"] == 33
    assert [check.name for check in checks] == ["audit.precision", "audit.arm_rounding"]
    shutil.copytree(int8.path, tmp_path / "broken")
    (tmp_path / "broken" / "model.onnx").write_bytes(b"not a model")
    broken = read_artifact(tmp_path / "broken", verify=False)
    operators, checks = audited(broken, [_image(int8)], RunOptions())
    assert operators == {}
    assert [check.verdict for check in checks] == [Verdict.ERROR]
    assert "cannot load" in checks[0].message


def test_a_file_without_kernels_is_refused():
    with pytest.raises(InputError, match="no kernels in it"):
        nb_kernels(b"\x00conv2d and nothing else", "some.nb")


def test_nb_numbers():
    ran = nb_kernels(b"\x00conv2d/def/4/2/1\x00softmax/def/1/1/1\x00fetch/def/1/4/2\x00")
    assert [(one.operator, one.precision, one.provider) for one in ran] == [
        ("conv2d", "int8", "arm"),
        ("softmax", "fp32", "host"),
        ("fetch", "moves", "host"),
    ]
    assert quantized_weights(b"..quantize_weight_bits..quantize_weight_bits..") == 2


@pytest.mark.parametrize("widened_on_device", [False, True])
def test_what_the_device_computes_otherwise_was_not_run(widened_on_device):
    ran = (Ran("Conv2d", "fp32", "CPU"),)
    check = precision_check(Precision.FP16, ran, "x", no_fp16="fp32 here", widened_on_device=widened_on_device)
    assert check.verdict is Verdict.PASS
    assert (check.details.get(NOT_RUN) == "fp32 here") is not widened_on_device
