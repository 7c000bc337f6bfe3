"""The LiteRT (TensorFlow Lite) export target, for Android."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from segexport.exporter.converters import LITERT
from segexport.exporter.targets.base import ExportTarget
from segexport.exporter.targets.stored_weights import weight_steps
from segexport.measure.audit import Audit, precision_check
from segexport.pipeline.registry import make_step
from segexport.recipe.calibration import Calibration
from segexport.recipe.export import ExportRecipe
from segexport.spec import Format, Precision

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from segexport.artifact import ModelArtifact
    from segexport.diagnose.graph_probe import Diagnosed, Side
    from segexport.exporter.inspect import TargetSupport
    from segexport.exporter.program import Op, Program
    from segexport.files.store import Store
    from segexport.pipeline.step import Step
    from segexport.runtimes.base import RunOptions, Runtime


_PLACES = {"scatter": "Ids", "scatter_nd_add": "Index", "put_along_axis": "Index"}  # operator -> its index's slot
_SIZED_BY = {
    "slice": ("StartsTensor", "StartsTensorList", "EndsTensor", "EndsTensorList"),
    "strided_slice": ("StartsTensor", "StartsTensorList", "EndsTensor", "EndsTensorList"),
    "range": ("Start", "End", "Step"),
    "fill_constant": ("ShapeTensor", "ShapeTensorList"),
    "expand_v2": ("Shape", "expand_shapes_tensor"),
}
"""Operator -> the slots whose values decide the size of its result."""


class LiteRtExport(ExportRecipe):
    """Recipe entry of a LiteRT export; see `exporter.to_litert`."""

    to: Literal["litert"]
    precision: Literal[Precision.FP32, Precision.FP16, Precision.W8, Precision.INT8] = Precision.FP32
    calibration: Calibration = Field(default_factory=Calibration)


class LiteRtTarget(ExportTarget):
    """Writes the ONNX export in LiteRT's format; int8 keeps that export's ranges and weights, w8 its weights."""

    name = "litert"
    title = "LiteRT"
    format = Format.LITERT
    Recipe = LiteRtExport
    runtimes = ("litert",)
    toolchains = ("onnx", "litert")
    converters = (LITERT,)
    suffix = ".tflite"
    packed = ("model",)
    one_size = True
    searched = (Precision.FP32, Precision.FP16, Precision.W8, Precision.INT8)
    fits: ClassVar[Mapping[str, tuple[Precision, ...]]] = {"android": (Precision.FP32, Precision.INT8)}
    next_command: ClassVar[Mapping[str, str]] = {"android": "segexport android assets {export} --sample {image}"}

    def steps(self, recipe: ExportRecipe) -> list[Step]:
        assert isinstance(recipe, LiteRtExport)
        if recipe.precision is Precision.INT8:
            int8 = make_step("onnx_int8", recipe.calibration.model_dump())
            return [make_step("to_onnx", {}), int8, make_step("to_litert", {})]
        if recipe.precision is Precision.W8 and "calibration" in recipe.model_fields_set:
            return [
                make_step("to_onnx", {}),
                *weight_steps(recipe, recipe.calibration, groups=False),
                make_step("to_litert", {}),
            ]
        return [make_step("to_onnx", {}), make_step("to_litert", {"precision": recipe.precision})]

    def verdict_before(self, program: Program) -> tuple[TargetSupport, ...]:
        """Extends the base class's report with indices and sizes that a network of one input size still computes."""
        from segexport.exporter.inspect import Obstacle
        from segexport.exporter.layers import layer_of
        from segexport.exporter.quantized_program import is_quantized, unquantized
        from segexport.exporter.rewrites import rewrite_for

        (found,) = super().verdict_before(program)
        if found.support == "no" or any(min(spec.shape[1:], default=1) < 1 for spec in program.inputs()):
            return (found,)
        rewritten, _ = rewrite_for(LITERT.name, unquantized(program).program if is_quantized(program) else program)
        producers, of_image = rewritten.producers(), _of_image(rewritten)
        lacking = tuple(
            Obstacle(operator=op.type, layer=layer_of(rewritten, op, None, producers), number=number, reason=reason)
            for number, op in enumerate(rewritten.all_ops())
            if (reason := _computed(rewritten, op, of_image))
        )
        return (found.model_copy(update={"support": "no", "obstacles": lacking}),) if lacking else (found,)

    def adopt(self, file: Path, reference: ModelArtifact, store: Store) -> ModelArtifact:
        from segexport.exporter.from_litert import adopt_litert

        return adopt_litert(file, reference, store)

    def audit(
        self, artifact: ModelArtifact, inputs: Sequence[Sequence[np.ndarray]], options: RunOptions, runtime: Runtime
    ) -> Audit:
        """Lists the operators that ran, and whether XNNPACK or LiteRT's own kernel ran each."""
        from segexport.exporter.targets.profile import profiled

        ran, asked = profiled(artifact, inputs[0], options, runtime), artifact.manifest.target.precision
        held = sum(one.precision == "int8" and one.is_product for one in ran)
        source = f"{runtime.title}'s interpreter"
        widened = {"no_fp16": runtime.no_fp16(ran), "widened_on_device": True}
        check = precision_check(asked, ran, source, weights_int8=held, **widened)
        return Audit(ran, (check,))

    def graph_probe(self, diagnosed: Diagnosed) -> Side:
        from segexport.exporter.targets.litert_probe import LiteRtSide

        return LiteRtSide(diagnosed)


def _computed(program: Program, op: Op, of_image: Collection[str]) -> str:
    """The reason why what an operator computes from the image has no form in LiteRT; empty if it has."""
    if any(name in of_image for name in op.inputs.get(_PLACES.get(op.type, ""), [])):
        return f"segexport's LiteRT writer takes {op.type} with a constant index only"
    if any(name in of_image for slot in _SIZED_BY.get(op.type, ()) for name in op.inputs.get(slot, [])):
        return "the size of its result is computed from the image, and LiteRT's files hold one size"
    if _is_smallest_of_integers(program, op) and op.input("X") in of_image:
        return "segexport's LiteRT writer takes the smallest of floats only"
    if op.type == "grid_sampler" and not _is_bilinear(program, op):
        return "segexport's LiteRT writer samples images bilinearly, with zeros or the border around them"
    if any(name in of_image for name in op.inputs.get("Filter", [])):
        channels, groups = program.shape(op.input("Input") or "")[1], op.attr("groups", 1)
        outputs = program.shape(op.input("Filter") or "")[0]
        if op.type not in ("conv2d", "depthwise_conv2d") or (groups > 1 and not groups == channels == outputs):
            return f"segexport's LiteRT writer takes {op.type} of these groups with a constant filter only"
    return ""


def _is_smallest_of_integers(program: Program, op: Op) -> bool:
    largest = {"argsort": op.attr("descending", False), "top_k_v2": op.attr("largest", True)}
    return not largest.get(op.type, True) and program.dtype(op.input("X") or "") != "float32"


def _is_bilinear(program: Program, op: Op) -> bool:
    modes = op.attr("mode", "bilinear"), op.attr("padding_mode", "zeros")
    return modes in (("bilinear", "zeros"), ("bilinear", "border")) and len(program.shape(op.input("X") or "")) == 4


def _of_image(program: Program) -> set[str]:
    """The variables that depend on an input's values."""
    found: set[str] = set()
    for op in program.all_ops():
        if op.type == "feed" or found.intersection(op.input_names()):
            found.update(op.output_names())
    return found
