"""Defaults of PaddleSeg, PaddleX and PaddleDetection, and the reader of one transform's parameters.

Names, defaults and orders follow each system's code:

- PaddleSeg (`deploy.yaml`): OpenCV reads BGR, `Compose(to_rgb=True)` converts it to RGB. Sizes are (width, height). One
  channel is `cv2.IMREAD_GRAYSCALE`.
- PaddleX 0 and 1 (`model.yml`): BGR if `TransformsMode` says so. Sizes are (width, height). `ResizeByShort` is
  nearest. Images whose number of channels is not three keep their stored values, as in PaddleX 2.
- PaddleX 2 (`model.yml`, version 2): RGB. Sizes are (height, width). `Normalize` has ImageNet's mean and std.
- PaddleDetection (`infer_cfg.yml`): RGB. Sizes are (height, width). Interpolations are OpenCV's constants.
- PaddleX 3 (`inference.yml`): RGB. `Resize` keeps the ratio and rounds up to multiples of 32 by default.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Any

from segexport.errors import InputError, ModelSettingsError
from segexport.spec import Color, Interpolation

Values = tuple[float, ...]  # one for each channel

RANDOM_CAUSE = "an export has to treat equal images equally; random transforms are for training"
RANDOM_HINT = "take it out of the transforms: use the validation transforms of the training config"
OWN_HINT = "describe the preprocessing yourself with --preprocess FILE"

IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]
_HALF = 0.5
_INTERPOLATIONS: dict[str, Interpolation] = {
    "NEAREST": "nearest",
    "LINEAR": "linear",
    "BILINEAR": "linear",
    "CUBIC": "cubic",
    "BICUBIC": "cubic",
    "AREA": "area",
    "LANCZOS4": "lanczos4",
}


@dataclass(frozen=True)
class Dialect:
    """Defaults of one system.

    Attributes:
        name: Name of the system, for messages.
        color: Channel order of its networks' input.
        height_first: Whether a pair of sizes is (height, width).
        keep_ratio, size_divisor: Defaults of `Resize`.
        mean, std: Defaults of `Normalize`.
        short_size, short_max_size, short_interp: Defaults of `ResizeByShort`; None if the size is required.
        reads_channels: Whether it reads images with any number of channels, with their stored values.
    """

    name: str
    color: Color = "rgb"
    height_first: bool = False
    keep_ratio: bool = False
    size_divisor: int | None = None
    mean: Any = _HALF
    std: Any = _HALF
    short_size: int | None = None
    short_max_size: int | None = None
    short_interp: str = "LINEAR"
    reads_channels: bool = False


PADDLESEG = Dialect("PaddleSeg")
PADDLEX_1 = Dialect(
    "PaddleX 1", "bgr", short_size=800, short_max_size=1333, short_interp="NEAREST", reads_channels=True
)
PADDLEX_2 = Dialect(
    "PaddleX 2", height_first=True, mean=IMAGENET_MEAN, std=IMAGENET_STD, short_size=256, reads_channels=True
)
PADDLEX_3 = Dialect("PaddleX 3", keep_ratio=True, size_divisor=32)
PADDLEDETECTION = Dialect("PaddleDetection", height_first=True, keep_ratio=True, mean=IMAGENET_MEAN, std=IMAGENET_STD)


class Params:
    """The parameters of one transform; `finish` refuses those that were not read.

    Args:
        what: Position of the transform, for messages.
        name: Name of the transform.
        channels: Number of input channels of the network.
    """

    def __init__(self, what: str, name: str, dialect: Dialect, values: dict[str, Any], channels: int = 3) -> None:
        self.what, self.name, self.dialect, self.channels = what, name, dialect, channels
        self._values = dict(values)
        self._known: list[str] = []

    def take(self, key: str, default: Any = None) -> Any:
        """The value as written in the file."""
        self._known.append(key)
        return self._values.pop(key, default)

    def finish(self) -> None:
        """Raises InputError for a parameter that was not read: it would change the transform."""
        if self._values:
            name = sorted(map(str, self._values))[0]
            near = difflib.get_close_matches(name, self._known, n=1)
            raise ModelSettingsError(
                f"{self.what}: unknown parameter {name!r}" + (f", perhaps {near[0]!r}" if near else ""),
                cause=f"{self.name} takes {', '.join(self._known) or 'none'}",
            )

    def wrong(self, key: str, value: Any, expected: str) -> InputError:
        """The error for a value of the wrong kind."""
        return ModelSettingsError(f"{self.what}: {key} is {value!r}, {expected} is expected")

    def given(self, key: str) -> bool:
        """Whether the file has the parameter."""
        return key in self._values

    def ignore_all(self) -> None:
        """Accepts all parameters of a transform that has no effect here."""
        self._values.clear()

    def positive(self, key: str, default: int | None = None) -> int:
        """A number of pixels."""
        return self._positive(key, self.take(key, default))

    def optional_positive(self, key: str, default: int | None = None) -> int | None:
        """A number of pixels; None for null and -1."""
        value = self.take(key, default)
        return None if value is None or value == -1 else self._positive(key, value)

    def _positive(self, key: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.wrong(key, value, "a number of pixels")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, value, "true or false")
        return value

    def size(self, key: str, value: Any) -> tuple[int, int]:
        """(width, height) from a size in the dialect's order."""
        pair = [value, value] if isinstance(value, int) else value
        good = isinstance(pair, list) and len(pair) == 2
        if not good or not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in pair):
            raise self.wrong(key, value, "[height, width]" if self.dialect.height_first else "[width, height]")
        return (pair[1], pair[0]) if self.dialect.height_first else (pair[0], pair[1])

    def per_channel(self, key: str, default: Any) -> Values:
        """One number per channel; a single number, or several equal ones, apply to all channels."""
        value = self.take(key, default)
        values = list(value) if isinstance(value, list | tuple) else [value]
        if not values or not all(map(_is_number, values)):
            raise self.wrong(key, value, f"a number for each of {self.channels} channels")
        if len(values) != self.channels:
            if len(set(values)) > 1:
                raise self.wrong(key, value, f"a number for each of {self.channels} channels")
            values = values[:1] * self.channels
        return tuple(map(float, values))

    def interpolation(self, key: str, default: str = "LINEAR") -> Interpolation:
        """The interpolation, by its name in the contract."""
        value = self.take(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and value in range(5):
            value = ("NEAREST", "LINEAR", "CUBIC", "AREA", "LANCZOS4")[value]
        name = str(value).upper()
        if name == "RANDOM":
            raise ModelSettingsError(f"{self.what}: a random interpolation", cause=RANDOM_CAUSE, hint=RANDOM_HINT)
        if name not in _INTERPOLATIONS:
            raise self.wrong(key, value, "NEAREST, LINEAR, CUBIC, AREA or LANCZOS4")
        return _INTERPOLATIONS[name]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
