"""Options of quantization after training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segexport.spec import Frozen


class Calibration(Frozen):
    """Options of quantization after training; docs/quantization.md compares them.

    w8 and w4 have no activation ranges; they use `images`, `rounding`, `ends`, `group_size` and `float_nodes`, and w4
    `fallback` and `agreement`.

    Attributes:
        method: How activation ranges follow from observed values. `minmax`: all values. `percentile`: the inner
            `percentile` percent. `mse`: the range with the smallest squared error of rounding and clipping. `entropy`:
            the range whose 256 levels keep the most information (Migacz 2017).
        fallback: Whether to mend the export if the quantized outputs differ much from the float ones on calibration
            images: by the best of the other methods, by equalization, and by leaving those operators in float whose
            int8 costs the outputs most.
        agreement: With `fallback`, the share of the calibration images' pixels that should keep their class. More
            operators stay float until it is reached, as long as half of the time that int8 saves is left, by an
            estimate that is the same on every machine. In w4 and w4a8, layers get 8-bit weights, as long as half of
            what 4 bits save of 8 is left. None: 0.995 in int8, 0.98 with 4-bit weights. 0: nothing of this.
        percentile: Percent of the observed values inside the range.
        images: Number of calibration images, spread over the data.
        draws: Number of disjoint parts of the images that give separate ranges; the lineage records the mean and the
            standard deviation of the outputs' error over them. The export uses all images. 1: no parts.
        rounding: Rounding of the weights. `nearest`: each weight separately. `compensated`: the remaining weights
            compensate the error of each rounding in a layer's output, on the calibration images (GPTQ: Frantar et al.
            2023, section 3).
        ends: For w4 and w4a8: bits of the weights of the first and the last layer, which affect the result most.
        group_size: For ONNX w8 and w4: most weights of an output that share a scale; 0: all weights of an output.
        per_channel: One scale per output channel of the weights, not one for all.
        equalize: Cross-layer equalization (Nagel et al. 2019, section 4.1), if it changes no float output; None: only
            to mend, see `fallback`.
        bias_correction: Subtracts the mean error of each channel from its bias (Nagel et al. 2019, section 4.2). None:
            if this makes the outputs' error smaller on calibration images that it was not measured on.
        float_operators: ONNX operator types that stay float.
        float_nodes: Names of single operators that stay float.
    """

    method: Literal["minmax", "percentile", "mse", "entropy"] = "mse"
    fallback: bool = True
    agreement: float | None = Field(default=None, ge=0, lt=1)
    percentile: float = Field(default=99.99, gt=50, le=100)
    images: int = Field(default=32, ge=1)
    draws: int = Field(default=1, ge=1, le=16)
    rounding: Literal["nearest", "compensated"] = "compensated"
    ends: Literal[4, 8] = 8
    group_size: int = Field(default=0, ge=0)
    per_channel: bool = True
    equalize: bool | None = None
    bias_correction: bool | None = None
    float_operators: tuple[str, ...] = ("Resize",)
    float_nodes: tuple[str, ...] = ()
