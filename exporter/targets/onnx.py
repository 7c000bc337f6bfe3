"""ONNX: what most runtimes read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from segexport.exporter.converters import PADDLE2ONNX
from segexport.exporter.targets.base import ExportTarget
from segexport.pipeline.registry import make_step
from segexport.recipe.calibration import Calibration
from segexport.recipe.export import ExportRecipe
from segexport.spec import Format, Precision

if TYPE_CHECKING:
    from segexport.exporter.targets.layers import Layers
    from segexport.pipeline.step import Step


class OnnxExport(ExportRecipe):
    """An ONNX export."""

    to: Literal["onnx"]
    precision: Literal[Precision.FP32, Precision.FP16, Precision.INT8] = Precision.FP32
    opset: Literal["auto"] | int = "auto"
    simplify: bool = True
    calibration: Calibration = Field(default_factory=Calibration)


class Onnx(ExportTarget):
    """By paddle2onnx in fp32; fp16 and int8 are made of that file."""

    name = "onnx"
    title = "ONNX"
    format = Format.ONNX
    Recipe = OnnxExport
    runtimes = ("onnxruntime",)
    toolchains = ("paddle2onnx", "onnx")
    converters = (PADDLE2ONNX,)
    searched = (Precision.FP32, Precision.FP16, Precision.INT8)

    def steps(self, recipe: OnnxExport) -> list[Step]:
        steps = [make_step("to_onnx", {"opset": recipe.opset, "simplify": recipe.simplify})]
        if recipe.precision is Precision.FP16:
            steps.append(make_step("onnx_fp16", {}))
        if recipe.precision is Precision.INT8:
            steps.append(make_step("onnx_int8", recipe.calibration.model_dump()))
        return steps

    def layers(self, fp32, int8, tensors, *, threads, timeout_s) -> Layers:
        from segexport.exporter.targets.onnx_layers import onnx_layers

        return onnx_layers(fp32, int8, tensors, threads=threads, timeout_s=timeout_s)
