"""Validates the calibration images before any work starts."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from segexport import preprocess
from segexport.artifact import ModelArtifact, warning
from segexport.data.dataset import Dataset
from segexport.errors import DataError, ModelSettingsError
from segexport.measure.image_statistics import StatisticsCounter
from segexport.spec import ImageStatistics

_NAMED = 3


class CheckedImages(NamedTuple):
    """The result of the validation.

    Attributes:
        notes: Warnings for allowed but probably unintended input: images of one colour, repeated images.
        statistics: For the lineage; a check compares its images with them.
    """

    notes: tuple[str, ...]
    statistics: ImageStatistics


def checked_images(data: Dataset, source: ModelArtifact) -> CheckedImages:
    """Decodes every image once and checks that ranges can be observed on them.

    Args:
        data: The calibration images.
        source: The model; its preprocessing is applied.

    Raises:
        InputError: An image cannot be read or becomes NaN or infinity, or all images are uniform.
    """
    flat, seen, counter = [], set(), StatisticsCounter()
    for sample in data:
        with np.errstate(all="ignore"):
            tensor, _ = preprocess.example(source.manifest.preprocess, sample.image)
        if not np.isfinite(tensor).all():
            raise ModelSettingsError(
                f"{sample.name}: the preprocessed image contains NaN or infinity",
                cause=f"mean {source.manifest.preprocess.mean}, std {source.manifest.preprocess.std}",
                hint="a std of 0 divides by zero: fix the preprocessing (deploy.yaml, model.preprocess in a recipe)",
            )
        if (sample.image == sample.image[:1, :1]).all():
            flat.append(sample.name)
        counter.add(tensor)
        seen.add(hashlib.sha256(sample.image.tobytes()).digest())
    if len(flat) == len(data):
        raise DataError(
            f"{data.root}: all {len(data)} calibration images are of a single colour",
            cause=f"{', '.join(flat[:_NAMED])}: their activations do not represent those of real images",
            hint="calibrate with a varied sample of real images",
        )
    warnings = []
    if flat:
        named = ", ".join(flat[:_NAMED]) + (" ..." if len(flat) > _NAMED else "")
        warnings.append(warning(f"{len(flat)} of {len(data)} calibration images are of a single colour ({named})"))
    if len(seen) < len(data):
        warnings.append(warning(f"{len(data)} calibration images, {len(seen)} different ones among them"))
    return CheckedImages(tuple(warnings), counter.result())
