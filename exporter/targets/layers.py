"""Data classes for the layers of an export that a search can keep in float under int8."""

from __future__ import annotations

from typing import NamedTuple

from segexport.spec import Frozen


class QuantizableLayer(Frozen):
    """A convolution or matrix product that can run in int8 or stay in float.

    Attributes:
        name: Name in `float_nodes` of a recipe's calibration.
        operator: Operator type.
        float_ms, int8_ms: Times from the profiles of both exports, including conversions around it; None if unknown.
    """

    name: str
    operator: str
    float_ms: float | None = None
    int8_ms: float | None = None

    @property
    def gain_ms(self) -> float:
        return 0.0 if self.float_ms is None or self.int8_ms is None else self.float_ms - self.int8_ms


class Layers(NamedTuple):
    """All layers of an export in graph order, and the types of the other operators that int8 quantizes."""

    layers: tuple[QuantizableLayer, ...]
    operators: tuple[str, ...]
