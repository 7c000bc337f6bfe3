"""Compares a converted model with its source on a few images, each in its own runtime.

Converters report success for models that they broke or that crash their runtime. So a conversion is accepted only if
its outputs agree with its source's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from segexport import preprocess
from segexport.artifact import Manifest, ModelArtifact
from segexport.errors import SegexportError, UnsupportedModelError, WorkerError
from segexport.exporter.first_wrong import first_wrong
from segexport.exporter.unquantized_onnx import unquantized_onnx
from segexport.pipeline.step import StepContext
from segexport.process.settled import settled
from segexport.runtimes.base import RunOptions, Runtime
from segexport.runtimes.ort import OnnxRuntime
from segexport.spec import Precision, TensorSpec

_IMAGES = 2
_FREE_SIDE = 256  # image side for a network of dynamic size
_PATCHES = 8  # patches per side of a generated image: shapes and edges instead of pure noise
_LIMIT = {Precision.FP32: 0.01, Precision.FP16: 0.1, Precision.BF16: 0.5, Precision.INT8: 0.1}
_LIMIT |= {Precision.W8: 0.5, Precision.W4: 0.5}
"""Tolerated difference, relative to the outputs' spread; int8 is compared with the int8 source."""
_OF_ROUNDING = 0.5
"""Tolerated difference of int8, relative to what rounding itself changes: made images can exceed the calibrated ranges,
where a small deviation before a limit is a large one behind it."""
OF_OBJECTS = ("boxes", "box_count", "instance_masks")  # a score near the threshold changes the list


def require_same(
    source: ModelArtifact,
    made: ModelArtifact,
    runtime: Runtime,
    context: StepContext,
    make: Callable[[ModelArtifact, Path], Manifest],
    *,
    in_float: bool = False,
) -> str:
    """Runs both models; returns a note with their difference.

    Args:
        source: The ONNX source.
        runtime: Runtime of the converted model.
        make: Converts a part of the model in the same way, to find the wrong operator.
        in_float: Whether both compute in fp32 with the same weights, whatever the file stores them in.

    Raises:
        UnsupportedModelError: The converted model crashes, fails to run or gives different outputs.
    """
    compared = [index for index, spec in enumerate(source.manifest.outputs) if spec.semantics not in OF_OBJECTS]
    images = [made_inputs(source.manifest, seed) for seed in range(context.seed, context.seed + _IMAGES)]
    expected = outputs_of(source, OnnxRuntime(), images, context) if compared else []
    try:
        found = outputs_of(made, runtime, images, context)
    except WorkerError as error:
        where = _where(source, made, runtime, context, make)
        raise UnsupportedModelError(
            f"{runtime.title} converts this model and cannot run the result{where}",
            cause=error.cause or error.what,
        ) from error
    if not compared:
        return "ran, and not compared with its source: lists of objects cannot be compared one by one"
    worst = _worst(expected, found, compared)
    limit = _LIMIT[Precision.FP32 if in_float else made.manifest.target.precision]
    where = f"of their spread, on {_IMAGES} made images"
    if made.manifest.target.precision is Precision.INT8 and limit < worst < float("inf"):
        rounding = _worst(expected, _in_float(source, images, context), compared)
        limit, where = max(limit, _OF_ROUNDING * rounding), f"{where}; rounding changes them by {rounding:.2g}"
    if not worst <= limit:
        raise UnsupportedModelError(
            f"{runtime.title} converts this model into another one{_where(source, made, runtime, context, make)}",
            cause=f"its outputs differ from the source's by {worst:.2g} {where}",
        )
    return f"its outputs differ from ONNX Runtime's by {worst:.1e} {where}"


def _worst(expected: Sequence[list[np.ndarray]], found: Sequence[list[np.ndarray]], compared: Sequence[int]) -> float:
    return max(difference(a[index], b[index]) for a, b in zip(expected, found, strict=True) for index in compared)


