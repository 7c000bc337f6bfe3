"""Gives the image the form that segexport feeds: float32, with the channels first.

Networks for cameras often take bytes with the channels last, and normalize them inside. Whole numbers up to 255 are
exact in float32, so the results stay the same.
"""

from __future__ import annotations

from segexport.exporter.framework_proto import DTYPE_CODE
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import transpose
from segexport.spec import TensorSpec

_MOVES = frozenset(
    {"transpose2", "reshape2", "slice", "strided_slice", "flip", "squeeze2", "unsqueeze2", "assign", "share_data"}
)


def takes_bytes(program: Program) -> bool:
    """Whether the only input is an image of 8-bit pixels."""
    specs = program.inputs()
    return len(specs) == 1 and bool(specs[0].layout) and specs[0].dtype == "uint8"


def feed_floats(program: Program) -> list[str]:
    """Turns the bytes of the only input into float32 up to where the network casts them; returns a note.

    A network that computes with the bytes themselves stays as it is.
    """
    if not takes_bytes(program):
        return []
    (spec,) = program.inputs()
    moved, casts = _until_casts(program, spec)
    if not casts:
        return []
    for name in moved:
        program.vars[name].dtype = "float32"
    for op in casts:
        op.type = "assign"
        for name in ("in_dtype", "out_dtype"):
            op.attrs.pop(name, None)
    return [f"the input {spec.name!r} is fed as float32 in place of uint8: the network casts it itself"]


def feed_channels_first(program: Program) -> list[str]:
    """Transposes the only input, an image whose channels come last, inside the program; returns a note."""
    specs = program.inputs()
    if len(specs) != 1 or specs[0].layout != "NHWC" or specs[0].dtype != "float32":
        return []
    name, (batch, height, width, channels) = specs[0].name, specs[0].shape
    readers = [op for op in program.all_ops() if name in op.input_names()]
    program.vars[name].dims = (batch, channels, height, width)
    taken, op = transpose(program, name, [0, 2, 3, 1])
    for reader in readers:
        for names in reader.inputs.values():
            names[:] = [taken if one == name else one for one in names]
    program.insert_before(readers[0], op)
    return [f"the input {name!r} is fed with its channels first"]


def _until_casts(program: Program, spec: TensorSpec) -> tuple[list[str], list[Op]]:
    """Returns the byte variables, and the casts to float32 that end them; no casts if another operator reads one."""
    moved, casts, readers = [spec.name], [], list(program.all_ops())
    for name in moved:
        for op in readers:
            if name not in op.input_names():
                continue
            if op.type == "cast" and op.attr("out_dtype") == DTYPE_CODE["float32"]:
                casts.append(op)
            elif op.type in _MOVES:
                moved += [out for slot in ("Out", "XShape") for out in op.outputs.get(slot, [])]
            elif op.type != "shape":
                return [], []
    return moved, casts
