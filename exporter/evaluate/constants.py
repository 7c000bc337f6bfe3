"""Rules for operators that create tensors from attributes or sizes."""

from __future__ import annotations

import numpy as np

from segexport.exporter.evaluate.rule import Inputs, Rule, bounded, dtype_of, int_list, only
from segexport.exporter.program import Op


def _fill_constant(op: Op, inputs: Inputs) -> np.ndarray:
    dims = bounded(int_list(op, inputs, "shape", "ShapeTensor", "ShapeTensorList"))
    text = op.attr("str_value", "")
    if inputs.get("ValueTensor"):
        value = inputs["ValueTensor"][0].reshape(-1)[0]
    else:
        value = float(text) if text else op.attr("value", 0.0)
    dtype = dtype_of(op.attr("dtype"))
    if text and dtype.kind in "iu" and text.lstrip("-").isdigit():
        value = int(text)
    return np.full(dims, value).astype(dtype)


def _assign_value(op: Op, _inputs: Inputs) -> np.ndarray:
    dtype = dtype_of(op.attr("dtype"))
    key = {"bool": "bool_values", "int32": "int32_values", "int64": "int64_values", "float32": "fp32_values"}[
        str(dtype)
    ]
    values = op.attr(key) or op.attr("values") or []
    return np.array(values, dtype).reshape(bounded(op.attr("shape", [])))


def _range(_op: Op, inputs: Inputs) -> np.ndarray:
    start, end, step = (inputs[slot][0].reshape(-1)[0] for slot in ("Start", "End", "Step"))
    bounded([max(0, int(np.ceil((float(end) - float(start)) / float(step))))])
    return np.arange(start, end, step, dtype=inputs["Start"][0].dtype)


def _linspace(op: Op, inputs: Inputs) -> np.ndarray:
    """From both ends to the middle, as Paddle does it."""
    start, stop, count = (inputs[slot][0].reshape(-1)[0] for slot in ("Start", "Stop", "Num"))
    (count,) = bounded([count])
    dtype = dtype_of(op.attr("dtype", -1), inputs["Start"][0])
    if count == 1:
        return np.array([start], dtype)
    step, at = (np.float64(stop) - np.float64(start)) / (count - 1), np.arange(count)
    values = np.where(at < (count + 1) // 2, start + step * at, stop - step * (count - 1 - at))
    return values.astype(dtype)


def _eye(op: Op, _inputs: Inputs) -> np.ndarray:
    rows, columns = op.attr("num_rows"), op.attr("num_columns", -1)
    return np.eye(*bounded([rows, rows if columns < 0 else columns]), dtype=dtype_of(op.attr("dtype")))


def _shape(_op: Op, inputs: Inputs) -> np.ndarray:
    return np.array(only(inputs, "Input").shape, np.int32)


def _size(_op: Op, inputs: Inputs) -> np.ndarray:
    return np.array(only(inputs, "Input").size, np.int64)


def _fill_any_like(op: Op, inputs: Inputs) -> np.ndarray:
    x = only(inputs)
    return np.full(x.shape, op.attr("value", 0.0)).astype(dtype_of(op.attr("dtype", -1), x))


RULES: dict[str, Rule] = {
    "fill_constant": _fill_constant,
    "assign_value": _assign_value,
    "fill_any_like": _fill_any_like,
    "range": _range,
    "linspace": _linspace,
    "eye": _eye,
    "shape": _shape,
    "size": _size,
}
