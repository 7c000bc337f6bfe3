"""Quantization-aware training as a step: the program learns to live with the rounding of its int8 export."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from segexport.artifact import Manifest, ModelArtifact, write_artifact
from segexport.compress.finetune import Finetune
from segexport.compress.training_options import Losses
from segexport.errors import UnsupportedModelError
from segexport.exporter import program
from segexport.exporter.onnx_quantize import quantize
from segexport.exporter.quantization_ranges import Ranges, onnx_convolutions, onnx_to_program, ranges_entry
from segexport.exporter.to_onnx import ToOnnx, onnx_nodes
from segexport.recipe import Calibration
from segexport.step import StepContext

_WORKER = Path(__file__).parent / "workers" / "qat_worker.py"


class Qat(Finetune):
    """Trains with the rounding of the int8 export, from the ranges that calibration finds.

    The model is exported and quantized once as it is; where that export rounds, training rounds too. What comes out is
    the trained program and `ranges.json`, which the exporters take in the place of ranges of their own.
    """

    kind = "qat"
    version = "1"
    needs = ("paddle", "paddle2onnx", "onnx", "onnxruntime")
    worker = _WORKER

    class Params(Finetune.Params):
        """How to train; see `TrainingOptions` for the fields that are not named here.

        Attributes:
            teacher: By default the model itself, in float.
            ranges: `learned`, `observed` or `fixed`; see `segexport.compress.qat_program`.
            calibration: What gives the ranges to start from, and what stays in float.
        """

        steps: int = Field(default=200, gt=0)
        learning_rate: float = Field(default=1e-4, gt=0)
        weight_decay: float = Field(default=0.0, ge=0)
        losses: Losses = Losses(cross_entropy=0, kl=1)
        ranges: Literal["learned", "observed", "fixed"] = "learned"
        calibration: Calibration = Calibration()

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params or self.Params())
        self._notes: tuple[str, ...] = ()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes what `Finetune.run` does, and `ranges.json`.

        Raises:
            InputError: As `Finetune.run` and `QuantizeOnnx.run`.
            UnsupportedModelError: Nothing of the model would run in int8, or nothing of it can be found again in the
                program.
        """
        manifest = super().run(source, out_dir, context)
        return manifest.model_copy(update={"files": (*manifest.files, ranges_entry(out_dir))})

    def _more_arguments(self, source: ModelArtifact, context: StepContext) -> dict[str, Any]:
        ranges, weights, notes = self._where_it_rounds(source, context)
        self._notes = tuple(notes)
        own = {role: str(source.file(role)) for role in ("model", "params")}
        found = {"ranges": ranges.model_dump_json(), "weights": sorted(weights), "moving": self.params.ranges}
        return found if self.params.teacher else {**found, "teacher": own}

    def _more_notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def _more_notes(self) -> tuple[str, ...]:
        return self._notes

    def _where_it_rounds(self, source: ModelArtifact, context: StepContext) -> tuple[Ranges, set[str], list[str]]:
        """The ranges of the program's variables, the convolutions whose weights are rounded, and notes."""
        with tempfile.TemporaryDirectory(prefix="segexport-qat-") as scratch:
            folder = Path(scratch)
            fp32 = write_artifact(folder, ToOnnx().run(source, folder, context))
            done = quantize(fp32, folder / "int8.onnx", self.params.calibration, context)
            nodes = onnx_nodes(folder / "model.onnx", context)
        graph = program.read(source.file("model"), source.file("params"))
        names = onnx_to_program(graph, nodes)
        ranges = done.ranges.renamed(names)
        convolutions = onnx_convolutions(graph, nodes)
        weights = {convolutions[name] for name in done.chosen if name in convolutions}
        if not ranges.tensors or not weights:
            raise UnsupportedModelError(
                f"nothing to train: {len(ranges.tensors)} tensors and {len(weights)} convolutions are int8",
                cause="the int8 export computes in float, or its names are not those of the program",
                hint="leave step qat out: onnx_int8 quantizes without training",
            )
        notes = [f"trained with {len(ranges.tensors)} tensors and the weights of {len(weights)} convolutions in int8"]
        if lost := sorted(done.ranges.tensors.keys() - names.keys()):
            named = ", ".join(lost[:3]) + (" ..." if len(lost) > 3 else "")
            notes.append(f"{len(lost)} tensors of the int8 export have no name in the program ({named}): not trained")
        return ranges, weights, notes
