"""The quantization-aware training step: trains the program with the rounding of its int8 export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from segexport.artifact import Manifest, ModelArtifact
from segexport.compress.finetune import Finetune
from segexport.compress.training_options import Losses
from segexport.errors import MismatchError
from segexport.exporter.calibrate import where_it_rounds
from segexport.exporter.quantization_ranges import ranges_entry
from segexport.pipeline.step import StepContext
from segexport.recipe.calibration import Calibration

_WORKER = Path(__file__).parent / "workers" / "qat_worker.py"


class Qat(Finetune):
    """Trains with the rounding of the int8 export, starting from calibrated ranges.

    Exports and quantizes the model once; training rounds the same tensors as that export. The result is the trained
    program and `ranges.json`, which the exporters use instead of calibrating.
    """

    kind = "qat"
    version = "5"
    needs = ("paddle", "paddle2onnx", "onnx", "onnxruntime")
    worker = _WORKER

    class Params(Finetune.Params):
        """Training parameters: those of `Finetune.Params` with other defaults.

        Attributes:
            teacher: Default: the float model itself.
            ranges: `learned`, `observed` or `fixed`; see `segexport.compress.qat_program`.
            calibration: Calibration of the initial ranges, and the operators that stay in float.
        """

        steps: int = Field(default=200, gt=0)
        learning_rate: float = Field(default=2e-5, gt=0)
        weight_decay: float = Field(default=0.0, ge=0)
        losses: Losses = Losses(cross_entropy=0, kl=1)
        ranges: Literal["learned", "observed", "fixed"] = "learned"
        calibration: Calibration = Calibration()

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params or self.Params())
        self._notes: tuple[str, ...] = ()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes the files of `Finetune.run`, and `ranges.json`.

        Raises:
            InputError: As `Finetune.run` and `QuantizeOnnx.run`.
            UnsupportedModelError: Nothing would run in int8, or no rounded tensor maps back to the program.
        """
        manifest = super().run(source, out_dir, self._with_own_classes(source, context))
        return manifest.model_copy(update={"files": (*manifest.files, ranges_entry(out_dir))})

    def _with_own_classes(self, source: ModelArtifact, context: StepContext) -> StepContext:
        """Removes labels of other classes from the context: the head stays, and the teacher needs no labels."""
        data, own = context.images("quantization-aware training"), source.manifest.num_classes
        if not data.labelled or data.labels is None or len(data.labels) == own:
            return context
        if self.params.losses.needs_labels:
            raise MismatchError(
                f"{data.root}: labels of {len(data.labels)} classes, the model has {own}",
                hint="learn from the float original alone (losses: {cross_entropy: 0, kl: 1}), or put finetune before",
            )
        entries = tuple(replace(entry, label=None) for entry in data.entries)
        return replace(context, data=replace(data, entries=entries, labels=None), validation=None)

    def _more_arguments(self, source: ModelArtifact, context: StepContext) -> dict[str, Any]:
        # Training does its own rounding, and mends what it loses.
        changes = {"rounding": "nearest", "agreement": 0.0, "bias_correction": False}
        plain = self.params.calibration.model_copy(update=changes)
        found = where_it_rounds(source, plain, context)
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
