"""Collects a preprocessing from transforms that are read one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field

from segexport.importers.deploy_params import Dialect, Values
from segexport.spec import Color, Depth, Geometry


@dataclass
class PreprocessBuilder:
    """The preprocessing read so far: geometry, and the normalization (value * scale - mean) / std.

    Geometry that comes after a normalisation is moved before it. For a resize that changes nothing, since the weights
    of an interpolation sum to 1; for a padding or a clip, its values are brought back to grey levels.
    """

    dialect: Dialect
    color: Color
    channels: int = 3
    depth: Depth = "uint8"
    geometry: list[Geometry] = field(default_factory=list)
    scale: float = 1.0
    mean: Values = ()
    std: Values = ()
    normalized: bool = False
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mean, self.std = (0.0,) * self.channels, (1.0,) * self.channels

    def grey_levels(self, value: Values) -> Values:
        """A padding's or a clip's value in grey levels, also where it was given after the normalisation."""
        return tuple((v * s + m) / self.scale for v, m, s in zip(value, self.mean, self.std, strict=True))

    def normalize(self, scale: float, mean: Values, std: Values) -> None:
        """Adds one step of normalisation behind those that there are."""
        if not self.normalized:
            self.scale, self.mean, self.std = scale, mean, std
        else:  # ((v * a - b) / c * d - e) / f = (v * a - (b + e * c / d)) / (c * f / d)
            mean = tuple(b + e * c / scale for b, c, e in zip(self.mean, self.std, mean, strict=True))
            std = tuple(c * f / scale for c, f in zip(self.std, std, strict=True))
            self.mean, self.std = mean, std
        self.normalized = True
