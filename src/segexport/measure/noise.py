"""Random inputs for timing a model without images: the time depends only on the shape of the input."""

from __future__ import annotations

import numpy as np

from segexport.artifact import ModelArtifact

_FREE_SIDE = 512  # height and width in pixels for an input of dynamic size


def noise(artifact: ModelArtifact) -> list[np.ndarray]:
    """Normal noise for each input, the same at each call; inputs for an image's size and scale get these values."""
    generator, manifest = np.random.default_rng(0), artifact.manifest
    sides = [size if size > 0 else _FREE_SIDE for size in manifest.image.channels_first.shape[-2:]]
    meant = {"image_size": [sides], "scale_factor": [[1.0, 1.0]]}
    found = []
    for spec in (each.channels_first for each in manifest.inputs):
        free = [1] + [_FREE_SIDE] * (len(spec.shape) - 1)
        shape = [size if size > 0 else default for size, default in zip(spec.shape, free, strict=True)]
        drawn = generator.standard_normal(shape)
        found.append(np.array(meant.get(spec.semantics, drawn)).astype(spec.dtype))
    return found
