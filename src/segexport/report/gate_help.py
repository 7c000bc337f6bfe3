"""The pages that explain the gates, for machine-readable forms of the report."""

from __future__ import annotations

_PAGE = "https://github.com/segexport/segexport/blob/main/docs/gates.md"

WHOLE = "export"
"""The rule of a finding about an export as a whole, such as a crash."""

QUESTIONS = {
    "export": "Could the export be made, run and checked?",
    "tripwire": "Is there a NaN, one class everywhere, or a different result on a second run?",
    "agreement": "Do the results agree with the original's?",
    "miou": "Is the loss of mIoU within the margin?",
    "bbox_ap": "Is the loss of the boxes' average precision within the margin?",
    "segm_ap": "Is the loss of the masks' average precision within the margin?",
    "iou": "Did a single class lose more than it may?",
    "boundary": "Did the edges of the masks move?",
    "size": "Is the file as small as it may be?",
    "latency": "Is it as fast as it has to be?",
    "compression": "Is a compressed export smaller or faster than the one it was made from?",
    "cost": "Does an inference cost no more instructions than it may?",
    "audit": "Does it run in the precision that it claims?",
    "values": "Did the file itself run here?",
    "images": "Are the images independent, as the intervals assume?",
    "reference": "Does the reference itself hold?",
    "provider": "Did an execution provider of a phone run, with the first one's masks?",
    "golden": "Are the scores those of the golden pack?",
    "baseline": "Is it no worse than in the earlier report?",
}
"""Family of a gate, which is the part of its name before the first dot -> the question that it answers."""


def family(check: str) -> str:
    """The family of a gate; those of plugins are `export`."""
    name = (check or WHOLE).partition(".")[0]
    return name if name in QUESTIONS else WHOLE


def help_url(check: str) -> str:
    """The page that explains a gate."""
    return f"{_PAGE}#{family(check)}"
