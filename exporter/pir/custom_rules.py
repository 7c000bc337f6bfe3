"""Translates operators of Paddle 3 that a row of `rules` cannot express.

The legacy program computes or names them differently. A function takes the translation and the operator, and adds the
legacy operators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from segexport.exporter.pir.constants import CONSTANTS
from segexport.exporter.pir.file import PirOp
from segexport.exporter.pir.translation import Translation
from segexport.exporter.program import Attr


def _feed(t: Translation, op: PirOp) -> None:
    name = t.declare(op, 0, str(t.attr(op, "name")))
    t.program.vars[name].need_check_feed = True
    attrs = t.attributes(op, "shape dtype col:INT" if "col" in op.attrs else "shape dtype")
    t.emit(op, "feed", {"X": ["feed"]}, {"Out": [name]}, {"col": Attr("INT", len(t.program.feed_names))} | attrs)


def _fetch(t: Translation, op: PirOp) -> None:
    t.emit(op, "fetch", {"X": [t.tensor(op, 0)]}, {"Out": ["fetch"]}, t.attributes(op, "name col:INT"))


def _parameter(t: Translation, op: PirOp) -> None:
    """Declares a parameter under its own name: the order of the parameter file follows the names."""
    if not op.attrs["persistable"]:
        t.unsaved[t.result(op, 0)] = op.attrs["name"]
        return
    name = t.declare(op, 0, op.attrs["name"])
    if name != op.attrs["name"]:
        raise t.damaged(op, f"another variable has the name {op.attrs['name']!r}")
    var = t.program.vars[name]
    var.persistable = var.is_parameter = var.stop_gradient = True


# -- lists -----------------------------------------------------------------------------------------------------


def _combine(t: Translation, op: PirOp) -> None:
    number, count = t.result(op, 0), range(len(op.operands))
    t.lists[number] = [t.tensor(op, index) for index in count]
    values = [t.constant(op, index) for index in count]
    values = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values]
    if values and all(isinstance(value, (bool, int, float)) for value in values):
        t.constants[number] = values


def _item(t: Translation, op: PirOp) -> None:
    names, index = t.tensors(op, 0), t.typed(op, "INT", t.attr(op, "index")).value
    if not -len(names) <= index < len(names):
        raise t.damaged(op, f"item {index} of a list of {len(names)}")
    t.names[t.result(op, 0)] = names[index]


def _items(t: Translation, op: PirOp) -> None:
    names = t.tensors(op, 0)
    if len(names) != len(op.results):
        raise t.damaged(op, f"{len(op.results)} items of a list of {len(names)}")
    for index, name in enumerate(names):
        t.names[t.result(op, index)] = name


# -- other operators -------------------------------------------------------------------------------------------


def _batch_norm(t: Translation, op: PirOp) -> None:
    """The legacy operator lists the statistics as inputs and as outputs, although inference does not write them."""
    slots = ("X", "Mean", "Variance", "Scale", "Bias")
    inputs = {slot: [t.tensor(op, index)] for index, slot in enumerate(slots) if t.operand(op, index)}
    outputs = {"Y": [t.declare(op, 0)], "MeanOut": inputs["Mean"], "VarianceOut": inputs["Variance"]}
    outputs |= {"SavedMean": [t.declare(op, 3)], "SavedVariance": [t.declare(op, 4)]}
    t.names[t.result(op, 1)], t.names[t.result(op, 2)] = inputs["Mean"][0], inputs["Variance"][0]
    words = (
        "is_test:BOOLEAN momentum:FLOAT epsilon:FLOAT data_format>data_layout:STRING use_global_stats:BOOLEAN "
        "trainable_statistics:BOOLEAN"
    )
    t.emit(op, "batch_norm", inputs, outputs, t.attributes(op, words))


def _reduction(legacy: str, axis: str, type: str = "INTS", keepdim: str = "keepdim", drop: str = "") -> Callable:
    """Makes the rule of a reduction; no axes mean all axes. `axis`: operand or attribute with the axes."""

    def translate(t: Translation, op: PirOp) -> None:
        axes = t.attr(op, "axis") if axis == "attribute" else t.constant(op, 1)
        if axes is None:
            raise t.unsupported(op, "its axes are computed; the legacy operator takes constants")
        axes = t.typed(op, type, axes).value
        is_logsumexp = legacy == "logsumexp"
        words = f"{keepdim}>{'keepdim' if is_logsumexp else 'keep_dim'}:BOOLEAN {drop}"
        attrs = t.attributes(op, words + (" axis" if axis == "attribute" else ""))
        attrs["axis" if is_logsumexp else "dim"] = Attr(type, axes or [0])
        attrs["reduce_all"] = Attr("BOOLEAN", not axes or op.attrs.get("reduce_all") is True)
        if not is_logsumexp:
            dtype = op.attrs.get("dtype")
            found = -1 if dtype is None else t.typed(op, "DTYPE", dtype).value
            attrs |= {"in_dtype": Attr("INT", -1), "out_dtype": Attr("INT", found)}
        t.emit(op, legacy, {"X": [t.tensor(op, 0)]}, {"Out": [t.declare(op, 0)]}, attrs)

    return translate


def _shape(t: Translation, op: PirOp) -> None:
    """The legacy operator returns int32; a cast converts it to this operator's type."""
    dtype = op.results[0].types[0].dtype if op.results and op.results[0].types else ""
    if dtype == "int32":
        t.emit(op, "shape", {"Input": [t.tensor(op, 0)]}, {"Out": [t.declare(op, 0)]}, {})
        return
    out = t.declare(op, 0)
    sizes = t.new_var(f"{out}.int32", "int32", t.program.shape(out))
    t.emit(op, "shape", {"Input": [t.tensor(op, 0)]}, {"Out": [sizes]}, {})
    t.emit_cast(op, sizes, out)


