"""Checks that a program can run before passing it to native code, which aborts on invalid programs."""

from __future__ import annotations

from segexport.errors import UnreadableError
from segexport.exporter.graph import Block, Op
from segexport.exporter.program_graph import ProgramGraph

MAX_WINDOW = 1 << 16  # pixels per side; rewrites expand some windows, and no image is larger
_WINDOWS = ("ksize", "kernel_sizes")


def verify(program: ProgramGraph, source: str) -> None:
    """See `Program.verify`."""
    _verify_ends(program, source)
    for number, block in enumerate(program.blocks):
        parent_ok = block.parent_idx == -1 if number == 0 else 0 <= block.parent_idx < number
        _must(
            block.idx == number and parent_ok,
            source,
            f"block {number} has index {block.idx}, parent {block.parent_idx}",
        )
    written = {name for block in program.blocks for name, var in block.vars.items() if var.persistable}
    _verify_block(program, program.blocks[0], set(written), source, depth=0)


def _must(condition: bool, source: str, what: str) -> None:
    if not condition:
        raise UnreadableError(
            f"{source}: {what}", cause="the program is damaged or incomplete", hint="export the model again"
        )


def _verify_ends(program: ProgramGraph, source: str) -> None:
    for kind, slot_of in (("feed", "Out"), ("fetch", "X")):
        ops = [op for op in program.ops if op.type == kind]
        _must(bool(ops), source, f"the program has no {kind} operator, so it is not an inference program")
        columns = sorted(op.attr("col", 0) for op in ops)
        _must(columns == list(range(len(ops))), source, f"its {kind} operators have the columns {columns}")
        for op in ops:
            name = op.output(slot_of) if kind == "feed" else op.input(slot_of)
            var = program.vars.get(name or "")
            _must(var is not None, source, f"a {kind} operator names no variable that exists ({name!r})")
            tensor = var is not None and var.is_tensor and bool(var.dtype)
            _must(tensor, source, f"{kind} variable {name!r} is not a typed tensor")


def _verify_block(program: ProgramGraph, block: Block, written: set[str], source: str, depth: int) -> None:
    _must(depth <= len(program.blocks), source, "its blocks hold each other in a circle")
    visible = dict(block.vars)
    parent = block.parent_idx
    while parent >= 0:
        visible = {**program.blocks[parent].vars, **visible}
        parent = program.blocks[parent].parent_idx
    for number, op in enumerate(block.ops):
        where = f"operator {number} ({op.type})" + (f" of block {block.idx}" if block.idx else "")
        for name in op.input_names():
            _must(name in visible, source, f"{where} reads {name!r}, which no variable is called")
            # A loop's block may read a variable from the previous iteration.
            known = name in written or depth > 0 or not visible[name].is_tensor
            _must(known, source, f"{where} reads {name!r} before any operator has written it")
        for side in _window_sides(op):
            _must(side <= MAX_WINDOW, source, f"{where} has a window of {side} pixels; the limit is {MAX_WINDOW}")
        for inner in _inner_blocks(op):
            _must(
                0 < inner < len(program.blocks), source, f"{where} runs block {inner}, there are {len(program.blocks)}"
            )
            _verify_block(program, program.blocks[inner], written, source, depth + 1)
        for name in op.output_names():
            _must(name in visible, source, f"{where} writes {name!r}, which no variable is called")
            written.add(name)


def _window_sides(op: Op) -> list[int]:
    given = [op.attrs[name].value for name in _WINDOWS if name in op.attrs]
    return [side for sides in given if isinstance(sides, list) for side in sides if isinstance(side, int)]


def _inner_blocks(op: Op) -> list[int]:
    found = []
    for attr in op.attrs.values():
        if attr.type == "BLOCK":
            found.append(attr.value)
        elif attr.type == "BLOCKS":
            found.extend(attr.value)
    return found
