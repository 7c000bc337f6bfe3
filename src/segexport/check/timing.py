"""Times reference and exports alternately, on the first image."""

from __future__ import annotations

from collections.abc import Mapping

from segexport.check.request import CheckRequest
from segexport.check.sessions import OpenModels
from segexport.judge.results import REFERENCE
from segexport.measure import latency


def time_models(
    request: CheckRequest, models: OpenModels, graph: str, graphs: Mapping[str, str]
) -> latency.Timing | None:
    """Times reference and exports in separate sessions; each export keeps its times.

    Args:
        graph: The reference's graph to time (`watched.timed_graph`).
        graphs: The same by export, for those to time: that ran without an error.

    Returns:
        The reference's times; None if it was not timed.
    """
    seconds = request.options.timing_seconds
    if not seconds:
        return None
    image = request.data.read(0).image
    own = request.reference.program(image, graph, models.reference.preprocess)
    programs = {} if own is None else {REFERENCE: own}
    programs |= {
        export.model.name: export.model.program(image, graphs[export.model.name])
        for export in models.running
        if export.model.name in graphs
    }
    timings = latency.measure_steadily(programs, seconds, progress=request.progress)
    for export in models.running:
        export.timing = timings.get(export.model.name)
        if export.timing is not None and export.timing.error is not None:
            export.error = export.timing.error
    return timings.get(REFERENCE)
