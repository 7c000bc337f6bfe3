"""The Paddle-Lite export target: a `.nb` for ARM, and an x86 twin for the check if x86 has the operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from segexport.exporter.converters import OPT_ARM, OPT_X86
from segexport.exporter.targets.base import ExportTarget
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


class PaddleLiteExport(ExportRecipe):
    """Recipe entry of a Paddle-Lite export for ARM with an x86 twin for the check; see `exporter.to_paddle_lite`."""

    to: Literal["paddle-lite"]
    precision: Literal[Precision.FP32, Precision.FP16, Precision.W8, Precision.INT8] = Precision.FP32
    weight_bits: Literal[8, 16] = 8
    calibration: Calibration = Field(default_factory=Calibration)


class PaddleLiteTarget(ExportTarget):
    """Converts the program with Paddle-Lite's Opt."""

    name = "paddle-lite"
    title = "Paddle-Lite"
    format = Format.PADDLE_LITE
    Recipe = PaddleLiteExport
    runtimes = ("paddle-lite",)
    toolchains = ("paddle-lite",)
    converters = (OPT_ARM, OPT_X86)
    suffix = ".nb"
    packed = ("model",)
    searched = (Precision.FP32, Precision.FP16, Precision.W8)
    searched_whole = (Precision.INT8,)
    untimed = "times of the x86 twins do not represent a phone"
    fits: ClassVar[Mapping[str, tuple[Precision, ...]]] = {"android": (Precision.FP32, Precision.INT8)}
    next_command: ClassVar[Mapping[str, str]] = {"android": "segexport android assets {export} --sample {image}"}

    def steps(self, recipe: ExportRecipe) -> list[Step]:
        # w8 is calibrated only if the recipe has a calibration; otherwise it needs no images.
        calibrated = recipe.precision is Precision.INT8 or "calibration" in recipe.model_fields_set
        named = {"precision", "weight_bits"} | ({"calibration"} if calibrated else set())
        return [make_step("to_paddle_lite", recipe.model_dump(include=named))]

    def audit(
        self, artifact: ModelArtifact, inputs: Sequence[Sequence[np.ndarray]], options: RunOptions, runtime: Runtime
    ) -> Audit:
        """Reads the kernels from the file: Opt has already chosen them, so no run is needed."""
        from segexport.exporter.targets.nb_kernels import nb_kernels, quantized_weights

        file = artifact.file("model")
        data = file.read_bytes()
        ran, asked = nb_kernels(data, source=str(file)), artifact.manifest.target.precision
        source = f"the kernels in {file.name}"
        return Audit(ran, (precision_check(asked, ran, source, weights_int8=quantized_weights(data)),))

    def graph_probe(self, diagnosed: Diagnosed) -> Side:
        from segexport.exporter.targets.paddle_lite_probe import LiteSide

        return LiteSide(diagnosed)
