"""Judges a quantized model by its outputs on calibration images that were kept, against the float model's."""

from __future__ import annotations

import onnx
from output_comparison import OutputComparison

_COMPARED = 8  # images
_BRIEFLY = 3  # of them


class JudgedOutputs:
    """The errors of one float model's quantized forms.

    Args:
        kept: Files of the images that are compared; may grow.
        comparison: With the float model.
        agreement: The share of the pixels that should keep their class.
    """

    def __init__(self, kept: list[str], comparison: OutputComparison, agreement: float) -> None:
        self._kept, self._comparison, self._wanted = kept, comparison, agreement

    def error(self, quantized: onnx.ModelProto, *, briefly: bool = False) -> float:
        """The error of the outputs (see `output_error`), of fewer images if `briefly`."""
        return self._comparison.error(quantized, self._images(_BRIEFLY if briefly else _COMPARED))

    def agreement(self, quantized: onnx.ModelProto) -> float | None:
        """The share of the pixels that keep their class; None if no output has classes."""
        return self._comparison.agreement(quantized, self._images(_COMPARED))

    def enough(self, agreement: float | None) -> bool:
        return agreement is None or agreement >= self._wanted

    def disagreement(self, quantized: onnx.ModelProto) -> float:
        """The share of the pixels with another class, relative to what is allowed, squared.

        A small error changes the classes of as many pixels as its root is large, so that this is nearly in proportion
        to the squared error.
        """
        same = self.agreement(quantized)
        assert same is not None  # `enough` otherwise
        return ((1 - same) / (1 - self._wanted)) ** 2

    def _images(self, count: int) -> list[str]:
        return self._kept[:: max(1, len(self._kept) // count)][:count]
