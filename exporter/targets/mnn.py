"""The MNN export target, for phones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from segexport.exporter.converters import PADDLE2ONNX
from segexport.exporter.targets.base import ExportTarget
from segexport.exporter.targets.stored_weights import weight_steps
from segexport.measure.audit import Audit, precision_check
from segexport.pipeline.registry import make_step
from segexport.recipe.calibration import Calibration
from segexport.recipe.export import ExportRecipe
from segexport.spec import Format, Precision

if TYPE_CHECKING:
    import numpy as np

    from segexport.artifact import ModelArtifact
    from segexport.diagnose.graph_probe import Diagnosed, Side
    from segexport.pipeline.step import Step
    from segexport.runtimes.base import RunOptions, Runtime


_OTHER_STEPS = ("ConvTranspose",)  # MNN has a step for each of their input channels, or parts of several
_RESIZES = {"cubic": False}  # MNN's bicubic resize has other weights


class MnnExport(ExportRecipe):
    """Recipe entry of an MNN export."""

    to: Literal["mnn"]
    precision: Literal[Precision.FP32, Precision.FP16, Precision.W8, Precision.W4, Precision.INT8] = Precision.FP32
    calibration: Calibration = Field(default_factory=Calibration)


class MnnTarget(ExportTarget):
    """Converts the ONNX export with MNN's converter."""

    name = "mnn"
    title = "MNN"
    format = Format.MNN
    Recipe = MnnExport
    runtimes = ("mnn",)
    toolchains = ("onnx", "mnn")
    converters = (PADDLE2ONNX,)
    suffix = ".mnn"
    packed = ("model",)
    searched = (Precision.FP32, Precision.FP16, Precision.W8, Precision.INT8)
    fits: ClassVar[Mapping[str, tuple[Precision, ...]]] = {"android": (Precision.FP32, Precision.INT8)}

    def steps(self, recipe: ExportRecipe) -> list[Step]:
        assert isinstance(recipe, MnnExport)
        if recipe.precision is Precision.INT8:
            int8 = make_step("onnx_int8", recipe.calibration.model_dump())
            return [make_step("to_onnx", _RESIZES), int8, make_step("to_mnn", {})]
        weights = weight_steps(recipe, recipe.calibration, groups=False, float_operators=_OTHER_STEPS)
        half = {"half": recipe.precision is Precision.FP16}
        return [make_step("to_onnx", _RESIZES), *weights, make_step("to_mnn", half)]

    def audit(
        self, artifact: ModelArtifact, inputs: Sequence[Sequence[np.ndarray]], options: RunOptions, runtime: Runtime
    ) -> Audit:
        """Lists the operators that ran, and counts those whose weights the file stores in 8 or 4 bits."""
        from segexport.exporter.targets.profile import profiled
        from segexport.exporter.to_mnn import operators

        ran, asked = profiled(artifact, inputs[0], options, runtime), artifact.manifest.target.precision
        stored = 4 if asked is Precision.W4 else 8
        held = [name for _, name, bits in operators(artifact.file("model"), options.timeout_s) if bits == stored]
        source = f"{runtime.title}'s session"
        check = precision_check(asked, ran, source, narrow=held, no_fp16=runtime.no_fp16(ran))
        return Audit(ran, (check,))

    def graph_probe(self, diagnosed: Diagnosed) -> Side:
        from segexport.exporter.targets.mnn_probe import MnnSide

        return MnnSide(diagnosed)
