"""Stores the weights of an fp32 ONNX model in 8 or 4 bits; the arithmetic stays in float.

The file shrinks to about a quarter or an eighth, and the model takes as long as before: ONNX Runtime widens the weights
once, when it loads the model. Layers that 4 bits are too few for get 8.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

from pydantic import Field

from segexport.artifact import Manifest, ModelArtifact
from segexport.errors import InputError
from segexport.exporter.calibration_images import checked_images
from segexport.exporter.mending import AGREEMENT, agreeing
from segexport.exporter.onnx_quantize import class_axes, fed, how_rounded, kept_as
from segexport.exporter.quantized_program import require_float
from segexport.exporter.to_onnx import ONNX_TOOLS, WORKERS, onnx_manifest
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.process.worker import Worker
from segexport.spec import Format, Frozen, Precision


class StoreWeights:
    """Rounds the weights of convolutions and matrix products; needs images unless each is rounded to the nearest."""

    kind = "onnx_weights"
    version = "3"
    accepts = Format.ONNX
    produces = Format.ONNX
    needs = ("onnx", "onnxruntime")

    class Params(Frozen):
        """Bits and rounding of the weights; `recipe.calibration.Calibration` describes the options."""

        weight_bits: Literal[4, 8] = 8
        images: int = Field(default=32, ge=1)
        rounding: Literal["nearest", "compensated"] = "compensated"
        ends: Literal[4, 8] = 8
        group_size: int = Field(default=0, ge=0)
        fallback: bool = True
        agreement: float | None = Field(default=None, ge=0, lt=1)
        float_operators: tuple[str, ...] = ()
        float_nodes: tuple[str, ...] = ()

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or self.Params()

    @property
    def uses_data(self) -> bool:
        return self.params.rounding == "compensated"

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.onnx`.

        Raises:
            InputError: There are no images, they are uniform, or the model outputs NaN or infinity for one.
            UnsupportedModelError: The model is quantized already.
        """
        precision = Precision.W4 if self.params.weight_bits == 4 else Precision.W8
        require_float(source, precision.value)
        options, out = self.params.model_dump(mode="json"), out_dir / "model.onnx"
        data, checked, notes = None, None, []
        if self.uses_data:
            drawn = context.images("the rounding of weights").subset(self.params.images, context.seed)
            data = drawn.read_for(source.manifest.preprocess)
            checked = checked_images(data, source)
            notes += checked.notes
            options["images"] = len(data)
        mends = data is not None and self.params.weight_bits == 4 and self.params.fallback
        options["axes"] = class_axes(source)
        options["agreement"] = AGREEMENT[4] if self.params.agreement is None else self.params.agreement
        gains: list[float] = []
        with (
            tempfile.TemporaryDirectory(dir=out_dir) as scratch,
            Worker(
                WORKERS / "onnx_weights_worker.py", needs=ONNX_TOOLS, threads=context.threads, name="weights"
            ) as run,
        ):
            begun, _ = run.call(
                "begin", {"fp32": str(source.file("model")), "scratch": scratch, **options}, timeout_s=context.timeout_s
            )
            with context.progress("rounding weights", begun["turns"] * (len(data) if data else 1)) as bar:
                for turn in range(begun["turns"]):
                    for index, (name, tensors) in enumerate(fed(data, source) if data else ()):
                        kept = mends and turn == 0 and bool(kept_as(index, options["images"], hold=False))
                        asked = {"turn": turn, "image": index, "keep": kept}
                        answer, _ = run.call("gather", asked, tensors, timeout_s=context.timeout_s)
                        if not answer["finite"]:
                            raise InputError(f"{name}: the model gives NaN or infinity on this calibration image")
                        bar.advance()
                    gains += run.call("round", {"turn": turn}, timeout_s=context.timeout_s)[0]["gains"]
                    bar.advance(0 if data else 1)
            notes.append(how_rounded(gains, options))
            if mends:
                agreeing(run, {}, context, notes)
            answer, _ = run.call("save", {"out": str(out)}, timeout_s=context.timeout_s)
        notes += answer["notes"]
        seen = None if checked is None else checked.statistics
        return onnx_manifest(source, out_dir, answer, precision, lineage_entry(self, context.key, tuple(notes), seen))
