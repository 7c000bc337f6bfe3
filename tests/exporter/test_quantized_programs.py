"""Programs that PaddleSlim quantized: read in each of its forms, run as they were, exported in int8."""

from __future__ import annotations

import numpy as np
import pytest
from quantized import FORMS, LIMITS, SIDE, as_declared, onnx_format
from toolchain import Toolchain
from workshop import Workshop

from segexport.errors import InputError, UnsupportedModelError
from segexport.exporter.calibrate import Calibrate
from segexport.exporter.inspect import support_for
from segexport.exporter.mends import AS_READ, mend
from segexport.exporter.onnx_half import HalfOnnx
from segexport.exporter.onnx_quantize import QuantizeOnnx
from segexport.exporter.program import Program, read
from segexport.exporter.quantized_program import unquantized
from segexport.exporter.rewrites.base import LITE_ARM, LITE_X86, ONNX
from segexport.exporter.to_onnx import ToOnnx
from segexport.exporter.to_paddle_lite import ToPaddleLite
from segexport.spec import Precision
from segexport.verdict import Verdict

IMAGE = [np.random.default_rng(1).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)]
NOTE = "quantized already: 2 tensors are rounded to 8 bits, 2 weights are stored in int8"


def ops(program: Program, type: str) -> int:
    return sum(op.type == type for op in program.ops)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_one_and_computes_the_same(form: str, tools: Toolchain) -> None:
    program = FORMS[form]()
    (expected,) = tools.paddle(program, IMAGE)
    assert mend(program, AS_READ) == [NOTE]
    assert (ops(program, "quantize_linear"), ops(program, "dequantize_linear")) == (2, 4)
    assert not any(op.type.startswith("fake_") or op.attr("only_observer") for op in program.ops)
    (found,) = tools.paddle(program, IMAGE)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("form", FORMS)
def test_its_float_program_is_near_and_its_scales_are_kept(form: str, tools: Toolchain) -> None:
    program = FORMS[form]()
    (rounded,) = tools.paddle(program, IMAGE)
    mend(program, AS_READ)
    found = unquantized(program)
    assert sorted(high for _, high in found.ranges.limits().values()) == pytest.approx(sorted(LIMITS.values()))
    (exact,) = tools.paddle(found.program, IMAGE)
    assert 0 < np.abs(exact - rounded).max() < 0.5 * np.abs(rounded).max()
    for name, limits in found.weights.items():
        value = found.program.params[name]
        steps = value / (limits.reshape(-1, 1, 1, 1) / 127)
        assert np.abs(steps - np.rint(steps)).max() < 1e-4


def test_a_file_that_declares_other_shapes_than_it_holds_is_read(workshop: Workshop) -> None:
    """Scales 0-D for [1] and [1, n] for [n], weights in int8 that are declared float."""
    folder = workshop.model(onnx_format())
    (folder / "model.pdmodel").write_bytes(as_declared(onnx_format()))
    source = workshop.imported(folder)
    assert NOTE in source.manifest.lineage[0].notes
    assert source.manifest.target.precision is Precision.INT8


@pytest.mark.parametrize("form", FORMS)
def test_exports_are_int8_and_pass(form: str, workshop: Workshop) -> None:
    source = workshop.imported(FORMS[form]())
    onnx, lite = workshop.made(ToOnnx(), source), workshop.made(ToPaddleLite(), source)
    assert [made.manifest.target.precision for made in (source, onnx, lite)] == [Precision.INT8] * 3
    assert "quantized already: 2 of 2 products keep their int8 weights and scales" in onnx.manifest.lineage[-1].notes
    assert "int8: 2 of 2 convolutions have a range for their input" in lite.manifest.lineage[-1].notes
    for found in workshop.checked(source, onnx, lite):
        assert found.verdict is Verdict.PASS, [check for check in found.checks if check.verdict is not Verdict.PASS]


def test_what_asks_for_int8_gets_it_as_it_is(workshop: Workshop) -> None:
    source = workshop.imported(onnx_format())
    onnx = workshop.made(ToOnnx(), source)
    again = workshop.made(QuantizeOnnx(), onnx)
    assert again.file("model").read_bytes() == onnx.file("model").read_bytes()
    assert again.manifest.lineage[-1].notes == ("int8 already: nothing was calibrated",)
    lite = workshop.made(ToPaddleLite(ToPaddleLite.Params(precision=Precision.INT8)), source)
    assert lite.manifest.target.precision is Precision.INT8


def test_what_takes_floats_refuses_it(workshop: Workshop) -> None:
    source = workshop.imported(onnx_format())
    onnx = workshop.made(ToOnnx(), source)
    half = ToPaddleLite(ToPaddleLite.Params(precision=Precision.FP16))
    for step, given, what in ((Calibrate(), source, "calibration"), (HalfOnnx(), onnx, "fp16"), (half, source, "fp16")):
        with pytest.raises(UnsupportedModelError) as caught:
            workshop.made(step, given)
        assert caught.value.what == f"net is quantized to int8 already: {what} takes float models"


def test_an_opset_without_scales_per_channel_is_refused(workshop: Workshop) -> None:
    source = workshop.imported(onnx_format())
    with pytest.raises(InputError, match="a quantized model needs opset 13 or newer, not 11"):
        workshop.made(ToOnnx(ToOnnx.Params(opset=11)), source)


@pytest.mark.parametrize("target", [ONNX, LITE_ARM, LITE_X86])
def test_inspect_says_that_it_is_taken(target: str, workshop: Workshop) -> None:
    source = workshop.imported(onnx_format())
    found = support_for(target, read(source.file("model"), source.file("params")))
    assert (found.support, found.obstacles) == ("after rewrites", ())


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda op: op.set_attr("bit_length", 4), "it rounds to 4 bits"),
        (lambda op: op.inputs.update(Scale=[op.input("X")]), "its range is found while it runs"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_its_cause(change, cause: str) -> None:
    program = onnx_format()
    change(next(op for op in program.ops if op.type == "quantize_linear"))
    with pytest.raises(UnsupportedModelError, match=r"^quantize_linear \(layer ") as caught:
        mend(program, AS_READ)
    assert caught.value.cause == cause
