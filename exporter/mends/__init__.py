"""What an import changes in a program, since neither a runtime nor an exporter takes it as it stands.

A mend keeps the results, as far as there are any that two runs agree on; the artifact, and with it the reference of
every check, is the repaired program. What a single exporter cannot take is a matter for `rewrites`.
"""

from __future__ import annotations

from collections.abc import Callable

from segexport.exporter.mends.control_flow import straighten
from segexport.exporter.mends.free_unpool import mend_free_unpool
from segexport.exporter.mends.half_precision import widen_halves
from segexport.exporter.mends.quantized import unify_quantization
from segexport.exporter.mends.random_draws import keep_random_draws
from segexport.exporter.mends.written_parameters import compute_written_parameters
from segexport.exporter.program import Program

__all__ = ["AS_READ", "OF_ITS_SIZE", "Mend", "mend", "straighten"]

Mend = Callable[[Program], list[str]]
"""Changes a program in place and returns a note per change."""

AS_READ: tuple[Mend, ...] = (widen_halves, compute_written_parameters, unify_quantization)
OF_ITS_SIZE: tuple[Mend, ...] = (mend_free_unpool, keep_random_draws)
"""Those that want to know whether the input's size is free; they come behind the option that fixes it."""


def mend(program: Program, mends: tuple[Mend, ...]) -> list[str]:
    """Mends a program in place.

    Returns:
        A note per change for the lineage.

    Raises:
        UnsupportedModelError: Something in it cannot run and cannot be repaired; the operator is named.
    """
    notes = [note for change in mends for note in change(program)]
    if notes:
        program.prune()
        program.verify("the repaired program")
    return notes
