"""Repairs programs at import that neither runtimes nor exporters support unchanged.

A repair ("mend") preserves deterministic results; the artifact, and so the reference of every check, is the
repaired program. `rewrites` handle limits of a single exporter.
"""

from __future__ import annotations

from collections.abc import Callable

from segexport.exporter.mends.control_flow import straighten
from segexport.exporter.mends.free_unpool import mend_free_unpool
from segexport.exporter.mends.half_precision import widen_halves
from segexport.exporter.mends.image_input import feed_channels_first, feed_floats
from segexport.exporter.mends.quantized import unify_quantization
from segexport.exporter.mends.random_draws import keep_random_draws
from segexport.exporter.mends.written_parameters import compute_written_parameters
from segexport.exporter.program import Program

__all__ = ["AS_READ", "OF_ITS_SIZE", "Mend", "mend", "straighten"]

Mend = Callable[[Program], list[str]]
"""Changes a program in place and returns a note per change."""

AS_READ: tuple[Mend, ...] = (
    widen_halves,
    compute_written_parameters,
    unify_quantization,
    feed_floats,
    feed_channels_first,
)
OF_ITS_SIZE: tuple[Mend, ...] = (mend_free_unpool, keep_random_draws)
"""Repairs that depend on whether the input size is dynamic; they run after the option that fixes it."""


def mend(program: Program, mends: tuple[Mend, ...]) -> list[str]:
    """Repairs a program in place.

    Returns:
        One lineage note per change.

    Raises:
        UnsupportedModelError: An operator cannot run and cannot be repaired; names the operator.
    """
    notes = [note for change in mends for note in change(program)]
    if notes:
        program.prune()
        program.verify("the repaired program")
    return notes