def _in_float(
    source: ModelArtifact, images: Sequence[Sequence[np.ndarray]], context: StepContext
) -> list[list[np.ndarray]]:
    """Outputs of an int8 ONNX model without the rounding of its activations."""
    with tempfile.TemporaryDirectory() as folder:
        floats = Path(folder) / source.file("model").name
        unquantized_onnx(source.file("model"), floats, context)
        return outputs_of(ModelArtifact(Path(folder), source.manifest), OnnxRuntime(), images, context)


def _where(
    source: ModelArtifact,
    made: ModelArtifact,
    runtime: Runtime,
    context: StepContext,
    make: Callable[[ModelArtifact, Path], Manifest],
) -> str:
    """Returns `, from Conv (name) on`; empty if it cannot be determined, e.g. for integers."""
    precision = made.manifest.target.precision
    if precision is Precision.INT8:
        return ""

    def compare(
        part: ModelArtifact, folder: Path, tensors: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], list[bool]]:
        (expected,) = outputs_of(part, OnnxRuntime(), [tensors], context)
        try:
            (found,) = outputs_of(ModelArtifact(folder, make(part, folder)), runtime, [tensors], context)
        except SegexportError:  # the part crashes or does not convert
            return expected, [False] * len(expected)
        pairs = zip(expected, found, strict=True)
        return expected, [difference(one, other) <= _LIMIT[precision] for one, other in pairs]

    found = first_wrong(source, made_inputs(source.manifest, context.seed), compare, context)
    return f", {found}" if found else ""


def made_inputs(manifest: Manifest, seed: int, noise: float = 8.0) -> list[np.ndarray]:
    """Returns the tensors of an image of random patches after the model's preprocessing.

    Args:
        noise: Standard deviation of the noise of each pixel, of 255.
    """
    shape = manifest.image.shape
    height, width = (side if side > 0 else _FREE_SIDE for side in shape[-2:])
    pixels, generator = manifest.preprocess.pixels, np.random.default_rng(seed)
    patches = generator.integers(0, 256, (_PATCHES, _PATCHES, pixels.channels)).astype(np.float32)
    smooth = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, -1)
    image = np.clip(smooth + generator.normal(0, noise, smooth.shape), 0, 255).astype(np.uint8)
    tensor, placement = preprocess.example(manifest.preprocess, image)
    return preprocess.feed(manifest.inputs, tensor, placement)


def outputs_of(
    artifact: ModelArtifact, runtime: Runtime, images: Sequence[Sequence[np.ndarray]], context: StepContext
) -> list[list[np.ndarray]]:
    """Returns the runtime's outputs for each image, scores as [N, C, H, W].

    Raises:
        WorkerError: The runtime crashes, hangs or fails.
    """

    def run() -> list[list[np.ndarray]]:
        options = RunOptions(threads=context.threads, timeout_s=context.timeout_s)
        with runtime.open(artifact, options) as session:
            taken = [_as_taken(artifact.manifest.inputs, tensors) for tensors in images]
            return [[*map(_channels_first, artifact.manifest.outputs, session.outputs(each))] for each in taken]

    return settled(run)


def _channels_first(spec: TensorSpec, output: np.ndarray) -> np.ndarray:
    return output.transpose(0, 3, 1, 2) if spec.layout == "NHWC" and output.ndim == 4 else output


def _as_taken(specs: Sequence[TensorSpec], tensors: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [tensor.astype(spec.dtype, copy=False) for spec, tensor in zip(specs, tensors, strict=True)]


def difference(expected: np.ndarray, found: np.ndarray) -> float:
    """RMS difference relative to the expected values' spread; for integers, the fraction that differs."""
    if expected.shape != found.shape:
        return float("inf")
    if expected.dtype.kind != "f":
        return float((expected != found).mean())
    spread = max(float(expected.std()), 1e-12)
    return float(np.sqrt(np.mean((found.astype(np.float64) - expected) ** 2)) / spread)
