"""Checks a reference that exports contradict: it runs again on the images that differ, in a fresh process.

A disagreement is a fault of the export only if the reference is right. So if an export does not agree, the reference's
masks are computed again on the images with the least agreement, in a fresh process, on the CPU, by the plain program.
The same masks confirm the reference: the export is wrong. Different masks show that the reference is wrong, and then
there is no verdict about the export.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segexport.errors import SegexportError
from segexport.judge.results import Export
from segexport.measure.mask_proof import LEAST_AGREEMENT
from segexport.measure.parity import Comparison, Counts
from segexport.task.base import Task
from segexport.verdict import Check, Verdict

NAME = "reference.trial"
RECHECKED_IMAGES = 3
Again = Callable[[Sequence[int]], Comparison]
"""Compares the exports with the reference run again, on the images of these indices."""
MOVED = 1 - LEAST_AGREEMENT
"""By how much an agreement may move when the reference runs again."""
IN_COMMON = 0.9
"""Two exports have a common cause if they agree on this fraction of the pixels on which they differ from the reference.
Two separate faults, or the rounding of two low precisions, have far less in common."""


@dataclass(frozen=True)
class RequiredAgreement:
    """The required agreement of an export with the reference.

    Attributes:
        mean, worst: Agreement of pixels or objects over all images, and on the worst one; 0 if not gated.
    """

    format: str
    mean: float
    worst: float

    @classmethod
    def of(cls, export: Export, task: Task[Any]) -> RequiredAgreement:
        return cls(export.format, *task.least_agreement(export.effective_limits))


@dataclass(frozen=True)
class Contradiction:
    """Exports that contradict the reference.

    Attributes:
        exports: Name -> export that does not agree with it.
        images: Indices of the images with the least agreement, worst first.
    """

    exports: Mapping[str, RequiredAgreement]
    images: tuple[int, ...]


def contradiction_of(comparison: Comparison, exports: Mapping[str, RequiredAgreement]) -> Contradiction | None:
    """The exports that fail by their agreement with the reference; None where all agree.

    One that does not agree with itself (`tripwire.repeatable`) is ignored.
    """
    contradicting = {
        name: exports[name]
        for name, counts in comparison.exports.items()
        if counts.error is None and counts.repeatable and _contradicts(counts, exports[name], len(comparison.names))
    }
    if not contradicting:
        return None
    least = [
        min(comparison.exports[name].agreement[index] for name in contradicting)
        for index in range(len(comparison.names))
    ]
    worst = sorted(range(len(least)), key=lambda index: least[index])[:RECHECKED_IMAGES]
    return Contradiction(contradicting, tuple(worst))


def _contradicts(counts: Counts, export: RequiredAgreement, images: int) -> bool:
    if len(counts.agreement) != images:  # a mask of another shape is another fault
        return False
    return sum(counts.agreement) / images < export.mean or min(counts.agreement) < export.worst


def rechecked(
    contradiction: Contradiction,
    comparison: Comparison,
    again: Again,
    *,
    same_device: bool,
) -> dict[str, Check]:
    """The outcome, for each export that contradicts the reference.

    Args:
        again: Compares the exports with the reference run again, on some images.
        same_device: Whether it runs again on the same device; another device rounds differently.
    """
    try:
        anew = again(contradiction.images)
    except SegexportError as error:
        message = f"the exports contradict the reference, and it could not be run again: {error.what}."
        return {name: Check(name=NAME, verdict=Verdict.ERROR, message=message) for name in contradiction.exports}
    return {
        name: _finding(name, contradiction, comparison, anew.exports[name], same_device=same_device)
        for name in contradiction.exports
    }


def _finding(
    name: str, contradiction: Contradiction, comparison: Comparison, anew: Counts, *, same_device: bool
) -> Check:
    if anew.error is not None:
        message = f"the reference was run again, and this export could not be: {anew.error.what}."
        return Check(name=NAME, verdict=Verdict.ERROR, message=message)
    before = [comparison.exports[name].agreement[index] for index in contradiction.images]
    pairs = list(zip(contradiction.images, before, anew.agreement, strict=True))
    index, old, new = max(pairs, key=lambda pair: abs(pair[2] - pair[1]))
    moved = abs(new - old) > MOVED
    if not same_device:  # devices round differently: only a mask that the export agrees with proves a fault
        agreeing = [pair for pair in pairs if pair[2] >= contradiction.exports[name].mean > pair[1]]
        moved = bool(agreeing)
        index, old, new = (agreeing or [(index, old, new)])[0]
    together = _together(name, contradiction, comparison)
    details = {"images": [comparison.names[one] for one in contradiction.images], "agreement": before}
    details["agreement_anew"] = list(anew.agreement)
    if moved:
        message = (
            f"the reference is wrong: run again in a fresh process, its mask of {comparison.names[index]} "
            f"differs, and this export agrees with it on {new:.2%} instead of {old:.2%}{together}. "
            "Nothing is known about the export; a model that draws random numbers, or a fault of the runtime."
        )
        return Check(name=NAME, verdict=Verdict.ERROR, message=message, value=new, details=details)
    where = "in a fresh process" if same_device else "on the CPU, in a fresh process"
    count = len(contradiction.images)
    seen = f"the {count} images on which exports agree least" if count > 1 else "the one image"
    message = (
        f"the reference is confirmed: run again {where} on {seen}, it contradicts this export as before{together}."
    )
    return Check(name=NAME, verdict=Verdict.PASS, message=message, value=min(anew.agreement), details=details)


def without_model(
    contradiction: Contradiction, comparison: Comparison, *, unproven: bool, again: str
) -> dict[str, Check]:
    """The outcome for a recording, which cannot be run again.

    Args:
        unproven: Whether the recording has no proof of its masks.
        again: The command that records it again.
    """
    found = {}
    for name, export in contradiction.exports.items():
        together = _together(name, contradiction, comparison)
        others = [
            other
            for other, another in contradiction.exports.items()
            if another.format != export.format and _in_common(comparison.exports[name], other) >= IN_COMMON
        ]
        if not unproven:
            message = f"the recording has a proof of its masks, and contradicts this export{together}."
            found[name] = Check(name=NAME, verdict=Verdict.PASS, message=message)
        elif others:
            message = (
                f"the recording is wrong: its masks have no proof, and exports of two formats contradict it in "
                f"the same way{together}. Nothing is known about the export; record it again: {again}."
            )
            found[name] = Check(name=NAME, verdict=Verdict.ERROR, message=message)
        else:
            message = f"the recording's masks have no proof, and contradict this export; record it again: {again}."
            found[name] = Check(name=NAME, verdict=Verdict.SKIPPED, message=message, gated=False)
    return found


def _together(name: str, contradiction: Contradiction, comparison: Comparison) -> str:
    """The agreement of the other contradicting exports, for messages."""
    counts = comparison.exports[name]
    shares = {other: _in_common(counts, other) for other in contradiction.exports if other != name}
    shares = {other: share for other, share in shares.items() if share >= IN_COMMON}
    if not shares:
        return ""
    told = " and ".join(f"{other} on {share:.1%}" for other, share in sorted(shares.items()))
    return f" (where it differs from the reference, it agrees with {told} of the pixels)"


def _in_common(counts: Counts, other: str) -> float:
    same, differing = counts.in_common.get(other, (0, 0))
    return same / differing if differing else 0.0