def _cast(t: Translation, op: PirOp) -> None:
    t.attr(op, "dtype")  # marks it as read; the result's type is used
    t.emit_cast(op, t.tensor(op, 0), t.declare(op, 0))


def _strided_slice(t: Translation, op: PirOp) -> None:
    inputs = {"Input": [t.tensor(op, 0)]}
    attrs = t.attributes(op, "axes:INTS")
    is_constant = True
    for index, name in enumerate(("starts", "ends", "strides"), start=1):
        value = t.constant(op, index)
        is_constant &= value is not None
        if value is None:
            inputs[f"{name.capitalize()}Tensor"] = [t.tensor(op, index)]
        attrs[name] = t.typed(op, "BOUNDS", [] if value is None else value)
    attrs["ends"] = Attr("INTS", _ends(t, op, attrs))
    flag = 1 if is_constant else -1
    attrs |= {"infer_flags": Attr("INTS", [flag] * len(attrs["axes"].value)), "decrease_axis": Attr("INTS", [])}
    t.emit(op, "strided_slice", inputs, {"Out": [t.declare(op, 0)]}, attrs)


def _ends(t: Translation, op: PirOp, attrs: dict[str, Attr]) -> list[int]:
    """The slices' ends. For a negative stride, -1 is the last in Paddle 3, before the first in the legacy one."""
    found, dims = list(attrs["ends"].value), t.program.shape(t.tensor(op, 0))
    for index, (axis, stride) in enumerate(zip(attrs["axes"].value, attrs["strides"].value, strict=False)):
        if stride > 0 or index >= len(found) or found[index] >= 0:
            continue
        size = dims[axis] if -len(dims) <= axis < len(dims) else -1
        if size < 0 and found[index] > -(2**31):
            raise t.unsupported(op, f"it runs backwards to {found[index]} along an axis of unknown size")
        found[index] = max(found[index] + size, -1) if size >= 0 else -1
    return found


def _set_value(t: Translation, op: PirOp, first: int = 1) -> None:
    """Translates a write into a slice of a tensor. `first`: the number of the operand with the starts."""
    inputs = {"Input": [t.tensor(op, 0)]}
    words = "axes:LONGS decrease_axes:LONGS none_axes:LONGS"
    if first == 1:
        attrs = t.attributes(op, f"{words} shape:LONGS values:SCALARS")
    else:
        inputs["ValueTensor"] = [t.tensor(op, 1)]
        attrs = t.attributes(op, words) | {"shape": Attr("LONGS", [1])}
    for index, name in enumerate(("starts", "ends", "steps"), start=first):
        value = t.constant(op, index)
        if value is None:
            raise t.unsupported(op, f"its {name} are computed; the legacy operator takes constants")
        attrs[name] = t.typed(op, "LONGS", value)
    out = t.declare(op, 0)
    attrs["dtype"] = t.typed(op, "DTYPE", t.program.dtype(out))
    t.emit(op, "set_value", inputs, {"Out": [out]}, attrs)


