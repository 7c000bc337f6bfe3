"""Reports a program's operators and costs, and which targets support it, without converting anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from segexport.errors import SegexportError, UnsupportedModelError
from segexport.exporter import cost
from segexport.exporter.converters import CONVERTERS, PADDLE2ONNX, Converter
from segexport.exporter.layers import layer_of
from segexport.exporter.output_semantics import num_classes
from segexport.exporter.program import Op, Program
from segexport.exporter.quantized_program import is_quantized, unquantized
from segexport.exporter.rewrites import rewrite_for
from segexport.exporter.shapes import fix_input_shape, settled
from segexport.pipeline.entry_points import instances
from segexport.spec import Frozen, TensorSpec

Support = Literal["as it is", "after rewrites", "no"]


class Obstacle(Frozen):
    """An operator that a target does not support.

    `layer`: path of its layer, or the nearest parameter (see `layers.layer_of`).
    """

    operator: str
    layer: str = ""
    number: int = -1
    reason: str


class TargetSupport(Frozen):
    """Whether a target supports the program; `rewrites` lists the rewrites that run first."""

    target: str
    tool: str
    support: Support
    rewrites: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()


class OperatorCount(Frozen):
    """All operators of one type. `flops` counts like `paddle.flops`; None if sizes are dynamic."""

    type: str
    count: int
    flops: int | None


class Inspection(Frozen):
    """The result of `segexport inspect`."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    num_classes: int
    operators: tuple[OperatorCount, ...]
    parameter_count: int
    parameter_bytes: int
    flops: int | None
    peak_activation_bytes: int | None
    targets: tuple[TargetSupport, ...]


def inspect(program: Program, input_shapes: Mapping[str, Sequence[int]] | None = None) -> Inspection:
    """Describes a program.

    Args:
        program: Not modified.
        input_shapes: Sizes for dynamic inputs; without them, size-dependent costs are None.

    Raises:
        InputError: `input_shapes` names an unknown input or contradicts a fixed size.
        UnsupportedModelError: The network does not support the sizes.
    """
    if input_shapes:
        program = fix_input_shape(program, input_shapes)
    program = settled(program)
    return Inspection(
        inputs=tuple(program.inputs()),
        outputs=tuple(program.outputs()),
        num_classes=num_classes(program),
        operators=_operators(program),
        parameter_count=cost.parameter_count(program),
        parameter_bytes=cost.parameter_bytes(program),
        flops=cost.flops(program),
        peak_activation_bytes=cost.peak_activation_bytes(program),
        targets=tuple(found for target in instances("target").values() for found in target.verdict_before(program)),
    )


def _operators(program: Program) -> tuple[OperatorCount, ...]:
    counts = Counter(op.type for op in program.all_ops() if op.type not in ("feed", "fetch"))
    flops: dict[str, int | None] = dict.fromkeys(counts, 0)
    for op in program.compute_ops():
        found, before = cost.operator_flops(program, op), flops[op.type]
        flops[op.type] = None if found is None or before is None else before + found
    return tuple(OperatorCount(type=kind, count=count, flops=flops[kind]) for kind, count in counts.most_common())


def support_for(target: str, program: Program) -> TargetSupport:
    """Calls `support_by` for one of segexport's converters, by name."""
    return support_by(CONVERTERS[target], program)


def support_by(converter: Converter, program: Program) -> TargetSupport:
    """Returns whether a converter supports the program, from the rewrites and the tool's operator list."""
    target, tool = converter.name, converter.tool
    first: list[str] = []
    if is_quantized(program):
        program, first = unquantized(program).program, ["its roundings come back in the target's own form"]
    try:
        rewritten, notes = rewrite_for(target, program)
        notes = first + notes
    except SegexportError as error:
        reason = error.what + (f" ({error.cause})" if error.cause else "")
        words, types = error.what.split(), {op.type for op in program.all_ops()}
        operator = next((word for word in words if word in types), words[0])
        obstacle = Obstacle(operator=operator, reason=reason)
        return TargetSupport(target=target, tool=tool, support="no", obstacles=(obstacle,))
    parameters, producers = _parameters(program), rewritten.producers()
    obstacles = tuple(
        Obstacle(operator=op.type, layer=layer_of(rewritten, op, parameters, producers), number=number, reason=reason)
        for number, op in enumerate(rewritten.all_ops())
        if (reason := _obstacle(rewritten, op, converter))
    )
    support: Support = "no" if obstacles else "after rewrites" if notes else "as it is"
    return TargetSupport(target=target, tool=tool, support=support, rewrites=tuple(notes), obstacles=obstacles)


def in_the_way(target: str, original: Program, error: UnsupportedModelError) -> UnsupportedModelError:
    """Adds the unsupported operators and their layers to a tool's error; without any, returns the error unchanged."""
    obstacles = support_for(target, original).obstacles
    if not obstacles:
        return error
    named = ", ".join(
        f"{each.operator} (layer {each.layer})" if each.layer else each.operator for each in obstacles[:8]
    )
    cause = "; ".join(dict.fromkeys(each.reason for each in obstacles[:8]))
    return UnsupportedModelError(f"cannot be exported to {target}: {named}", cause=cause, hint=error.hint)


def _parameters(program: Program) -> set[str]:
    return {name for name, var in program.vars.items() if var.persistable and var.is_tensor and var.dtype}


def _obstacle(program: Program, op: Op, converter: Converter) -> str:
    tool = converter.tool
    if op.type not in converter.operators:
        free = any(-1 in program.shape(name) for name in op.output_names() if name in program.vars)
        more = "; with a fixed input size (--input-size) it may be rewritten" if free else ""
        return f"{tool} has no operator {op.type}{more}"
    for name, attr in op.attrs.items():
        if attr.type in ("SCALAR", "SCALARS"):
            return f"{tool} cannot read the attribute {name} of {op.type}: typed scalars"
        if attr.type in ("VAR", "VARS"):
            return (
                f"{tool} cannot read the attribute {name} of {op.type}: it is computed from the input's size; "
                "with a fixed input shape it becomes a constant"
            )
    if op.type == "multiclass_nms3" and op.input("RoisNum") and converter is PADDLE2ONNX:
        return f"{tool} takes boxes that all classes share, this {op.type} has boxes per class"
    return ""
