"""Compiles operators of an exported program to functions on Paddle tensors, with gradients.

Every operator calls Paddle's generated dygraph function of the same name, which runs the same kernel as Paddle
Inference. The few functions with another signature are at the end of this file.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
from paddle import _C_ops, _legacy_C_ops

from segexport.errors import UnsupportedModelError
from segexport.exporter.program import Attr, Op

Tensors = dict[str, Any]
Run = Callable[[Tensors, bool], None]
"""Reads inputs from the tensors by name and writes outputs to them; the flag is true in training."""

_ARGUMENTS: dict[str, list[str]] = _legacy_C_ops.get_core_ops_args_info()
_ARGUMENT_KINDS: dict[str, list[str]] = _legacy_C_ops.get_core_ops_args_type_info()
_RETURNS: dict[str, list[str]] = _legacy_C_ops.get_core_ops_returns_info()

# Attributes that record how a program was traced or which backend was chosen; they affect no result.
_IGNORED_ATTRIBUTES = frozenset(
    {
        "op_role", "op_role_var", "op_namescope", "op_callstack", "op_device", "with_quant_attr", "mkldnn_data_type",
        "use_mkldnn", "use_quantizer", "use_cudnn",
    }
)  # fmt: skip
_WRITTEN = object()  # an empty output that the function takes as an argument
_OPAQUE_ATTRIBUTES = frozenset({"BLOCK", "BLOCKS", "SCALAR", "SCALARS"})

# Slots that Paddle's dygraph functions lack: small integer tensors that replace an attribute.
_TENSOR_ATTRIBUTES: dict[tuple[str, str], str] = {
    ("reshape2", "ShapeTensor"): "shape",
    ("expand_v2", "Shape"): "shape",
    ("expand_v2", "expand_shapes_tensor"): "shape",
    ("tile", "RepeatTimes"): "repeat_times",
    ("tile", "repeat_times_tensor"): "repeat_times",
    ("top_k_v2", "K"): "k",
    ("pad3d", "Paddings"): "paddings",
    ("unsqueeze2", "AxesTensor"): "axes",
    ("concat", "AxisTensor"): "axis",
    ("split", "AxisTensor"): "axis",
    ("split", "SectionsTensorList"): "sections",
    ("conv2d_transpose", "OutputSizeTensor"): "output_size",
}
_INTERPOLATION_SIZES = {
    "linear_interp_v2": ("out_w",),
    "bilinear_interp_v2": ("out_h", "out_w"),
    "bicubic_interp_v2": ("out_h", "out_w"),
    "nearest_interp_v2": ("out_h", "out_w"),
    "trilinear_interp_v2": ("out_d", "out_h", "out_w"),
}


def compile_op(op: Op) -> Run:
    """Returns the function that runs `op`.

    Raises:
        UnsupportedModelError: Paddle has no dygraph function for the operator, or the operator uses an input or
            attribute that cannot be passed; names the operator.
    """
    if op.type in _SPECIAL:
        return _SPECIAL[op.type](op)
    if op.type not in _ARGUMENTS:
        raise unsupported(op, "Paddle has no operator of this name that can be replayed")
    return _generic(op)


def unsupported(op: Op, cause: str) -> UnsupportedModelError:
    outputs = ", ".join(op.output_names()[:2])
    return UnsupportedModelError(
        f"operator '{op.type}' (writes {outputs or 'nothing'}) cannot be replayed as a trainable model",
        cause=cause,
        hint="leave the compress steps out for this model: exports and checks do not need them",
    )


# -- the general form ----------------------------------------------------------------------------------------------


def _generic(op: Op) -> Run:
    entry = getattr(_legacy_C_ops, op.type)
    arguments = []
    for slot, kind in zip(_ARGUMENTS[op.type], _ARGUMENT_KINDS[op.type], strict=True):
        names = op.inputs.get(slot) or []
        if names:
            arguments.append((slot, list(names) if kind == "list" else names[0]))
        elif kind == "int":  # the number of tensors in an output slot
            arguments.append((slot, max(1, len(op.outputs.get(slot.removesuffix("Num"), [])))))
        elif op.outputs.get(slot):
            arguments.append((slot, _WRITTEN))
        else:
            arguments.append((slot, None))
    from_tensors = _attributes_from_tensors(op)
    fixed = _attribute_list(op, {name for _, name in from_tensors})
    returns = [op.outputs.get(slot, []) for slot in _RETURNS[op.type]]

    def run(tensors: Tensors, training: bool) -> None:
        values = []
        for _, names in arguments:
            if isinstance(names, list):
                values.append([tensors[name] for name in names])
            elif names is _WRITTEN:
                values.append(paddle.zeros([1]))  # a tensor without memory would abort the process
            else:
                values.append(tensors[names] if isinstance(names, str) else names)
        attributes = fixed
        if from_tensors:
            attributes = list(fixed)
            for read, name in from_tensors:
                attributes += [name, read(tensors)]
        _store(tensors, returns, entry(*values, *attributes))

    return run


def _store(tensors: Tensors, slots: list[list[str]], results: Any) -> None:
    if not isinstance(results, tuple):
        results = (results,)
    for names, result in zip(slots, results, strict=False):
        if isinstance(result, (list, tuple)):
            tensors.update(zip(names, result, strict=False))
        elif names:
            tensors[names[0]] = result


def _attribute_list(op: Op, skipped: set[str]) -> list[Any]:
    flat: list[Any] = []
    for name, attr in op.attrs.items():
        if name in _IGNORED_ATTRIBUTES or name in skipped:
            continue
        if attr.type in _OPAQUE_ATTRIBUTES:
            raise unsupported(op, f"its attribute '{name}' ({attr.type}) cannot be passed to Paddle")
        flat += [name, attr.value]
    return flat


def _attributes_from_tensors(op: Op) -> list[tuple[Callable[[Tensors], Any], str]]:
    """Returns (reader, attribute) for each attribute that a tensor supplies at run time."""
    found: list[tuple[Callable[[Tensors], Any], str]] = []
    for slot, names in op.inputs.items():
        if not names or slot in _ARGUMENTS[op.type]:
            continue
        sizes = _INTERPOLATION_SIZES.get(op.type)
        if sizes and slot in ("OutSize", "SizeTensor"):
            for position, size in enumerate(sizes):
                found.append((_integer_reader(names, position), size))
        elif sizes and slot == "Scale":
            found.append((_float_reader(names), "scale"))
        elif (op.type, slot) in _TENSOR_ATTRIBUTES:
            attribute = _TENSOR_ATTRIBUTES[op.type, slot]
            scalar = op.attrs.get(attribute, Attr("INTS", [])).type in ("INT", "LONG")
            found.append((_integer_reader(names, 0 if scalar else None), attribute))
        else:
            raise unsupported(op, f"its input slot '{slot}' cannot be passed to Paddle")
    for name, attr in op.attrs.items():
        if attr.type in ("VAR", "VARS"):
            names = [attr.value] if attr.type == "VAR" else list(attr.value)
            found.append((_integer_reader(names, None), name))
    return found


def _integer_reader(names: list[str], position: int | None) -> Callable[[Tensors], Any]:
    def read(tensors: Tensors) -> Any:
        values = [int(item) for name in names for item in tensors[name].numpy().reshape(-1)]
        return values if position is None else values[position]

    return read


def _float_reader(names: list[str]) -> Callable[[Tensors], list[float]]:
    return lambda tensors: [float(item) for name in names for item in tensors[name].numpy().reshape(-1)]


# -- operators with another signature ------------------------------------------------------------------------------


def _batch_norm(op: Op) -> Run:
    """Uses batch statistics in training and updates the running ones; uses the running statistics otherwise."""
    x, mean, variance = op.input("X"), op.input("Mean"), op.input("Variance")
    scale, bias, y = op.input("Scale"), op.input("Bias"), op.output("Y")
    momentum, epsilon = op.attr("momentum", 0.9), op.attr("epsilon", 1e-5)
    layout = "NHWC" if op.attr("data_layout", "NCHW") == "NHWC" else "NCHW"

    # `use_global_stats` is ignored: an export in eval mode always sets it.
    def run(tensors: Tensors, training: bool) -> None:
        tensors[y] = paddle.nn.functional.batch_norm(
            tensors[x], tensors[mean], tensors[variance], tensors[scale], tensors[bias],
            training=training, momentum=momentum, epsilon=epsilon, data_format=layout,
        )  # fmt: skip

    return run


def _concat(op: Op) -> Run:
    from_tensors = [read for read, _ in _attributes_from_tensors(op)]
    names, out, axis = op.inputs["X"], op.output("Out"), op.attr("axis", 0)

    def run(tensors: Tensors, training: bool) -> None:
        along = from_tensors[0](tensors) if from_tensors else axis
        tensors[out] = paddle.concat([tensors[name] for name in names], axis=along)

    return run


def _dropout(op: Op) -> Run:
    x, out = op.input("X"), op.output("Out")
    rate = op.attr("dropout_prob", 0.5)
    upscales = op.attr("dropout_implementation", "downgrade_in_infer") == "upscale_in_train"
    mode = "upscale_in_train" if upscales else "downscale_in_infer"

    def run(tensors: Tensors, training: bool) -> None:
        tensors[out] = paddle.nn.functional.dropout(tensors[x], rate, training=training, mode=mode)

    return run


def _fill_constant(op: Op) -> Run:
    """Avoids the function in `_legacy_C_ops`, which aborts on the empty output that it requires."""
    out, dtype = op.output("Out"), paddle.base.core.VarDesc.VarType(op.attr("dtype", 5))
    text = op.attr("str_value", "")
    value = float(text) if text else op.attr("value", 0.0)
    value = int(text) if text.lstrip("-").isdigit() else value  # all digits of a large int64
    tensor = op.input("ValueTensor")
    shape_names = op.inputs.get("ShapeTensor") or op.inputs.get("ShapeTensorList")
    read_shape = _integer_reader(shape_names, None) if shape_names else None

    def run(tensors: Tensors, training: bool) -> None:
        shape = read_shape(tensors) if read_shape else op.attr("shape", [])
        filling = tensors[tensor].item() if tensor else value
        tensors[out] = paddle.full(shape, filling, dtype)

    return run


def _assign_value(op: Op) -> Run:
    out, dtype = op.output("Out"), paddle.base.core.VarDesc.VarType(op.attr("dtype", 5))
    kinds = ("values", "fp32_values", "fp64_values", "int32_values", "int64_values", "bool_values")
    values = next((op.attr(kind) for kind in kinds if op.attr(kind)), [])
    constant = np.array(values).reshape(op.attr("shape", [len(values)]))

    def run(tensors: Tensors, training: bool) -> None:
        tensors[out] = paddle.to_tensor(constant).astype(dtype)

    return run


def _split(op: Op) -> Run:
    from_tensors = {name: read for read, name in _attributes_from_tensors(op)}
    x, outs = op.input("X"), op.outputs["Out"]
    sections = list(op.attr("sections") or []) or len(outs)

    def run(tensors: Tensors, training: bool) -> None:
        sizes = from_tensors["sections"](tensors) if "sections" in from_tensors else sections
        axis = from_tensors["axis"](tensors) if "axis" in from_tensors else op.attr("axis", 0)
        tensors.update(zip(outs, paddle.split(tensors[x], sizes, axis=axis), strict=True))

    return run


def _set_value(op: Op) -> Run:
    """The entry for it in `_legacy_C_ops` aborts; the newer one takes the same arguments and works."""
    given, value, out = op.input("Input"), op.input("ValueTensor"), op.output("Out")
    slots = ("StartsTensorList", "EndsTensorList", "StepsTensorList")
    readers = [_integer_reader(op.inputs[slot], None) if op.inputs.get(slot) else None for slot in slots]
    ranges = [op.attr(name, []) for name in ("starts", "ends", "steps")]
    axes, dropped, added = (op.attr(name, []) for name in ("axes", "decrease_axes", "none_axes"))
    shape, constants = op.attr("shape", [1]), op.attr("values", [])
    if not value and "values" not in op.attrs:  # Paddle before 2.5 kept them in one attribute per type
        raise unsupported(op, "it keeps its values in the form that Paddle wrote before 2.5")

    def run(tensors: Tensors, training: bool) -> None:
        limits = [reader(tensors) if reader else fixed for reader, fixed in zip(readers, ranges, strict=True)]
        if value:
            tensors[out] = _C_ops.set_value_with_tensor(tensors[given], tensors[value], *limits, axes, dropped, added)
        else:
            tensors[out] = _C_ops.set_value(tensors[given], *limits, axes, dropped, added, shape, constants)

    return run


def _unpool(op: Op) -> Run:
    """The entry for it in `_legacy_C_ops` aborts; the newer one takes the same arguments and works."""
    x, indices, out = op.input("X"), op.input("Indices"), op.output("Out")
    sizes = [op.attr(name) for name in ("ksize", "strides", "paddings", "output_size")]
    layout = op.attr("data_format", "NCHW")

    def run(tensors: Tensors, training: bool) -> None:
        tensors[out] = _C_ops.unpool(tensors[x], tensors[indices], *sizes, layout)

    return run


_SPECIAL: dict[str, Callable[[Op], Run]] = {
    "batch_norm": _batch_norm,
    "sync_batch_norm": _batch_norm,
    "concat": _concat,
    "assign_value": _assign_value,
    "dropout": _dropout,
    "fill_constant": _fill_constant,
    "set_value": _set_value,
    "split": _split,
    "unpool": _unpool,
}
