"""How a model is quantized to int8 after training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segexport.spec import Frozen


class Calibration(Frozen):
    """How a model is quantized to int8 after training; see docs/quantization.md for what each part brings.

    Attributes:
        method: How activation ranges are chosen from what was observed. `minmax`: all of it. `percentile`: all but the
            outermost `percentile` of it. `mse`: the range with the least squared error of rounding and clipping.
            `entropy`: the range whose 256 levels keep the most information (Migacz 2017).
        fallback: Where the quantized outputs are far from the float ones on calibration images, the other methods are
            tried, and the one whose outputs are nearest is taken.
        percentile: Percent of the observed values that stay inside the range.
        images: Calibration images taken from the data, spread over it.
        draws: Number of disjoint parts of the images that give separate ranges; the lineage records the mean and the
            standard deviation of the outputs' error over them. The export uses all images. 1: no parts.
        rounding: Rounding of the weights. `nearest`: each weight separately. `compensated`: the remaining weights
            compensate the error of each rounding in a layer's output, on the calibration images (GPTQ: Frantar et al.
            2023, section 3).
        ends: For w4a8: bits of the weights of the first and the last layer, which affect the result most.
        per_channel: One scale per output channel of the weights, not one for all.
        equalize: Cross-layer equalization (Nagel et al. 2019, section 4.1), where it changes no float output.
        bias_correction: Takes the mean error of each channel out of its bias (Nagel et al. 2019, section 4.2).
        float_operators: ONNX operator types that are left in float.
        float_nodes: Names of single operators that are left in float.
    """

    method: Literal["minmax", "percentile", "mse", "entropy"] = "mse"
    fallback: bool = True
    percentile: float = Field(default=99.99, gt=50, le=100)
    images: int = Field(default=32, ge=1)
    draws: int = Field(default=1, ge=1, le=16)
    rounding: Literal["nearest", "compensated"] = "compensated"
    ends: Literal[4, 8] = 8
    per_channel: bool = True
    equalize: bool = False
    bias_correction: bool = False
    float_operators: tuple[str, ...] = ("Resize",)
    float_nodes: tuple[str, ...] = ()
