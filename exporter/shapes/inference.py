"""Infers the shape of every variable from the input shapes, operator by operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod

import numpy as np

from segexport.errors import InputError, UnsupportedModelError
from segexport.exporter.evaluate import CannotEvaluate, can_evaluate, evaluate
from segexport.exporter.program import Attr, Op, Program
from segexport.exporter.shapes.context import Context, Dims, NoRule
from segexport.exporter.shapes.math_ops import RULES as COMPUTATION
from segexport.exporter.shapes.shape_ops import RULES as ARRANGEMENT
from segexport.exporter.shapes.windows import RULES as WINDOWS

MAX_IMAGE_SIDE = 1 << 16
_MAX_KNOWN_ELEMENTS = 4096  # sizes and axes are tracked, images are not
_RULES = {**WINDOWS, **ARRANGEMENT, **COMPUTATION}


def fix_input_shape(program: Program, shapes: Mapping[str, Sequence[int]]) -> Program:
    """Returns a copy of the program with fixed input sizes and re-inferred shapes.

    Args:
        program: A program whose inputs have dynamic sizes (-1).
        shapes: Input name -> new shape; sizes that are already fixed must not change.

    Raises:
        InputError: The input is unknown, the rank differs, or the export fixed another size.
        UnsupportedModelError: The network does not support the sizes, or an operator's shape cannot be inferred.
    """
    changed = with_input_shape(program, shapes)
    follow_input_shape(changed, shapes)
    return changed


def with_input_shape(program: Program, shapes: Mapping[str, Sequence[int]]) -> Program:
    """The first half of `fix_input_shape`: returns a copy in which only the inputs have the new sizes."""
    changed = program.copy()
    for name, shape in shapes.items():
        if name not in changed.feed_names:
            raise InputError(f"no input {name!r}", cause=f"the inputs are {', '.join(changed.feed_names)}")
        before, after = changed.shape(name), tuple(int(size) for size in shape)
        if len(before) != len(after) or any(not 1 <= size <= MAX_IMAGE_SIDE for size in after):
            raise InputError(f"input {name!r} cannot have the shape {list(after)}: it is {list(before)}")
        if any(old not in (-1, new) for old, new in zip(before, after, strict=True)):
            raise InputError(
                f"input {name!r} is fixed to {list(before)}, not {list(after)}",
                cause="the export wrote its sizes into the network's operators",
                hint="export the model again with dynamic sizes or this one: PaddleSeg's export.py has --input_shape",
            )
        changed.vars[name].dims = after
    return changed


def follow_input_shape(program: Program, changed: Iterable[str]) -> None:
    """The second half of `fix_input_shape`, in place: infers every size that depends on the inputs in `changed`."""
    infer_shapes(program, changed)
    for op in program.compute_ops():  # an export of dynamic size computed this attribute from -1
        sizes = program.shape(op.output("Out") or "")[2:] if op.type == "unpool" else ()
        if sizes and -1 not in sizes:
            op.attrs["output_size"] = Attr("INTS", list(sizes))  # it may have named tensors


def infer_shapes(program: Program, changed: Iterable[str] = ()) -> None:
    """Infers every size of the main block from its inputs' sizes, in place.

    Args:
        program: A size that no rule infers keeps its recorded value.
        changed: Variables whose sizes differ from those that the rest of the program was recorded with.

    Raises:
        UnsupportedModelError: Sizes do not fit, or an operator whose inputs changed has no rule.
    """
    inference = ShapeInference(program, changed)
    for number, op in enumerate(program.ops):
        if op.type not in ("feed", "fetch"):
            inference.step(op, f"operator {number} ({op.type})")


class ShapeInference:
    """Infers shapes operator by operator, tracking the shapes and small values computed so far.

    Args:
        changed: Variables whose sizes differ from those that the rest of the program was recorded with. An operator
            that reads one of them and has no rule is an error. None: all recorded sizes are valid and are kept.

    Attributes:
        values: Variable name -> value, for variables that do not depend on the input's values.
    """

    def __init__(self, program: Program, changed: Iterable[str] | None = ()) -> None:
        self.values = {name: value for name, value in program.params.items() if value.size <= _MAX_KNOWN_ELEMENTS}
        self._program, self._altered = program, None if changed is None else set(changed)
        self._sizes: dict[str, np.ndarray] = {}  # outputs of `shape`, -1 for dynamic sizes

    def step(self, op: Op, where: str) -> None:
        """Infers the output sizes of the next operator and writes them into the program.

        Args:
            where: The operator's description in error messages.

        Raises:
            UnsupportedModelError: As `infer_shapes`.
        """
        program = self._program
        known = known_values(program, op, self.values)
        if known is None:
            known = self._known_of_free_sizes(op)
        for name in op.output_names():
            self.values.pop(name, None)
        try:
            if known is not None:
                self.values.update(known)
                results = {name: value.shape for name, value in known.items()}
            else:
                results = output_sizes(program, op, self.values)
        except NoRule:
            if self._altered is None or not self._altered.intersection(op.input_names()):
                return
            raise UnsupportedModelError(
                f"{where}: its sizes cannot be inferred from the new input sizes",
                cause="its sizes depend on values, or segexport has no rule for this operator",
                hint="export the model again with a fixed input shape: PaddleSeg's export.py has --input_shape",
            ) from None
        except (ValueError, IndexError, KeyError, TypeError, ZeroDivisionError) as error:
            raise UnsupportedModelError(
                f"{where}: the sizes do not fit ({error})",
                cause=f"its inputs are {[list(program.shape(n)) for n in op.input_names() if n in program.vars]}",
                hint="choose an input size that the network takes (often a multiple of 32)",
            ) from error
        for name, dims in results.items():
            var = program.vars[name]
            if var.dims != tuple(dims):
                var.dims = tuple(int(size) for size in dims)
                if self._altered is not None:
                    self._altered.add(name)
        shadow, source = op.output("XShape"), op.input("X")
        if shadow in program.vars and source:
            program.vars[shadow or ""].dims = (0, *program.shape(source))

    def _known_of_free_sizes(self, op: Op) -> dict[str, np.ndarray] | None:
        """Values cut out of a shape: known if the sizes that were cut out are not dynamic."""
        out = op.output("Out") or ""
        self._sizes.pop(out, None)
        if op.type == "shape":
            self._sizes[out] = np.array(self._program.shape(op.input("Input") or ""), np.int32)
            return None
        source = op.input("Input") if op.type == "slice" else op.input("X")
        sizes = self._sizes.get(source or "")
        if op.type not in ("slice", "cast", "assign") or sizes is None or len(op.input_names()) > 1:
            return None
        try:
            found = evaluate(op, {"Input" if op.type == "slice" else "X": [sizes]})[out]
        except CannotEvaluate:
            return None
        if -1 not in found:
            return {out: found}
        if found.ndim:
            self._sizes[out] = found
        return None


def settled(program: Program) -> Program:
    """The program with every size that follows from its inputs, if these are fixed and some sizes are recorded as -1.

    Paddle exports -1 where a network computes a size from the image's (`paddle.shape`), even if the image's is fixed.
    """
    free_inputs = any(-1 in program.shape(name) for name in program.feed_names)
    written = (name for op in program.compute_ops() for name in op.output_names() if name in program.vars)
    if free_inputs or all(-1 not in program.shape(name) for name in written):
        return program
    copy = program.copy()
    inference = ShapeInference(copy, None)
    try:
        for number, op in enumerate(copy.compute_ops()):
            inference.step(op, f"operator {number} ({op.type})")
    except UnsupportedModelError:
        return program
    return copy


def known_values(program: Program, op: Op, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """The values of an operator's outputs if they follow from `values` or from sizes alone, else None."""
    if op.type in ("shape", "size"):
        dims = program.shape(op.input("Input") or "")
        value = np.array(dims, np.int32) if op.type == "shape" else np.array(prod(dims), np.int64)
        return None if -1 in dims else {op.output("Out") or "": value}
    if not can_evaluate(op) or any(name not in values for name in op.input_names()):
        return None
    outputs = [name for slot, names in op.outputs.items() if slot != "XShape" for name in names]
    if any(prod(program.shape(name)) > _MAX_KNOWN_ELEMENTS for name in outputs):
        return None
    try:
        found = evaluate(op, {slot: [values[name] for name in names] for slot, names in op.inputs.items() if names})
    except CannotEvaluate:
        return None
    return found if all(value.size <= _MAX_KNOWN_ELEMENTS for value in found.values()) else None


def output_sizes(program: Program, op: Op, values: Mapping[str, np.ndarray]) -> dict[str, Dims]:
    """The sizes of an operator's outputs, by variable.

    Args:
        program: Its variables hold the sizes of the operator's inputs.
        values: The inputs' values that are known, by variable.

    Raises:
        NoRule: No rule infers them.
        ValueError, IndexError, KeyError, TypeError, ZeroDivisionError: The inputs' sizes do not fit the operator.
    """
    rule = _RULES.get(op.type)
    if rule is None:
        raise NoRule
    found = rule(Context(program, op, values))
    results = {}
    for slot in ("Out", "Output", "Y"):
        names = op.outputs.get(slot)
        if names:
            dims = found if isinstance(found, list) else [found]
            results = dict(zip(names, dims, strict=True))
            for extra in ("Mask", "Indices"):
                if op.output(extra):
                    results[op.output(extra) or ""] = dims[0]
            break
    return results
