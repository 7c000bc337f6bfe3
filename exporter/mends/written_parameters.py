"""Converts parameters that the network overwrites before reading, such as normalized weights, to variables.

Their values in the file are left from saving the network and are never read. As variables they are computed or folded;
as parameters, an exporter might use the stale values.
"""

from __future__ import annotations

from segexport.exporter.program import Program


def compute_written_parameters(program: Program) -> list[str]:
    """Gives each overwritten parameter a separate variable, in place; returns notes."""
    if len(program.blocks) > 1:  # loops and branches are expanded later
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
