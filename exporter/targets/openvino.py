"""The OpenVINO export target, for Intel CPUs and GPUs and for ARM CPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from segexport.exporter.converters import PADDLE2ONNX
from segexport.exporter.targets.base import ExportTarget
from segexport.exporter.targets.stored_weights import weight_steps
from segexport.pipeline.registry import make_step
from segexport.recipe.calibration import Calibration
from segexport.recipe.export import ExportRecipe
from segexport.spec import Format, Precision

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from segexport.artifact import ModelArtifact
    from segexport.diagnose.graph_probe import Diagnosed, Side
    from segexport.files.store import Store
    from segexport.pipeline.step import Step
    from segexport.runtimes.base import RunOptions


_STORED = {Precision.W8: "i8", Precision.W4: "i4"}  # element type of the weights in the file


class OpenVinoExport(ExportRecipe):
    """Recipe entry of an OpenVINO export; see `exporter.to_openvino`.

    Attributes:
        quantizer: Quantizer for int8. `segexport`: the ranges and weights of the int8 ONNX export. `nncf`: NNCF, with
            its bias correction; it uses only `images` of `calibration`.
    """

    to: Literal["openvino"]
    precision: Literal[Precision.FP32, Precision.FP16, Precision.INT8, Precision.W8, Precision.W4] = Precision.FP32
    quantizer: Literal["segexport", "nncf"] = "segexport"
    calibration: Calibration = Field(default_factory=Calibration)


class OpenVinoTarget(ExportTarget):
    """Converts the ONNX export; int8, w8 and w4 keep that export's ranges and weights."""

    name = "openvino"
    title = "OpenVINO"
    format = Format.OPENVINO
    Recipe = OpenVinoExport
    runtimes = ("openvino",)
    toolchains = ("onnx", "openvino")
    converters = (PADDLE2ONNX,)
    suffix = ".xml"
    beside = ".bin"
    searched = (Precision.FP32, Precision.FP16, Precision.INT8)
    fits: ClassVar[Mapping[str, tuple[Precision, ...]]] = {"server": (Precision.FP32, Precision.INT8)}
    next_command: ClassVar[Mapping[str, str]] = {"server": "segexport serve {export}"}

    def steps(self, recipe: ExportRecipe) -> list[Step]:
        assert isinstance(recipe, OpenVinoExport)
        steps = [make_step("to_onnx", {})]
        if recipe.precision is Precision.INT8 and recipe.quantizer == "nncf":
            images = {"images": recipe.calibration.images}
            return [*steps, make_step("to_openvino", {}), make_step("openvino_nncf", images)]
        if recipe.precision is Precision.INT8:
            steps.append(make_step("onnx_int8", recipe.calibration.model_dump()))
        steps += weight_steps(recipe, recipe.calibration)
        return [*steps, make_step("to_openvino", {"half": recipe.precision is Precision.FP16})]

    def adopt(self, file: Path, reference: ModelArtifact, store: Store) -> ModelArtifact:
        from segexport.exporter.from_openvino import adopt_openvino

        return adopt_openvino(file, reference, store)

    def narrow(self, artifact: ModelArtifact, options: RunOptions) -> Collection[str]:
        kind = _STORED.get(artifact.manifest.target.precision)
        if kind is None:
            return ()
        from segexport.exporter.to_onnx import WORKERS
        from segexport.exporter.to_openvino import OPENVINO_TOOLS
        from segexport.process.worker import Worker

        arguments = {"model": str(artifact.file("model")), "kind": kind}
        with Worker(WORKERS / "openvino_worker.py", needs=OPENVINO_TOOLS, threads=options.threads) as worker:
            return worker.call("narrow_products", arguments, timeout_s=options.timeout_s)[0]["names"]

    def graph_probe(self, diagnosed: Diagnosed) -> Side:
        from segexport.exporter.targets.openvino_probe import OpenVinoSide

        return OpenVinoSide(diagnosed)
