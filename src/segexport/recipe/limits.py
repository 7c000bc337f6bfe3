"""The limits of the gates by precision, and how a recipe changes them."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field

from segexport.errors import OptionError
from segexport.spec import Frozen, Precision

DRIFT_LIMIT = 0.10
"""Largest relative drift of a timing run that is still one measurement."""


class Limits(Frozen):
    """Limits of an export's gates. In a recipe, a missing limit keeps its default and `null` switches the gate off.

    Margins are losses of IoU from 0 to 1, agreements are fractions of pixels, ratios are export / baseline.

    Attributes:
        miou_margin: Tolerated loss of mIoU.
        class_iou_margin: Tolerated loss of IoU of each class.
        boundary_iou_margin: Tolerated loss of mean boundary IoU.
        agreement_min: Fraction of pixels with the reference's class, mean over images.
        agreement_worst_image_min: The same for the worst image.
        agreement_confident_min: The same for pixels on which the reference was confident (its larger top-2 margins).
        agreement_class_min: IoU of the export's and the reference's pixels, for each common class.
        agreement_mask_iou_min: Mean IoU over all classes of the export's and the reference's pixels; without labels,
            the only gate on masks.
        ap_margin: Tolerated loss of average precision of boxes and of masks, for instance segmentation.
        agreement_objects_min: Fraction of both models' confident objects with a matching object of the other model.
        agreement_boxes_min: Mean IoU of the boxes of matched objects.
        agreement_masks_min: Mean IoU of the masks of matched objects.
        size_ratio_max: Size of the export / size of the baseline.
        latency_ratio_max: Latency / latency of the baseline, on the same device: the geometric mean over processes of
            the lower quartile of each one's runs (`measure.latency_statistics`).
        instructions_ratio_max: Instructions of one inference / those of the fp32 export, on each counted processor.
        latency_drift_max: Relative trend during timing above which latency is not decided.
        min_images_per_class: Smallest number of images with a class for its IoU to be gated.
    """

    miou_margin: float | None = Field(default=None, ge=0, le=1)
    class_iou_margin: float | None = Field(default=None, ge=0, le=1)
    boundary_iou_margin: float | None = Field(default=None, ge=0, le=1)
    agreement_min: float | None = Field(default=None, ge=0, le=1)
    agreement_worst_image_min: float | None = Field(default=None, ge=0, le=1)
    agreement_confident_min: float | None = Field(default=None, ge=0, le=1)
    agreement_class_min: float | None = Field(default=None, ge=0, le=1)
    agreement_mask_iou_min: float | None = Field(default=None, ge=0, le=1)
    ap_margin: float | None = Field(default=None, ge=0, le=1)
    agreement_objects_min: float | None = Field(default=None, ge=0, le=1)
    agreement_boxes_min: float | None = Field(default=None, ge=0, le=1)
    agreement_masks_min: float | None = Field(default=None, ge=0, le=1)
    size_ratio_max: float | None = Field(default=None, gt=0)
    latency_ratio_max: float | None = Field(default=None, gt=0)
    instructions_ratio_max: float | None = Field(default=None, gt=0)
    latency_drift_max: float = Field(default=DRIFT_LIMIT, gt=0)
    min_images_per_class: int = Field(default=10, ge=2)

    def overridden(self, changes: Limits | None) -> Limits:
        """These limits, replaced by the fields that were set in `changes`, including None."""
        if changes is None:
            return self
        return self.model_copy(update={name: getattr(changes, name) for name in changes.model_fields_set})


class _Objects(NamedTuple):
    ap: float
    partners: float
    boxes: float
    masks: float


def _tier(
    miou: float,
    iou: float,
    boundary: float,
    pixels: float,
    worst: float,
    sure: float,
    common: float,
    masks: float,
    of: _Objects,
) -> Limits:
    return Limits(
        ap_margin=of.ap,
        agreement_objects_min=of.partners,
        agreement_boxes_min=of.boxes,
        agreement_masks_min=of.masks,
        miou_margin=miou,
        class_iou_margin=iou,
        boundary_iou_margin=boundary,
        agreement_min=pixels,
        agreement_worst_image_min=worst,
        agreement_confident_min=sure,
        agreement_class_min=common,
        agreement_mask_iou_min=masks,
    )


# mIoU margins: the spread of published fp32, fp16, QAT and PTQ figures (MMDeploy, NNCF, AIMET, MLPerf). Agreements are
# between those of sound and of broken exports of real models. Sound int8: 95.2 to 99.7 % of all pixels, 99.997 to 100
# % of the confident ones, worst common class 0.60 to 0.85. Blurred input, shifts by one pixel, 4-bit weights: 99.88 %
# of the confident ones. Mask IoU: sound fp16 0.995 to 1, w8 0.936 to 0.981, int8 0.909 to 0.970; 5-bit weights 0.80 to
# 0.82, darkened or blurred input 0.72 to 0.80. Limits for objects are initial values, not yet tested on many real
# detectors.
_DEFAULTS = {
    Precision.FP32: _tier(0.0005, 0.005, 0.002, 0.999, 0.99, 0.9999, 0.95, 0.99, _Objects(0.002, 0.99, 0.99, 0.98)),
    Precision.FP16: _tier(0.001, 0.01, 0.005, 0.995, 0.98, 0.9999, 0.90, 0.98, _Objects(0.005, 0.97, 0.98, 0.96)),
    Precision.INT8: _tier(0.01, 0.05, 0.02, 0.90, 0.80, 0.999, 0.40, 0.90, _Objects(0.02, 0.80, 0.85, 0.88)),
    Precision.W8: _tier(0.01, 0.05, 0.02, 0.95, 0.88, 0.9995, 0.60, 0.92, _Objects(0.02, 0.85, 0.90, 0.90)),
}
_DEFAULTS[Precision.BF16] = _DEFAULTS[Precision.W8]  # 8 significant bits
_DEFAULTS[Precision.W4] = _DEFAULTS[Precision.W4A8] = _DEFAULTS[Precision.INT8]  # smaller weights must be as accurate
_TRAINED = _tier(0.005, 0.05, 0.02, 0.90, 0.80, 0.999, 0.40, 0.90, _Objects(0.01, 0.80, 0.85, 0.88))
_INT8_LATENCY_RATIO = 0.95


def limits_for(precision: Precision, *, trained: bool = False, overrides: Limits | None = None) -> Limits:
    """The limits of a precision tier, with the recipe's changes.

    Args:
        precision: The export's precision.
        trained: Whether its weights were trained after the reference. Training changes masks intentionally at every
            precision, so agreement limits are those of int8; it can regain the loss of rounding, so mIoU limits are
            stricter.
        overrides: The recipe's changes.
    """
    found = _TRAINED if trained else _DEFAULTS[precision]
    if precision.arithmetic == "int8":
        found = found.model_copy(update={"latency_ratio_max": _INT8_LATENCY_RATIO})
    return found.overridden(overrides)


def require_margin_above_noise(limits: Limits, noise_delta: float) -> None:
    """Refuses an mIoU margin that two runs of the reference do not meet.

    Args:
        noise_delta: Largest mIoU delta between repeats of the reference.

    Raises:
        InputError: The margin is at or below it.
    """
    if limits.miou_margin is not None and 0 < abs(noise_delta) >= limits.miou_margin:
        raise OptionError(
            f"miou_margin is {limits.miou_margin:g}, the reference differs from itself by {abs(noise_delta):.5f}",
            cause="the reference's device does not repeat its results to the last bit",
            hint=f"set miou_margin above {abs(noise_delta):.5f}, or record the reference with deterministic kernels",
        )
