"""The ONNX export target."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from segexport.exporter.converters import PADDLE2ONNX
from segexport.exporter.targets.base import ExportTarget
from segexport.exporter.targets.stored_weights import weight_steps
from segexport.measure.audit import Audit
from segexport.pipeline.registry import make_step
from segexport.recipe.calibration import Calibration
from segexport.recipe.export import ExportRecipe
from segexport.spec import Format, Precision

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from segexport.artifact import Manifest, ModelArtifact
    from segexport.diagnose.graph_probe import Diagnosed, Side
    from segexport.exporter.targets.layers import Layers
    from segexport.files.store import Store
    from segexport.pipeline.step import Step
    from segexport.runtimes.base import RunOptions, Runtime


class OnnxExport(ExportRecipe):
    """Recipe entry of an ONNX export."""

    to: Literal["onnx"]
    precision: Literal[Precision.FP32, Precision.FP16, Precision.INT8, Precision.W8, Precision.W4, Precision.W4A8] = (
        Precision.FP32
    )
    opset: Literal["auto"] | int = "auto"
    simplify: bool = True
    calibration: Calibration = Field(default_factory=Calibration)


# Element type of the weights in the file.
_STORED = {Precision.W8: "INT8", Precision.W4: "INT4", Precision.W4A8: "INT4"}


class OnnxTarget(ExportTarget):
    """Converts to fp32 with paddle2onnx, and makes the other precisions from that file."""

    name = "onnx"
    title = "ONNX"
    format = Format.ONNX
    Recipe = OnnxExport
    runtimes = ("onnxruntime", "openvino")
    toolchains = ("onnx",)
    converters = (PADDLE2ONNX,)
    suffix = ".onnx"
    packed = ("model", "params")  # a large model stores its weights in separate files
    as_on_device: ClassVar[Mapping[str, object]] = {"int8_as_on_arm": True}
    searched = (Precision.FP32, Precision.INT8, Precision.FP16, Precision.W4A8)
    fits: ClassVar[Mapping[str, tuple[Precision, ...]]] = {
        "android": (Precision.FP32, Precision.INT8),
        "server": (Precision.FP32, Precision.INT8),
    }
    next_command: ClassVar[Mapping[str, str]] = {
        "android": "segexport android assets {export} --sample {image}",
        "server": "segexport serve {export}",
    }

    def steps(self, recipe: ExportRecipe) -> list[Step]:
        assert isinstance(recipe, OnnxExport)
        steps = [make_step("to_onnx", {"opset": recipe.opset, "simplify": recipe.simplify})]
        if recipe.precision is Precision.FP16:
            steps.append(make_step("onnx_fp16", {}))
        if recipe.precision in (Precision.INT8, Precision.W4A8):
            weight_bits = 4 if recipe.precision is Precision.W4A8 else 8
            steps.append(make_step("onnx_int8", {**recipe.calibration.model_dump(), "weight_bits": weight_bits}))
        return [*steps, *weight_steps(recipe, recipe.calibration)]

    def verify(self, root: Path, manifest: Manifest) -> None:
        from segexport.exporter.targets.onnx_files import require_listed

        require_listed(root, manifest)

    def adopt(self, file: Path, reference: ModelArtifact, store: Store) -> ModelArtifact:
        from segexport.exporter.from_onnx import adopt_onnx

        return adopt_onnx(file, reference, store)

    def audit(
        self, artifact: ModelArtifact, inputs: Sequence[Sequence[np.ndarray]], options: RunOptions, runtime: Runtime
    ) -> Audit:
        """Extends the base class's audit: for int8 in ONNX Runtime on a CPU, also checks that ARM rounds alike."""
        from segexport.exporter.targets.arm_rounding import arm_rounding_check

        found = super().audit(artifact, inputs, options, runtime)
        is_int8 = artifact.manifest.target.precision.arithmetic == "int8"
        if not is_int8 or runtime.name != self.runtimes[0] or options.device != "cpu":
            return found
        return replace(found, checks=(*found.checks, arm_rounding_check(artifact, inputs, options)))

    def narrow(self, artifact: ModelArtifact, options: RunOptions) -> Collection[str]:
        kind = _STORED.get(artifact.manifest.target.precision)
        if kind is None:
            return ()
        from segexport.exporter.to_onnx import ONNX_TOOLS, WORKERS
        from segexport.process.worker import Worker

        arguments = {"onnx": str(artifact.file("model")), "kind": kind}
        with Worker(WORKERS / "onnx_worker.py", needs=ONNX_TOOLS, threads=options.threads, name="onnx") as worker:
            return worker.call("narrow_products", arguments, timeout_s=options.timeout_s)[0]["names"]

    def graph_probe(self, diagnosed: Diagnosed) -> Side:
        from segexport.exporter.targets.onnx_probe import OnnxSide

        return OnnxSide(diagnosed)

    def layers(
        self,
        fp32: ModelArtifact,
        int8: Callable[[], ModelArtifact] | None,
        tensors: Sequence[np.ndarray],
        *,
        threads: int,
        timeout_s: float,
    ) -> Layers:
        from segexport.exporter.targets.onnx_layers import onnx_layers

        return onnx_layers(fp32, int8, tensors, threads=threads, timeout_s=timeout_s)
