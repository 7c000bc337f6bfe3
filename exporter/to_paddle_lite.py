"""Converts a Paddle program to a Paddle-Lite `.nb` for ARM, and to an x86 twin that the check runs on this machine.

Paddle-Lite has kernels for ARM that x86 lacks. If no rewrite replaces them, the `.nb` has no twin: notes name the
operator, and a check on x86 reports that the export was not run and does not pass.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

import numpy as np

from segexport.artifact import Manifest, ModelArtifact, RuntimeLibrary, TargetDevice, file_entry, warning
from segexport.errors import UnsupportedModelError, WorkerCrashed
from segexport.exporter import program, rewrites
from segexport.exporter.calibrate import Calibrate, Rounding, where_it_rounds
from segexport.exporter.inspect import in_the_way, support_for
from segexport.exporter.lite_int8 import (
    FLOAT_OPERATORS,
    with_added,
    with_int8_arithmetic,
    with_int8_marks,
    with_whole_matrices,
    with_whole_weights,
)
from segexport.exporter.onnx_quantize import QuantizeOnnx
from segexport.exporter.quantization_ranges import Ranges
from segexport.exporter.quantized_program import is_quantized, require_float, unquantized
from segexport.exporter.rewrites.base import LITE_X86
from segexport.exporter.rewrites.weight_product import WeightProductToMul
from segexport.exporter.to_onnx import WORKERS
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.process.settled import settled
from segexport.process.worker import Worker
from segexport.recipe.calibration import Calibration
from segexport.spec import Format, Frozen, Precision

LITE_VERSION = "2.13"
NO_TWIN = "no x86 twin"
FP16_BUILD = "fp16"
_FP16_LIBRARY = (
    "model.nb needs a Paddle-Lite library that was built with --with_arm82_fp16=ON, and an ARMv8.2 processor; the "
    "default library ends the app's process when it loads the file"
)


class ToPaddleLite:
    """Converts a Paddle program to `model.nb` (ARM) and `model.x86.nb` (the twin) with Paddle-Lite's Opt."""

    kind = "to_paddle_lite"
    version = "26"
    accepts = Format.PADDLE
    produces = Format.PADDLE_LITE
    needs = ("paddlelite",)

    class Params(Frozen):
        """The precision.

        Attributes:
            precision: fp32; fp16: ARMv8.2 kernels, the file keeps fp32 weights; w8: int8 weights, float kernels; int8:
                int8 kernels for convolutions, with ranges from step `calibrate` or `qat`, or from its own calibration.
            weight_bits: Weight bits of w8: 8 or 16.
            calibration: For int8: calibration if no earlier step has found ranges. For w8: rounds weights with
                compensation; without it Opt rounds to nearest, and no images are needed.
        """

        precision: Literal[Precision.FP32, Precision.FP16, Precision.W8, Precision.INT8] = Precision.FP32
        weight_bits: Literal[8, 16] = 8
        calibration: Calibration | None = None

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or self.Params()
        if self.uses_data:
            self.needs = ("paddlelite", *Calibrate.needs)

    @property
    def uses_data(self) -> bool:
        return self.params.precision is Precision.INT8 or self._compensates

    @property
    def _compensates(self) -> bool:
        """Whether images decide how the weights of w8 are rounded."""
        given = self.params
        if given.precision is not Precision.W8 or given.weight_bits != 8 or given.calibration is None:
            return False
        return given.calibration.rounding == "compensated"

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.nb`, and `model.x86.nb` if x86 has all operators.

        Raises:
            UnsupportedModelError: Opt aborts on the program, or the compiled program would abort on the phone.
            Interrupted: Opt was killed from outside, so its support for the model is unknown.
        """
        original = program.read(source.file("model"), source.file("params"))
        for_arm = for_x86 = original
        more: list[str] = []
        calibrated_on = None
        precision = self.params.precision
        if is_quantized(original):
            precision = _of_quantized(precision, source)
            found = unquantized(original)
            for_arm, more = with_int8_marks(found.program, found.ranges, found.weights)
            for_x86, _ = with_int8_arithmetic(found.program, found.ranges, found.weights)
        elif precision is Precision.INT8:
            found = self._found(source, context)
            calibrated_on = found.calibrated_on
            rounded, magnitudes = with_whole_weights(original, found.whole, found.floats)
            rounded = with_added(rounded, found.added)
            ranges = Ranges(tensors={**found.ranges.tensors, **found.read})
            for_arm, more = with_int8_marks(rounded, ranges, magnitudes)
            for_x86, _ = with_int8_arithmetic(rounded, ranges, magnitudes)
            more += found.notes
        elif self._compensates and Ranges.of(source) is None:  # trained weights keep their nearest rounding
            found = self._found(source, context)
            calibrated_on = found.calibrated_on
            rounded = with_whole_weights(original, found.whole)[0]
            for_arm = for_x86 = with_whole_matrices(rounded, found.matrices)
            what = f"{len(found.whole)} convolutions and {len(found.matrices)} matrix products"
            more = [f"the weights of {what} are rounded with compensation"]
        notes = self._compile("arm", for_arm, out_dir / "model", context)
        files, twinless = [file_entry(out_dir, "model.nb")], self._compile_twin(for_x86, out_dir, context)
        notes += [*more, *twinless]
        if not twinless:
            files.append(file_entry(out_dir, "model.x86.nb", "host_model"))
            notes += _of_twin(precision)
        requires = None
        if precision is Precision.FP16:
            requires = RuntimeLibrary(library="paddle-lite", build=FP16_BUILD)
            notes.append(warning(_FP16_LIBRARY))
        before = source.manifest
        return before.model_copy(
            update={
                "format": Format.PADDLE_LITE,
                "files": tuple(files),
                "outputs": tuple(_int32_mask(spec) for spec in before.outputs),
                "target": TargetDevice(arch="arm64", precision=precision, min_runtime_version=LITE_VERSION),
                "requires": requires,
                "lineage": (*before.lineage, lineage_entry(self, context.key, tuple(notes), calibrated_on)),
                "sample": None,
            }
        )

    def _compile_twin(self, graph: program.Program, out_dir: Path, context: StepContext) -> list[str]:
        """Writes `model.x86.nb`; returns a note instead if x86 lacks an operator that ARM has."""
        try:
            self._compile("x86", graph, out_dir / "model.x86", context)
        except UnsupportedModelError:
            lacking = support_for(LITE_X86, graph).obstacles
            if not lacking:
                raise
            named = ", ".join(dict.fromkeys(f"{each.operator} (layer {each.layer})" for each in lacking))
            return [f"warning: {NO_TWIN}: x86 has no kernel for {named}; model.nb was compiled, and not run here"]
        return []

    def _found(self, source: ModelArtifact, context: StepContext) -> Rounding:
        """Returns the source's ranges, with weights rounded to nearest, or those of a new calibration."""
        known = Ranges.of(source)
        if known is not None:
            return Rounding(known, frozenset(), {}, ())
        given = dict(self.params.calibration or Calibration())
        if self.params.precision is Precision.INT8:
            floats = dict.fromkeys((*given["float_operators"], *FLOAT_OPERATORS))
            given |= {"float_operators": tuple(floats), "symmetric": True, "inputs_only": True}
        else:
            given["bias_correction"] = False  # of activations, which stay float
        return where_it_rounds(source, QuantizeOnnx.Params.model_validate(given), context)

    def _compile(self, place: str, original: program.Program, stem: Path, context: StepContext) -> list[str]:
        precision = self.params.precision
        of_small_weights = (WeightProductToMul(),) if precision is Precision.W8 else ()
        graph, notes = rewrites.rewrite_for(f"paddle-lite {place}", original, *of_small_weights)
        if place == "x86" and precision is Precision.FP16:
            graph.params = {name: rounded_to_half(value) for name, value in graph.params.items()}
        with tempfile.TemporaryDirectory(dir=stem.parent) as scratch:
            model, params = graph.write(Path(scratch))
            arguments = {
                "model": str(model),
                "params": str(params),
                "places": place,
                "stem": str(stem),
                "fp16": place == "arm" and precision is Precision.FP16,
                "weight_int8": precision is Precision.W8,
                "weight_bits": self.params.weight_bits,
            }

            def compile_it() -> None:
                with Worker(WORKERS / "lite_opt_worker.py", needs="paddlelite", name="Paddle-Lite Opt") as worker:
                    worker.call("compile", arguments, timeout_s=context.timeout_s)

            try:
                settled(compile_it, out=stem.parent)
            except WorkerCrashed as error:
                refusal = UnsupportedModelError(
                    f"Paddle-Lite's Opt cannot compile this program for {place}",
                    cause=f"{error.what}; {error.cause}",
                    hint="segexport inspect names the operators that Paddle-Lite does not take",
                )
                raise in_the_way(f"paddle-lite {place}", original, refusal) from error
        return notes


def _of_quantized(wanted: Precision, source: ModelArtifact) -> Precision:
    """Returns the export precision for a quantized program."""
    if wanted not in (Precision.FP32, Precision.INT8):
        require_float(source, wanted.value)
    return Precision.INT8


def _of_twin(precision: Precision) -> list[str]:
    """Notes in which respects the twin's results and times do not represent the phone."""
    if precision is Precision.INT8:
        return ["the x86 twin rounds as int8 does and computes in fp32: its times do not represent the phone"]
    if precision is Precision.FP16:
        return ["the x86 twin rounds the weights to fp16 and computes in fp32: fp16 kernels exist on ARM only"]
    return []


def rounded_to_half(value: np.ndarray) -> np.ndarray:
    """Rounds fp32 values to fp16 precision; returns other types unchanged."""
    return value.astype(np.float16).astype(np.float32) if value.dtype == np.float32 else value


def _int32_mask(spec):
    return spec.model_copy(update={"dtype": "int32"}) if spec.dtype in ("int64", "bool") else spec
