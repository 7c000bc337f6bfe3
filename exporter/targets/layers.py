"""The layers of an export that int8 may leave in float, one by one: what a search chooses from."""

from __future__ import annotations

from typing import NamedTuple

from segexport.spec import Frozen


class QuantizableLayer(Frozen):
    """A convolution or matrix product that may compute in int8 or stay float.

    Attributes:
        name: As `float_nodes` of a recipe's calibration calls it.
        operator: Its type.
        float_ms, int8_ms: Measured in the profiles of both exports, with the conversions around it; None if unknown.
    """

    name: str
    operator: str
    float_ms: float | None = None
    int8_ms: float | None = None

    @property
    def gain_ms(self) -> float:
        return 0.0 if self.float_ms is None or self.int8_ms is None else self.float_ms - self.int8_ms


class Layers(NamedTuple):
    """All of an export's layers, in the graph's order, and the types of other operators that int8 takes too."""

    layers: tuple[QuantizableLayer, ...]
    operators: tuple[str, ...]
