"""Times reference and exports alternately, on the first image."""

from __future__ import annotations

from collections.abc import Sequence

from segexport.check.request import CheckRequest
from segexport.check.sessions import RunningExport
from segexport.judge.results import REFERENCE
from segexport.measure import latency
from segexport.measure.parity import ModelUnderTest


def time_models(
    request: CheckRequest, reference: ModelUnderTest, exports: Sequence[RunningExport]
) -> latency.Timing | None:
    """Times the exports that ran without an error, in separate sessions; each export keeps its times.

    Args:
        reference: The reference of the comparison.

    Returns:
        The reference's times; None if it was not timed.
    """
    seconds = request.options.timing_seconds
    if not seconds:
        return None
    image = request.data.read(0).image
    own = request.reference.program(image, reference)
    programs = {} if own is None else {REFERENCE: own}
    programs |= {
        export.model.name: export.model.program(image, export.opened.session)
        for export in exports
        if export.error is None
    }
    timings = latency.measure_steadily(programs, seconds, progress=request.progress)
    for export in exports:
        export.timing = timings.get(export.model.name)
        if export.timing is not None and export.timing.error is not None:
            export.error = export.timing.error
    return timings.get(REFERENCE)