def _set_value_with_tensor(t: Translation, op: PirOp) -> None:
    _set_value(t, op, first=2)


def _one_hot(t: Translation, op: PirOp) -> None:
    depth, inputs = t.constant(op, 1), {"X": [t.tensor(op, 0)]}
    if depth is None:
        inputs["depth_tensor"] = [t.tensor(op, 1)]
    attrs = {
        "depth": t.typed(op, "INT", 0 if depth is None else depth),
        "dtype": t.typed(op, "DTYPE", "float32"),
        "allow_out_of_range": Attr("BOOLEAN", False),
    }
    t.emit(op, "one_hot_v2", inputs, {"Out": [t.declare(op, 0)]}, attrs)


def _masked_fill(t: Translation, op: PirOp) -> None:
    """The legacy program has no masked_fill: `where` chooses between the tensor and a constant one."""
    x, mask, value = t.tensor(op, 0), t.tensor(op, 1), t.constant(op, 2)
    dims, dtype = t.program.shape(x), t.program.dtype(x)
    if not isinstance(value, (bool, int, float)) or t.program.shape(mask) != dims:
        raise t.unsupported(op, "its value is computed, or its mask has another size")
    filled = t.new_var(f"{x}.filled", dtype, dims)
    attrs = {"value": t.typed(op, "FLOAT", value), "dtype": t.typed(op, "DTYPE", dtype)}
    t.emit(op, "fill_any_like", {"X": [x]}, {"Out": [filled]}, attrs)
    t.emit(op, "where", {"Condition": [mask], "X": [filled], "Y": [x]}, {"Out": [t.declare(op, 0)]}, {})


def _deformable_conv(t: Translation, op: PirOp) -> None:
    """The legacy program has two operators: one with a mask, one without."""
    slots = ("Input", "Offset", "Filter", "Mask")
    inputs = {slot: [t.tensor(op, index)] for index, slot in enumerate(slots) if t.operand(op, index)}
    words = "strides:INTS paddings:INTS dilations:INTS deformable_groups:INT groups:INT im2col_step:INT"
    legacy = "deformable_conv" if "Mask" in inputs else "deformable_conv_v1"
    t.emit(op, legacy, inputs, {"Output": [t.declare(op, 0)]}, t.attributes(op, words))


SPECIAL: dict[str, Callable[[Any, PirOp], None]] = {
    **CONSTANTS,
    "p": _parameter,
    "data": _feed,
    "feed": _feed,
    "fetch": _fetch,
    "builtin.combine": _combine,
    "builtin.slice": _item,
    "builtin.split": _items,
    "batch_norm": _batch_norm,
    "sync_batch_norm": _batch_norm,
    "mean": _reduction("reduce_mean", "operand"),
    "sum": _reduction("reduce_sum", "operand", drop="dtype"),
    "max": _reduction("reduce_max", "operand"),
    "min": _reduction("reduce_min", "operand"),
    "prod": _reduction("reduce_prod", "operand", drop="reduce_all"),
    "any": _reduction("reduce_any", "attribute", "LONGS"),
    "all": _reduction("reduce_all", "attribute", "LONGS"),
    "amax": _reduction("reduce_amax", "attribute", "LONGS"),
    "amin": _reduction("reduce_amin", "attribute", "LONGS"),
    "logsumexp": _reduction("logsumexp", "attribute", drop="reduce_all"),
    "frobenius_norm": _reduction("frobenius_norm", "operand", keepdim="keep_dim", drop="reduce_all"),
    "shape": _shape,
    "shape64": _shape,
    "cast": _cast,
    "strided_slice": _strided_slice,
    "set_value": _set_value,
    "set_value_with_tensor": _set_value_with_tensor,
    "one_hot": _one_hot,
    "masked_fill": _masked_fill,
    "deformable_conv": _deformable_conv,
}
