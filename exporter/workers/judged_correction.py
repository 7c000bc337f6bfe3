"""Corrects the biases of int8 models on calibration images, and judges a correction by images that it never saw."""

from __future__ import annotations

import onnx
from bias_correction import BiasCorrector, channel_means
from float_model import session_of
from int8_model import copy_of
from observations import Observations
from output_comparison import OutputComparison, stored


class JudgedCorrection:
    """The corrections of one float model's int8 forms.

    Args:
        observations: Of the float model: means, and images kept to correct and held to judge.
        comparison: With the float model.
        always: Whether a correction counts even if it makes the error of the images held larger; these may be missing.
    """

    def __init__(self, observations: Observations, comparison: OutputComparison, *, always: bool) -> None:
        self._observations, self._comparison, self._always = observations, comparison, always

    def corrector(self, quantized: onnx.ModelProto) -> BiasCorrector | None:
        """A corrector that changes the model in place, level by level; None if biases are not to be corrected."""
        means = self._observations.means() if self._always or self._observations.held else {}
        return BiasCorrector(quantized, means) if means else None

    def correct_level(self, corrector: BiasCorrector, level: int) -> float:
        """Corrects a level of convolutions by the means of the images kept; returns the largest shift."""
        kept, inputs = self._observations.kept, self._observations.inputs
        session, means = session_of(corrector.until(level)), None
        used = {value.name for value in session.get_inputs()}
        for path in kept:
            feed = {name: array for name, array in zip(inputs, stored(path), strict=True) if name in used}
            found = [channel_means(value) for value in session.run(None, feed)]
            means = found if means is None else [a + b for a, b in zip(means, found, strict=True)]
        return corrector.correct(level, [mean / len(kept) for mean in means])

    def better(self, plain: onnx.ModelProto, corrected: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, float]]:
        """The model whose outputs have the smaller error on the images held; with the errors `before` and `after`."""
        before, after = (self._comparison.error(model, self._observations.held) for model in (plain, corrected))
        return (corrected if after < before else plain), {"before": before, "after": after}

    def corrected(self, quantized: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, float] | None]:
        """The model after all levels, or as it was if that is better.

        Returns:
            The model; the number of `levels`, the largest `shift`, and what `better` found if it was asked. None if
            nothing can be corrected.
        """
        done = copy_of(quantized)
        corrector = self.corrector(done)
        if corrector is None or not corrector.levels:
            return quantized, None
        shifts = [self.correct_level(corrector, level) for level in range(len(corrector.levels))]
        found = {"levels": len(shifts), "shift": max(shifts)}
        if not self._always:
            done, errors = self.better(quantized, done)
            found |= errors
        return done, found
