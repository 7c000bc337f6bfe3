"""Puts a reference on trial that its exports contradict: the images in question are run again, in a fresh process.

An export that fails is a finding about the export only as long as the reference is right. So where one does not agree,
the reference's masks are made anew on the images on which it agrees least, by a process that has seen nothing else, on
the CPU, by the plain program. The same masks confirm the reference: the export is wrong.
Others convict the reference, and then there is no verdict about the export.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segexport.errors import SegexportError
from segexport.judge.results import Export
from segexport.measure.mask_proof import LEAST_AGREEMENT
from segexport.measure.parity import Comparison, Counts, ModelUnderTest
from segexport.task.base import Task
from segexport.verdict import Check, Verdict

NAME = "reference.trial"
TRIED_IMAGES = 3
Anew = Callable[[ModelUnderTest, Sequence[int]], Comparison]
"""Compares the exports with a reference that was made anew, on some images."""
MOVED = 1 - LEAST_AGREEMENT
"""By how much an agreement may move when the reference is made anew."""
IN_COMMON = 0.9
"""Of the pixels on which two exports differ from the reference, they have to agree on so many to be of one
mind. Two faults of their own, or the rounding of two small precisions, have far less in common."""


@dataclass(frozen=True)
class Accuser:
    """An export that may speak against the reference.

    Attributes:
        mean, worst: The agreement with the reference that it has to hold, over all and on the worst image; of pixels,
            or of objects. What is not gated is 0.
    """

    format: str
    mean: float
    worst: float

    @classmethod
    def of(cls, export: Export, task: Task[Any]) -> Accuser:
        return cls(export.format, *task.least_agreement(export.effective_limits))


@dataclass(frozen=True)
class Charge:
    """What speaks against the reference.

    Attributes:
        exports: Those that do not agree with it, by name.
        images: Indices of the images on which they agree least, worst first.
    """

    exports: Mapping[str, Accuser]
    images: tuple[int, ...]


def charge_of(comparison: Comparison, exports: Mapping[str, Accuser]) -> Charge | None:
    """The exports that fail by their agreement with the reference; None where all agree.

    One that does not agree with itself (`tripwire.repeatable`) is not a witness.
    """
    accusers = {
        name: exports[name]
        for name, counts in comparison.exports.items()
        if counts.error is None and counts.repeatable and _contradicts(counts, exports[name], len(comparison.names))
    }
    if not accusers:
        return None
    least = [
        min(comparison.exports[name].agreement[index] for name in accusers) for index in range(len(comparison.names))
    ]
    worst = sorted(range(len(least)), key=lambda index: least[index])[:TRIED_IMAGES]
    return Charge(accusers, tuple(worst))


def _contradicts(counts: Counts, export: Accuser, images: int) -> bool:
    if len(counts.agreement) != images:  # a mask of another shape is another fault
        return False
    return sum(counts.agreement) / images < export.mean or min(counts.agreement) < export.worst


def tried(
    charge: Charge, comparison: Comparison, again: Callable[[Sequence[int]], Comparison], *, same_device: bool
) -> dict[str, Check]:
    """What came out, for each export that accused the reference.

    Args:
        again: Compares the exports with the reference made anew, on some images.
        same_device: Whether it is made anew where it was made; another device rounds otherwise.
    """
    try:
        anew = again(charge.images)
    except SegexportError as error:
        message = f"the exports contradict the reference, and it could not be run again: {error.what}."
        return {name: Check(name=NAME, verdict=Verdict.ERROR, message=message) for name in charge.exports}
    return {
        name: _finding(name, charge, comparison, anew.exports[name], same_device=same_device) for name in charge.exports
    }


def _finding(name: str, charge: Charge, comparison: Comparison, anew: Counts, *, same_device: bool) -> Check:
    if anew.error is not None:
        message = f"the reference was run again, and this export could not be: {anew.error.what}."
        return Check(name=NAME, verdict=Verdict.ERROR, message=message)
    before = [comparison.exports[name].agreement[index] for index in charge.images]
    pairs = list(zip(charge.images, before, anew.agreement, strict=True))
    index, old, new = max(pairs, key=lambda pair: abs(pair[2] - pair[1]))
    moved = abs(new - old) > MOVED
    if not same_device:  # only a mask that the export agrees with convicts a device that rounds otherwise
        convicting = [pair for pair in pairs if pair[2] >= charge.exports[name].mean > pair[1]]
        moved = bool(convicting)
        index, old, new = (convicting or [(index, old, new)])[0]
    together = _together(name, charge, comparison)
    details = {"images": [comparison.names[one] for one in charge.images], "agreement": before}
    details["agreement_anew"] = list(anew.agreement)
    if moved:
        message = (
            f"the reference does not stand: run again in a process of its own, its mask of {comparison.names[index]} "
            f"is another one, and this export agrees with it on {new:.2%} instead of {old:.2%}{together}. "
            "Nothing is known about the export; a model that draws random numbers, or a fault of the runtime."
        )
        return Check(name=NAME, verdict=Verdict.ERROR, message=message, value=new, details=details)
    where = "in a process of its own" if same_device else "on the CPU, in a process of its own"
    count = len(charge.images)
    seen = f"the {count} images on which exports agree least" if count > 1 else "the one image"
    message = f"the reference stands: run again {where} on {seen}, it contradicts this export as before{together}."
    return Check(name=NAME, verdict=Verdict.PASS, message=message, value=min(anew.agreement), details=details)


def without_model(charge: Charge, comparison: Comparison, *, unproven: bool, again: str) -> dict[str, Check]:
    """The same of a recording, which cannot be run again.

    Args:
        unproven: Whether nothing proves the recording's masks.
        again: The command that makes it anew.
    """
    found = {}
    for name, accuser in charge.exports.items():
        together = _together(name, charge, comparison)
        others = [
            other
            for other, witness in charge.exports.items()
            if witness.format != accuser.format and _in_common(comparison.exports[name], other) >= IN_COMMON
        ]
        if not unproven:
            message = f"the recording carries a proof of its masks, and contradicts this export{together}."
            found[name] = Check(name=NAME, verdict=Verdict.PASS, message=message)
        elif others:
            message = (
                f"the recording does not stand: nothing proves its masks, and exports of two formats contradict it in "
                f"the same way{together}. Nothing is known about the export; make it again: {again}."
            )
            found[name] = Check(name=NAME, verdict=Verdict.ERROR, message=message)
        else:
            message = f"nothing proves the recording's masks, which contradict this export; make it again: {again}."
            found[name] = Check(name=NAME, verdict=Verdict.SKIPPED, message=message, gated=False)
    return found


def _together(name: str, charge: Charge, comparison: Comparison) -> str:
    """How far the other contradicting exports agree, for messages."""
    counts = comparison.exports[name]
    shares = {other: _in_common(counts, other) for other in charge.exports if other != name}
    shares = {other: share for other, share in shares.items() if share >= IN_COMMON}
    if not shares:
        return ""
    told = " and ".join(f"{other} on {share:.1%}" for other, share in sorted(shares.items()))
    return f" (where it differs from the reference, it agrees with {told} of the pixels)"


def _in_common(counts: Counts, other: str) -> float:
    same, differing = counts.in_common.get(other, (0, 0))
    return same / differing if differing else 0.0
