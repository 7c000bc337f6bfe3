"""Parameters that the network itself writes before it reads them: a weight in the place of one that is normalized.

Their values in the file are what was there when the network was saved, and nobody reads them. As variables of their own
they are computed, or folded, as any other; as parameters an exporter might take them as they are.
"""

from __future__ import annotations

from segexport.exporter.program import Program


def compute_written_parameters(program: Program) -> list[str]:
    """Gives what is written a variable of its own, in place; returns notes."""
    if len(program.blocks) > 1:  # loops and branches are written out later
        return []
    read: set[str] = set()
    renamed: dict[str, str] = {}
    for op in program.ops:
        for name in renamed.keys() & set(op.input_names()):
            op.rename(name, renamed[name])
        read.update(op.input_names())
        for name in op.output_names():
            if name in program.params and name not in read and name not in renamed:
                var = program.vars[name]
                renamed[name] = program.add_var(f"{name}.written", var.dims, var.dtype)
        for name in renamed.keys() & set(op.output_names()):
            op.rename(name, renamed[name], inputs=False, outputs=True)
    return [f"{len(renamed)} parameters that the network writes before it reads them are computed"] if renamed else []
