"""Counts the instructions of the exports that ran, if the check asks for it."""

from __future__ import annotations

from collections.abc import Sequence

from segexport.check.request import CheckRequest
from segexport.errors import capture_error
from segexport.judge.results import Measured
from segexport.measure.instructions import count_instructions


def count_exports(request: CheckRequest, exports: Sequence[Measured]) -> None:
    """Stores the counts in each export, or the error if it does not run on a counted processor."""
    if not request.options.count:
        return
    sound = [export for export in exports if export.error is None]
    with request.progress("counting instructions", len(sound)) as bar:
        for export in sound:
            with capture_error(export):
                export.instructions = count_instructions(export.export.made)
            bar.advance()
