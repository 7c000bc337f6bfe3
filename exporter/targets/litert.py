"""The LiteRT (TensorFlow Lite) export target, for Android."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from segexport.exporter.converters import LITERT
from segexport.exporter.targets.base import ExportTarget
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
    from segexport.files.store import Store
    from segexport.pipeline.step import Step
    from segexport.runtimes.base import RunOptions, Runtime


class LiteRtExport(ExportRecipe):
    """Recipe entry of a LiteRT export; see `exporter.to_litert`."""

    to: Literal["litert"]
    precision: Literal[Precision.FP32, Precision.FP16, Precision.W8, Precision.INT8] = Precision.FP32
    calibration: Calibration = Field(default_factory=Calibration)


class LiteRtTarget(ExportTarget):
    """Writes the ONNX export in LiteRT's format; int8 keeps that export's ranges and weights."""

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
        return [make_step("to_onnx", {}), make_step("to_litert", {"precision": recipe.precision})]

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
