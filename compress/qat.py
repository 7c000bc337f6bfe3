"""Quantization-aware training as a step: the program learns to live with the rounding of its int8 export."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from segexport.artifact import Manifest, ModelArtifact, write_artifact
from segexport.compress.finetune import Finetune
from segexport.compress.prune_step import paddle_manifest
from segexport.compress.training_options import Losses
from segexport.errors import UnsupportedModelError
from segexport.exporter import program
from segexport.exporter.onnx_quantize import quantize
from segexport.exporter.quantization_ranges import Ranges, onnx_convolutions, onnx_to_program, ranges_entry
from segexport.exporter.to_onnx import ToOnnx, onnx_nodes
from segexport.recipe import Calibration
from segexport.spec import Format
from segexport.step import StepContext, lineage_entry

_NAMED = 3  # tensors that a note names
_WORKER = Path(__file__).parent / "workers" / "qat_worker.py"


class Calibrate:
    """Observes activation ranges for exporters that observe none: the program stays, `ranges.json` comes beside it."""

    kind = "calibrate"
    version = "1"
    accepts = Format.PADDLE
    produces = Format.PADDLE
    needs = ("paddle2onnx", "onnx", "onnxruntime")
    uses_data = True
    Params = Calibration

    def __init__(self, params: Calibration | None = None) -> None:
        self.params = params or Calibration()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes the program and `ranges.json`.

        Raises:
            InputError: As `QuantizeOnnx.run`.
            UnsupportedModelError: As `where_it_rounds`.
        """
        found = where_it_rounds(source, self.params, context)
        graph = program.read(source.file("model"), source.file("params"))
        manifest = paddle_manifest(source, out_dir, graph, lineage_entry(self, context.key, found.notes))
        return manifest.model_copy(update={"files": (*manifest.files, found.ranges.write(out_dir))})


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
        found = where_it_rounds(source, self.params.calibration, context)
        self._notes = found.notes
        own = {role: str(source.file(role)) for role in ("model", "params")}
        more = {
            "ranges": found.ranges.model_dump_json(),
            "weights": sorted(found.weights),
            "moving": self.params.ranges,
        }
        return more if self.params.teacher else {**more, "teacher": own}

    def _more_notes(self) -> tuple[str, ...]:
        return self._notes


class Rounding(NamedTuple):
    """Where the int8 export of a program rounds.

    Attributes:
        ranges: By variable of the program.
        weights: Outputs of the convolutions whose weights are rounded.
        notes: For the lineage.
    """

    ranges: Ranges
    weights: frozenset[str]
    notes: tuple[str, ...]


def where_it_rounds(source: ModelArtifact, calibration: Calibration, context: StepContext) -> Rounding:
    """Exports and quantizes a program into a scratch folder and looks where its tensors are rounded.

    Raises:
        InputError: As `QuantizeOnnx.run`.
        UnsupportedModelError: Nothing would run in int8, or nothing of it can be found again in the program.
    """
    plain = calibration.model_copy(update={"equalize": False, "bias_correction": False})  # they change other weights
    with tempfile.TemporaryDirectory(prefix="segexport-ranges-") as scratch:
        folder = Path(scratch)
        fp32 = write_artifact(folder, ToOnnx().run(source, folder, context))
        done = quantize(fp32, folder / "int8.onnx", plain, context)
        nodes = onnx_nodes(folder / "model.onnx", context)
    graph = program.read(source.file("model"), source.file("params"))
    names, convolutions = onnx_to_program(graph, nodes), onnx_convolutions(graph, nodes)
    ranges = done.ranges.renamed(names)
    weights = frozenset(convolutions[name] for name in done.chosen if name in convolutions)
    if not ranges.tensors or not weights:
        raise UnsupportedModelError(
            f"{len(ranges.tensors)} tensors and {len(weights)} convolutions of this program are int8 in its export",
            cause="the export computes in float, or its names are not those of the program",
            hint="leave steps calibrate and qat out: onnx_int8 quantizes by itself",
        )
    notes = [f"{len(ranges.tensors)} tensors and the weights of {len(weights)} convolutions are rounded to int8"]
    if lost := sorted(done.ranges.tensors.keys() - names.keys()):
        named = ", ".join(lost[:_NAMED]) + (" ..." if len(lost) > _NAMED else "")
        notes.append(f"{len(lost)} tensors of the int8 export have no name in the program ({named})")
    return Rounding(ranges, weights, (*notes, *(note for note in done.notes if note.startswith("warning"))))
