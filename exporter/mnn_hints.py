"""Decides whether MNN's sessions may compute an export's convolutions with their largest Winograd tiles.

By default, MNN computes a 3x3 convolution by tiles of up to 6x6 results (Winograd's algorithm, Lavin and Gray 2016,
"Fast Algorithms for Convolutional Neural Networks", section 4). The larger the tile, the larger the numbers that
cancel: 6x6 is off by 1e-4 of the result's spread, 2x2 by 1e-7. Most networks lose nothing by it. Some amplify it until
pixels change their class; for these, the manifest demands the hint that limits the tiles to 2x2.
"""

from __future__ import annotations

from collections.abc import Mapping

from segexport.artifact import Manifest, ModelArtifact, warning
from segexport.errors import WorkerError
from segexport.exporter.same_as_source import OF_OBJECTS, difference, made_inputs, outputs_of
from segexport.pipeline.step import StepContext
from segexport.runtimes.mnn import MnnRuntime
from segexport.runtimes.ort import OnnxRuntime
from segexport.spec import Precision

SMALL_TILES = {"WINOGRAD_MEMORY_LEVEL": 0}
_LIMIT = 2e-4
"""Tolerated difference from the source; trained networks differ by up to 6e-5 with MNN's default."""
_BETTER = 4  # times smaller that the difference has to become with small tiles
_NOISE = (8.0, 64.0)  # of the images: noise shows what smooth patches hide


def session_hints(
    source: ModelArtifact, made: ModelArtifact, context: StepContext
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Returns the session hints that the export needs, and notes that say why.

    Args:
        source: The ONNX source.
        made: Its export to MNN, without hints.
    """
    outputs = [index for index, spec in enumerate(source.manifest.outputs) if spec.semantics not in OF_OBJECTS]
    if made.manifest.target.precision is Precision.INT8 or not outputs:
        return {}, ()
    images = [made_inputs(source.manifest, context.seed, noise) for noise in _NOISE]
    expected = outputs_of(source, OnnxRuntime(), images, context)

    def off(export: ModelArtifact) -> float:
        found = outputs_of(export, MnnRuntime(), images, context)
        return max(difference(a[index], b[index]) for a, b in zip(expected, found, strict=True) for index in outputs)

    try:
        plain = off(made)
        if plain <= _LIMIT:
            return {}, ()
        small = off(ModelArtifact(made.path, hinted(made.manifest, SMALL_TILES)))
    except WorkerError:  # the comparison with the source will report the cause
        return {}, ()
    if not small * _BETTER <= plain:
        return {}, ()
    (name, level), *_ = SMALL_TILES.items()
    told = (
        f"MNN's default session differs from the source by {plain:.1e}, with the session hint {name} {level} by "
        f"{small:.1e}: an app has to set it, as segexport's runtime does (C++: `setSessionHint`, Python: `set_hint`; "
        "MNN's Java classes cannot)"
    )
    return dict(SMALL_TILES), (warning(told),)


def hinted(manifest: Manifest, hints: Mapping[str, int]) -> Manifest:
    """The manifest with session hints."""
    return manifest.model_copy(update={"target": manifest.target.model_copy(update={"hints": dict(hints)})})
