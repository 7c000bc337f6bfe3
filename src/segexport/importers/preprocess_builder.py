"""Builds a preprocessing contract from transforms, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field

from segexport.importers.deploy_params import Dialect, Values
from segexport.spec import Color, Depth, Geometry


@dataclass
class PreprocessBuilder:
    """The preprocessing read so far: geometry, and the normalization (value * scale - mean) / std.

    Geometry after a normalisation is moved before it. A resize gives the same result there, because the weights of an
    interpolation sum to 1; the values of a padding or a clip are converted to grey levels.
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
        """Converts the value of a padding or a clip after the normalisation to grey levels."""
        return tuple((v * s + m) / self.scale for v, m, s in zip(value, self.mean, self.std, strict=True))

    def normalize(self, scale: float, mean: Values, std: Values) -> None:
        """Appends a normalisation to the previous ones."""
        if not self.normalized:
            self.scale, self.mean, self.std = scale, mean, std
        else:  # ((v * a - b) / c * d - e) / f = (v * a - (b + e * c / d)) / (c * f / d)
            mean = tuple(b + e * c / scale for b, c, e in zip(self.mean, self.std, mean, strict=True))
            std = tuple(c * f / scale for c, f in zip(self.std, std, strict=True))
            self.mean, self.std = mean, std
        self.normalized = True
