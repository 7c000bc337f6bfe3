"""Mends a quantized model that changes the class of too many pixels, and tells what was done.

The workers of int8 and of stored weights know `judge`, `survey` and `keep_float`: they compare the outputs of
calibration images with the float model's, quantize each layer alone, and take those that cost most back.
"""

from __future__ import annotations

from typing import Any

from segexport.artifact import warning
from segexport.pipeline.step import StepContext
from segexport.process.worker import Worker

# Share of the pixels that should keep their class, by bits of the weights: what sound networks reach without a mend.
AGREEMENT = {8: 0.995, 4: 0.98}
_NAMED = 4  # most operators that a note names


def agreeing(worker: Worker, found: dict[str, Any], context: StepContext, notes: list[str]) -> dict[str, Any]:
    """Mends int8 that changes the class of too many pixels, or outputs without classes that 4 bits put far off.

    Operators stay in float; weights of 4 bits get 8. Returns the last answer of `quantize`.
    """
    judged, _ = worker.call("judge", {}, timeout_s=context.timeout_s)
    told = ""
    if not judged["enough"]:
        surveyed(worker, judged["surveyed"], context)
        options = {"agreeing": judged["agreement"] is not None}
        mended, _ = worker.call("keep_float", options, timeout_s=context.timeout_s)
        if mended["mended"]:
            found, before = mended, judged
            judged, _ = worker.call("judge", {}, timeout_s=context.timeout_s)
            told = f"{mix_of(mended)}: {_kept(judged)}, without {_kept(before, briefly=True)}"
            if mended["float"]:
                told += f"; {_time_of(mended['saved'])}, by an estimate"
    if judged["error"] is not None and judged["error"] > 1:
        notes.append(warning(f"4-bit weights put outputs far off: {told or _kept(judged)}"))
    elif told or judged["agreement"] is not None:
        notes.append(told or _kept(judged))
    if told and found["correction"]:
        notes.append(how_corrected(found["correction"]))
    return found


def surveyed(worker: Worker, operators: int, context: StepContext) -> None:
    with context.progress("finding the layers that cost most", operators) as bar:
        for _ in range(operators):
            worker.call("survey", {}, timeout_s=context.timeout_s)
            bar.advance()


def mix_of(found: dict[str, Any]) -> str:
    """What is float in an int8 model, and what has 8 bits in one of 4-bit weights."""
    told = []
    if found["float"]:
        named = ", ".join(found["float"][:_NAMED]) + (", ..." if len(found["float"]) > _NAMED else "")
        told.append(f"{len(found['float'])} operators stay float, {found['share']:.0%} of the multiply-adds ({named})")
    if found["wide"]:
        told.append(f"{found['wide']} layers have 8-bit weights, {found['wide_share']:.0%} of all weights")
    return " and ".join(told)


def _time_of(saved: float | None) -> str:
    """What float operators cost, from the share of the time that int8 saves that is left."""
    if saved is None or saved >= 1:  # they may convert more than they compute
        return "as fast as int8"
    return f"{saved:.0%} of the time that int8 saves is left"


def _kept(judged: dict[str, Any], *, briefly: bool = False) -> str:
    """What `judge` found."""
    if judged["agreement"] is None:
        error = f"{judged['error']:.2g}"
        return error if briefly else f"outputs on calibration images have {error} of the error that is far off"
    agreement = f"{judged['agreement']:.2%}"
    return agreement if briefly else f"{agreement} of the calibration images' pixels keep their class"


def how_corrected(found: dict[str, Any]) -> str:
    """A note on a bias correction.

    Args:
        found: Its `levels` and largest `shift`; if it was judged, the errors `before` and `after`.
    """
    said = f"biases corrected in {found['levels']} levels of convolutions"
    said += f"; the largest shift of a mean was {found['shift']:.3g}"
    if "after" not in found:
        return said
    before, after = found["before"], found["after"]
    other = f"of the error that is far off on calibration images that it was not measured on, without {before:.2g}"
    if after < before:
        return f"{said}; {after:.2g} {other}"
    return f"biases not corrected: that would give {after:.2g} {other}"
