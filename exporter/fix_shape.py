"""Fixes the free sides of a program's input: every shape in it becomes a number, and what followed from shapes too."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from segexport.errors import InputError, WorkerFailed
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.fold_constants import FoldConstants
from segexport.worker import Worker

_SCRIPT = Path(__file__).parent / "workers" / "shape_worker.py"


def fix_input_shape(program: Program, *, width: int, height: int, timeout_s: float = 600.0) -> Program:
    """A copy of the program that takes images of one size, batch 1.

    The shapes inside are observed in one run, not inferred: an operator may compute its output's size from another
    tensor's shape, and only a run knows it for certain.

    Args:
        program: Its first input is an image, NCHW.

    Raises:
        InputError: The program has another fixed size already, or does not run at this one.
    """
    fixed = program.copy()
    name = fixed.feed_names[0]
    wanted = (1, fixed.shape(name)[1], height, width)
    for have, want in zip(fixed.shape(name), wanted, strict=True):
        if have not in (-1, want):
            raise InputError(
                f"the model takes {list(fixed.shape(name))}, it cannot be fixed to {list(wanted)}",
                hint="leave --input-size out, or export the model again with this size",
            )
    shapes = _observed(fixed, {name: wanted}, timeout_s)
    for block_var in fixed.vars.values():
        if block_var.name in shapes and block_var.name not in fixed.params:
            block_var.dims = tuple(shapes[block_var.name])
    folding = FoldConstants()
    if folding.applies(fixed):
        folding.apply(fixed)
    _literal_attributes(fixed)
    fixed.prune()
    fixed.verify("the program with a fixed input")
    return fixed


def _observed(program: Program, inputs: dict[str, tuple[int, ...]], timeout_s: float) -> dict[str, list[int]]:
    names = [name for name, var in program.vars.items() if var.is_tensor and name not in program.params]
    feeds = [(list(inputs.get(name, program.shape(name))), program.dtype(name)) for name in program.feed_names]
    with tempfile.TemporaryDirectory() as folder, Worker(_SCRIPT, needs="paddle", name="shapes") as worker:
        program.write(Path(folder))
        arguments = {"prefix": str(Path(folder) / "model"), "inputs": feeds, "names": names}
        try:
            answer, _ = worker.call("observe", arguments, timeout_s=timeout_s)
        except WorkerFailed as error:
            size = "x".join(str(side) for side in feeds[0][0][:1:-1])
            raise InputError(f"the model does not run on an image of {size}", cause=error.cause) from error
    return answer["shapes"]


def _literal_attributes(program: Program) -> None:
    """Attributes that are given as variables become numbers where the variables are constants now."""
    for op in program.compute_ops():
        for name, attr in list(op.attrs.items()):
            variables = {"VAR": [attr.value], "VARS": attr.value}.get(attr.type, [])
            if variables and all(variable in program.params for variable in variables):
                values = [int(program.params[variable].reshape(-1)[0]) for variable in variables]
                op.set_attr(name, values, "INTS")
        _literal_size(program, op)


def _literal_size(program: Program, op: Op) -> None:
    """An interpolation's size from a constant tensor becomes its out_h and out_w."""
    if not op.type.endswith("_interp_v2"):
        return
    tensors = op.inputs.get("OutSize") or op.inputs.get("SizeTensor") or []
    if tensors and all(name in program.params for name in tensors):
        size = np.concatenate([program.params[name].reshape(-1) for name in tensors]).astype(int)
        if len(size) == 2:
            op.set_attr("out_h", int(size[0]), "INT")
            op.set_attr("out_w", int(size[1]), "INT")
            op.set_attr("scale", [], "FLOATS")
            op.inputs["OutSize"], op.inputs["SizeTensor"] = [], []
