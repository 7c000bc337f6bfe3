"""Augments images with an albumentations pipeline, as written by `A.save`; equal seeds give equal views.

The four built-in changes of `Augmentation` need no further package and are enough for most fine-tuning; albumentations
provides all others.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from segexport.errors import InputError, UnreadableError

_own = threading.local()  # a pipeline stores its random state: each thread needs one


def apply(
    pipeline: Mapping[str, Any], image: np.ndarray, label: np.ndarray | None, seed: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns a view of an image (height, width, channels) and of its label (height, width).

    Raises:
        InputError: albumentations is not installed, or the pipeline is invalid or does not return an image.
    """
    text = json.dumps(pipeline, sort_keys=True)
    if getattr(_own, "text", None) != text:
        _own.text, _own.transform = text, build(text)
    _own.transform.set_random_seed(seed)
    try:
        found = _own.transform(image=image, **({} if label is None else {"mask": label}))
    except Exception as error:  # transforms raise arbitrary errors if their arguments do not fit the image
        raise InputError(
            f"the augmentation fails: {type(error).__name__}", cause=" ".join(str(error).split())
        ) from None
    before, image, label = image, found["image"], found.get("mask")
    if image.ndim == 2 and before.shape[2] == 1:  # some transforms drop the axis of a single channel
        image = image[:, :, None]
    kept = image.dtype == before.dtype and image.ndim == 3 and image.shape[2] == before.shape[2]
    if not kept or (label is not None and label.shape != image.shape[:2]):
        raise InputError(
            f"the augmentation gives {image.dtype} {list(image.shape)}",
            cause=f"an image stays {before.dtype} (height, width, {before.shape[2]}): "
            "normalization is the model's own, and comes after it",
        )
    return np.ascontiguousarray(image), label


def require(pipeline: Mapping[str, Any], channels: int = 3) -> None:
    """Raises InputError as `apply` does, before training starts."""
    apply(pipeline, np.zeros((64, 64, channels), np.uint8), np.zeros((64, 64), np.uint8), 0)


def build(text: str) -> Any:
    """Builds a pipeline from its JSON."""
    library = _library()
    try:
        return library.from_dict(json.loads(text))
    except Exception as error:  # the library raises many types for unknown names and wrong arguments
        raise UnreadableError(
            "the augmentation is not a pipeline of albumentations",
            cause=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            hint="write one with albumentations.save(transform, FILE, data_format='yaml')",
        ) from None


@lru_cache
def _library() -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else it checks for a newer version online
    try:
        import albumentations
    except ImportError as error:
        raise InputError(
            "this augmentation needs albumentations", cause=str(error), hint="pip install 'segexport[augment]'"
        ) from error
    return albumentations
