"""Quantizes an fp32 ONNX model statically to int8, in the form that ONNX Runtime fuses into integer operators.

Uses QDQ, unsigned 8-bit activations, signed 8-bit weights per channel and folded BatchNorm; Resize stays in float (its
int8 kernel is slower). All images pass through the model once; bias correction uses a few of them again, and weight
rounding uses all of them again if the model is too wide for one pass. What the outputs of the calibration images lose
is measured, and mended where it is much.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segexport import preprocess
from segexport.artifact import Manifest, ModelArtifact, digest_of, warning
from segexport.data.dataset import Dataset
from segexport.errors import ModelOutputError
from segexport.exporter.calibration_images import checked_images
from segexport.exporter.mending import AGREEMENT, agreeing, how_corrected, mix_of, surveyed
from segexport.exporter.quantization_ranges import RANGES_ROLE, Grid, Ranges, signed_grid
from segexport.exporter.quantized_program import require_float
from segexport.exporter.to_onnx import ONNX_TOOLS, WORKERS, onnx_manifest
from segexport.measure.calibration_stability import stability_note
from segexport.pipeline.step import StepContext, lineage_entry, tool_versions
from segexport.process.worker import Worker
from segexport.recipe.calibration import Calibration
from segexport.spec import Format, ImageStatistics, Precision

if TYPE_CHECKING:
    import numpy as np

    from segexport.files.store import Store

Feed = Callable[[], Iterator[tuple[str, "list[np.ndarray]"]]]
"""Yields name and input tensors of each calibration image, from the first one again at each call."""

_CORRECTED_ON = 16  # images for bias correction: means converge long before ranges do
_OBSERVED = "observed.npz"
# The order in which BLAS adds, and so the last bits of a weight's Hessian, depends on the number of its threads.
_SAME_SUMS = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_HELD_OUT = 8  # most images that a correction is judged by


@dataclass(frozen=True)
class QuantizationResult:
    """The result of quantization.

    Attributes:
        answer: The model's inputs and outputs, see `onnx_worker`.
        ranges: Range of each rounded activation, by ONNX name.
        chosen: Names of the operators that compute in int8.
        whole: Operator name -> integer weights as stored in ONNX, for weights rounded with compensation.
        added: Output of a convolution -> what bias correction adds to its channels.
        calibrated_on: Statistics of the calibration images.
    """

    answer: dict[str, Any]
    ranges: Ranges
    chosen: frozenset[str]
    notes: tuple[str, ...]
    whole: dict[str, np.ndarray]
    added: dict[str, np.ndarray]
    calibrated_on: ImageStatistics


class QuantizeOnnx:
    """Converts fp32 ONNX to int8 ONNX, with ranges from calibration images or from training."""

    kind = "onnx_int8"
    version = "19"
    accepts = Format.ONNX
    produces = Format.ONNX
    needs = ("onnx", "onnxruntime")
    uses_data = True

    class Params(Calibration):
        """Calibration settings, and the integer formats of the runtime.

        Attributes:
            weight_bits: Bits per weight; `ends` sets those of the first and the last layer.
            symmetric: Whether activations are signed without zero point.
            inputs_only: Whether to round only the inputs of convolutions and matrix products, no other outputs.
        """

        weight_bits: Literal[4, 8] = 8
        symmetric: bool = False
        inputs_only: bool = False

    def __init__(self, params: Calibration | None = None) -> None:
        self.params = self.Params(**dict(params)) if params else self.Params()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.onnx`; an int8 source is not changed.

        Raises:
            InputError: There are no images, they are uniform, or the model outputs NaN or infinity for one.
        """
        if self.params.weight_bits == 4:
            require_float(source, "w4a8")
        if source.manifest.target.precision is Precision.INT8:
            return _as_it_is(self, source, out_dir, context)
        done = quantize(source, out_dir / "model.onnx", self.params, context)
        lineage = lineage_entry(self, context.key, done.notes, done.calibrated_on)
        precision = Precision.INT8 if self.params.weight_bits == 8 else Precision.W4A8
        return onnx_manifest(source, out_dir, done.answer, precision, lineage)


