"""How reports speak of masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segexport.task.base import Accuracy

if TYPE_CHECKING:
    from segexport.report.schema import ExportResult, ReferenceResult, Report


class SemanticWords:
    """`TaskWords` of mIoU."""

    answers = "masks"
    compared = "its masks were compared, pixel by pixel, with the masks"
    baseline_check = "baseline.miou"

    def metric_name(self, report: Report) -> str:
        return "mIoU" if report.dataset.labelled else "mask IoU"

    def accuracy(self, row: ExportResult | ReferenceResult) -> Accuracy:
        from segexport.report.schema import ReferenceResult

        if isinstance(row, ReferenceResult):
            return Accuracy(row.miou, classes=row.class_iou)
        return Accuracy(row.miou, row.miou_delta, row.miou_delta_interval, row.class_iou, row.class_iou_delta)

    def truth(self, *, labelled: bool) -> str:
        if labelled:
            return "mIoU is measured against the labels of the images."
        return (
            "The images have no labels, so the mIoU is unknown. Mask IoU is that with the reference's own masks: 1 "
            "means the same masks, not good ones."
        )
