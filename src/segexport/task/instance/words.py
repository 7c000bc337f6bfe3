"""How reports speak of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segexport.task.base import Accuracy

if TYPE_CHECKING:
    from segexport.report.schema import ExportResult, ReferenceResult, Report


class InstanceWords:
    """`TaskWords` of average precision."""

    answers = "objects"
    compared = "its objects were compared, one by one, with the objects"
    baseline_check = "baseline.ap"

    def metric_name(self, report: Report) -> str:
        scored = (one.objects for one in (report.reference, *report.exports) if one.objects is not None)
        return "mask AP" if any(objects.segm_mmap is not None for objects in scored) else "box AP"

    def accuracy(self, row: ExportResult | ReferenceResult) -> Accuracy:
        one = row.objects
        if one is None:
            return Accuracy()
        return Accuracy(one.mmap, one.mmap_delta, one.mmap_delta_interval, one.class_ap, one.class_ap_delta)

    def truth(self, *, labelled: bool) -> str:
        if labelled:
            return "AP is measured against the annotations of the images."
        return (
            "The images have no annotations, so AP is measured against the objects that the reference is sure of: "
            "1 means the same objects, not good ones."
        )