def _as_it_is(step: QuantizeOnnx, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
    shutil.copyfile(source.file("model"), out_dir / "model.onnx")
    lineage = lineage_entry(step, context.key, ("int8 already: nothing was calibrated",))
    return source.manifest.model_copy(update={"lineage": (*source.manifest.lineage, lineage)})


def quantize(source: ModelArtifact, out: Path, params: QuantizeOnnx.Params, context: StepContext) -> QuantizationResult:
    """Calibrates and quantizes an fp32 ONNX artifact into the file `out`; raises as `QuantizeOnnx.run`."""
    data = context.images("int8 calibration").subset(params.images, context.seed).read_for(source.manifest.preprocess)
    checked = checked_images(data, source)
    notes = list(checked.notes)
    trained = Ranges.of(source)
    options = params.model_dump(mode="json") | {"images": len(data)}
    if params.weight_bits == 4:
        options["per_channel"] = True  # a common scale for all channels would round some of them to zero
    if params.agreement is None:
        options["agreement"] = AGREEMENT[params.weight_bits]
    if trained:
        if params.equalize or params.bias_correction:
            notes.append("neither equalized nor bias-corrected: the weights were trained for the ranges that they have")
        options |= {"equalize": False, "bias_correction": False}
        if params.weight_bits == 8:
            options["rounding"] = "nearest"  # as in training
    with (
        tempfile.TemporaryDirectory(dir=out.parent) as scratch,
        Worker(
            WORKERS / "onnx_quantize_worker.py",
            needs=ONNX_TOOLS,
            threads=context.threads,
            name="int8",
            environment=_SAME_SUMS,
        ) as worker,
    ):
        ranges = trained.limits() if trained else {}
        arguments = {"fp32": str(source.file("model")), "scratch": scratch, "ranges": ranges, **options}
        arguments["axes"] = class_axes(source)
        feed = partial(fed, data, source)
        key = "" if trained or params.weight_bits == 4 else _key_of_observations(source, data, arguments)
        known = context.store.find(key) if context.store and key else None
        begun, found = _calibrated(worker, arguments, feed, len(data), context, known)
        is_first = not _far_off(found)
        if not is_first and not trained:
            begun, found = _mended(worker, arguments, (begun, found), feed, len(data), context, notes)
        notes += _compared(found, params.method)
        notes += _spread(found["spread"], len(data))
        gains = begun["gains"]
        if gains is not None:
            worker.call("reuse", {}, timeout_s=context.timeout_s)
        elif found["turns"]:
            gains = _rounded(worker, found["turns"], data, source, context)
        if gains is not None:
            notes.append(how_rounded(gains, options))
        if context.store and key and known is None and is_first:
            _remembered(worker, gains or [], context.store, key, context)
        notes += _corrected(worker, found["levels"], options, context)
        if found["errors"] and not trained:
            found = agreeing(worker, found, context, notes)
        whole = _named(worker, "weights", context) if gains is not None else {}
        whole = {name: value for name, value in whole.items() if name in found["chosen"]}
        added = _named(worker, "biases", context)
        answer, _ = worker.call("save", {"out": str(out)}, timeout_s=context.timeout_s)
    if trained:
        used = trained.tensors.keys() & found["ranges"].keys()
        notes.append(f"{len(used)} of {len(found['ranges'])} ranges are those that {RANGES_ROLE} of the source gives")
    if begun["tensors"]:
        notes.append(stability_note(found["half_scales"], len(data)))
    ranges = _ranges(found["ranges"], symmetric=params.symmetric)
    chosen, told = frozenset(found["chosen"]), (*answer["notes"], *notes)
    return QuantizationResult(answer, ranges, chosen, told, whole, added, checked.statistics)


def _ranges(found: dict[str, dict[str, float]], *, symmetric: bool) -> Ranges:
    """The ranges of tensors with a scale and a zero point each; symmetric ones have 127 steps on either side."""
    if symmetric:
        return Ranges(tensors={name: signed_grid(127 * grid["scale"]) for name, grid in found.items()})
    return Ranges(tensors={name: Grid.model_validate(grid) for name, grid in found.items()})


def _named(worker: Worker, command: str, context: StepContext) -> dict[str, np.ndarray]:
    """The arrays that a command returns, by name."""
    listed, arrays = worker.call(command, {}, timeout_s=context.timeout_s)
    return dict(zip(listed["names"], arrays, strict=True))


def _key_of_observations(source: ModelArtifact, data: Dataset, arguments: dict[str, Any]) -> str:
    """Key of what the images tell about the model, whichever ranges and float nodes an export makes of it."""
    asked = ("images", "draws", "rounding", "per_channel", "symmetric", "inputs_only", "equalize", "float_operators")
    return digest_of(
        {
            "int8 observations": QuantizeOnnx.version,
            "model": source.digest,
            "images": data.fingerprint,
            "options": {name: arguments[name] for name in asked} | {"biases": arguments["bias_correction"]},
            "tools": tool_versions(QuantizeOnnx.needs),
        }
    )


def _remembered(worker: Worker, gains: list[float], store: Store, key: str, context: StepContext) -> None:
    def write(folder: Path) -> None:
        arguments = {"file": str(folder / _OBSERVED), "gains": gains}
        worker.call("remember", arguments, timeout_s=context.timeout_s)

    store.keep(key, write)


def _calibrated(
    worker: Worker,
    arguments: dict[str, Any],
    feed: Feed,
    images: int,
    context: StepContext,
    known: Path | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Passes all images through the model, and quantizes; returns the answers of `begin` and `quantize`.

    Args:
        known: Folder of what an export before has observed and rounded: then no image passes through the model.
            The answer of `begin` has `gains`, of the rounding; None without `known`.
    """
    begun, _ = worker.call("begin", arguments, timeout_s=context.timeout_s)
    begun["gains"] = None
    if known is not None:
        found, _ = worker.call("recall", {"file": str(known / _OBSERVED)}, timeout_s=context.timeout_s)
        begun["gains"] = found["gains"] if arguments["rounding"] == "compensated" else None
        for index, (_, tensors) in enumerate(feed()):
            if kept := kept_as(index, images, hold=arguments["bias_correction"] is None):
                worker.call("keep", {"keep": kept, "index": index}, tensors, timeout_s=context.timeout_s)
        return begun, worker.call("quantize", {}, timeout_s=context.timeout_s)[0]
    with context.progress("calibrating", images) as bar:
        for index, (name, tensors) in enumerate(feed()):
            keep = kept_as(index, images, hold=arguments["bias_correction"] is None)
            answer, _ = worker.call("observe", {"keep": keep}, tensors, timeout_s=context.timeout_s)
            if not answer["finite"]:
                raise ModelOutputError(f"{name}: the model gives NaN or infinity on this calibration image")
            bar.advance()
    return begun, worker.call("quantize", {}, timeout_s=context.timeout_s)[0]


def kept_as(index: int, images: int, *, hold: bool) -> str:
    """Whether a calibration image is kept for corrections and comparisons, or held out to judge a correction by."""
    if hold and index % max(4, images // _HELD_OUT) == 3:
        return "held"
    return "kept" if index % max(1, images // _CORRECTED_ON) == 0 else ""


def class_axes(source: ModelArtifact) -> dict[str, int]:
    """Output with scores of classes -> their axis."""
    outputs = source.manifest.outputs
    return {spec.name: spec.layout.index("C") for spec in outputs if spec.dtype == "float32" and "C" in spec.layout}


def _far_off(found: dict[str, Any]) -> bool:
    return bool(found["errors"]) and not found["errors"][found["method"]] <= 1


def _mended(
    worker: Worker,
    arguments: dict[str, Any],
    first: tuple[dict[str, Any], dict[str, Any]],
    feed: Feed,
    images: int,
    context: StepContext,
    notes: list[str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Equalizes a model whose outputs are far off, and leaves in float what is still too inaccurate.

    Returns the last answers of `begin` and `quantize`.
    """
    begun, found = first
    if begun["pairs"] and arguments["equalize"] is None:
        before = found["errors"][found["method"]]
        begun, found = _calibrated(worker, {**arguments, "equalize": True}, feed, images, context)
        after = found["errors"][found["method"]]
        said = f"outputs on calibration images had {before:.2g} of the error that is far off, and equalized {after:.2g}"
        if after < before:
            notes.append(warning(f"{said}: equalized"))
        else:
            notes.append(f"{said}: not equalized")
            begun, found = _calibrated(worker, arguments, feed, images, context)
    if not _far_off(found):
        return begun, found
    surveyed(worker, found["surveyed"], context)
    found, _ = worker.call("keep_float", {"agreeing": False}, timeout_s=context.timeout_s)
    if found["mended"]:
        error = f"outputs on calibration images have {found['error']:.2g} of the error that is far off"
        notes.append(warning(f"{mix_of(found)}: {error}, in int8 {found['before']:.2g}"))
    return begun, found


def fed(data: Dataset, source: ModelArtifact) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yields name and input tensors of each image."""
    for sample in data:
        tensor, placement = preprocess.example(source.manifest.preprocess, sample.image)
        yield sample.name, preprocess.feed(source.manifest.inputs, tensor, placement)


def _rounded(worker: Worker, turns: int, data: Dataset, source: ModelArtifact, context: StepContext) -> list[float]:
    """Rounds the weights; the first pass has used the images already. Returns errors relative to nearest rounding."""
    gains: list[float] = []
    with context.progress("rounding weights", turns) as bar:
        for turn in range(turns):
            for index, (_, tensors) in enumerate(fed(data, source) if turn else ()):
                worker.call("gather", {"turn": turn, "image": index}, tensors, timeout_s=context.timeout_s)
            gains += worker.call("round", {"turn": turn}, timeout_s=context.timeout_s)[0]["gains"]
            bar.advance()
    return gains


def _compared(found: dict[str, Any], asked: str) -> list[str]:
    """Returns notes from comparing the outputs on the calibration images, if any."""
    errors, method = found["errors"], found["method"]
    if not errors:
        return []
    said = (
        f"with ranges by {asked}, outputs on calibration images have {errors[asked]:.2g} of the error that is far off"
    )
    if len(errors) == 1:
        return [said]
    others = ", ".join(f"{name} {error:.2g}" for name, error in errors.items() if name != asked)
    return [warning(f"{said}; others tried: {others}; taken: {method}")]


def _spread(errors: list[float], images: int) -> list[str]:
    """A note on the spread of the errors over draws of calibration images; empty without draws."""
    if not errors:
        return []
    mean, sd = statistics.mean(errors), statistics.stdev(errors)
    each = f"{len(errors)} draws of about {images // len(errors)} calibration images each"
    return [f"{each}: outputs have {mean:.2g} ± {sd:.1g} of the error that is far off (mean ± standard deviation)"]


def how_rounded(gains: list[float], options: dict[str, Any]) -> str:
    if options["rounding"] == "nearest":
        return f"{len(gains)} weights rounded to the nearest, in steps that are searched for"
    if not gains:
        return "no weight could be rounded with compensation"
    error = f"{statistics.median(gains):.2f} of the nearest rounding's squared error (median)"
    return f"{len(gains)} weights rounded with compensation: {error}"


def _corrected(worker: Worker, levels: int, options: dict[str, Any], context: StepContext) -> list[str]:
    """Corrects the biases, unless asked to only if that makes the error of other images smaller; returns notes."""
    if not levels:
        return []
    largest = 0.0
    with context.progress("correcting biases", levels) as bar:
        for level in range(levels):
            answer, _ = worker.call("correct", {"level": level}, timeout_s=context.timeout_s)
            largest = max(largest, answer["shift"])
            bar.advance()
    found = {"levels": levels, "shift": largest}
    if not options["bias_correction"]:
        found |= worker.call("corrected", {}, timeout_s=context.timeout_s)[0]
    return [how_corrected(found)]
