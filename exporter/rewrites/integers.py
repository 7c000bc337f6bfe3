"""Rewrites integer arithmetic that a target lacks or computes wrongly with floats or integer-valued steps.

Exact below 2^24, which covers the values these operators process: box counts, sizes, class indices.
"""

from __future__ import annotations

from segexport.exporter.framework_proto import DTYPE_CODE
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, LITE_ARM, ONNX, EachOperator, OpBuilder, Target

_INTEGERS = ("int32", "int64")
_UNARY = ("abs", "clip", "square", "reduce_sum", "reduce_mean")  # they return floats, and sums are wrong
_MOVES = ("flip", "roll", "tril_triu")  # they say that they return floats, whose bits are those of integers
_RESIZES = ("nearest_interp_v2", "nearest_interp")  # for int32 they return floats
_EXTREMES = ("elementwise_min", "elementwise_max")  # ARM kernels do not support integers


class IntegersAsFloats(EachOperator):
    """Casts to float before the operator and back after it."""

    name = "integers_as_floats"
    version = "3"
    what = "of integers"
    became = "computed as float"

    def __init__(self, target: Target) -> None:
        self.targets = frozenset({target})
        self._types = () if target == ONNX else _UNARY + _MOVES + (_EXTREMES if target == LITE_ARM else ())
        self._of_int32 = ("tril_triu",) if target == ONNX else _RESIZES  # ONNX Runtime has a kernel for int64 only

    def takes(self, program: Program, op: Op) -> bool:
        dtype = program.dtype(op.input("X") or "") if op.input("X") else ""
        return dtype in _INTEGERS if op.type in self._types else dtype == "int32" and op.type in self._of_int32

    def change(self, program: Program, op: Op) -> None:
        for slot, names in op.inputs.items():
            if slot != "X" and op.type in _RESIZES:  # sizes
                continue
            for index, name in enumerate(names):
                number = program.add_var(f"{name}.float", program.shape(name), "float32")
                program.insert_before(op, _cast(program, name, number))
                names[index] = number
        out = op.output("Out") or ""
        number = program.add_var(f"{out}.float", program.shape(out), "float32")
        op.outputs["Out"] = [number]
        program.insert_after(op, _cast(program, number, out))


class ScaleOfIntegers(EachOperator):
    """Truncates scale and bias to integers first, as Paddle does."""

    name = "scale_of_integers"
    version = "1"
    targets = frozenset({ONNX})
    what = "scale"
    became = "given whole numbers"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "scale" or program.dtype(op.input("X") or "") not in _INTEGERS:
            return False
        return any(op.attr(name, 0.0) % 1 for name in ("scale", "bias"))

    def change(self, program: Program, op: Op) -> None:
        for name in ("scale", "bias"):
            op.set_attr(name, float(int(op.attr(name, 0.0))))


class FloorDivision(EachOperator):
    """Rounds quotients down and gives remainders the divisor's sign, as Paddle does.

    Paddle-Lite rounds towards zero, and divides int64 wrongly.
    """

    name = "floor_division"
    version = "1"
    targets = LITE
    what = "of division"
    became = "written as a quotient that is rounded down"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type == "elementwise_mod":
            return program.dtype(op.input("X") or "") == "int64"
        return op.type == "elementwise_floordiv"

    def change(self, program: Program, op: Op) -> None:
        out, axis = op.output("Out") or "", op.attr("axis", -1)
        dims, dtype = program.shape(out), program.dtype(out)
        build = OpBuilder(program, f"{out}.part")
        x, y = (_as_float(program, build, op.input(slot) or "") for slot in ("X", "Y"))
        is_float, is_quotient = dtype == "float32", op.type == "elementwise_floordiv"
        quotient = build.add("elementwise_div", {"X": x, "Y": y}, dims, axis=axis)
        found = build.add("floor", {"X": quotient}, dims, out=out if is_float and is_quotient else None)
        if not is_quotient:
            product = build.add("elementwise_mul", {"X": found, "Y": y}, dims, axis=axis)
            found = build.add("elementwise_sub", {"X": x, "Y": product}, dims, out=out if is_float else None, axis=-1)
        if not is_float:
            build.cast(found, dims, dtype, out=out)
        program.replace(op, *build.ops)


def _as_float(program: Program, build: OpBuilder, name: str) -> str:
    return name if program.dtype(name) == "float32" else build.cast(name, program.shape(name), "float32")


def _cast(program: Program, source: str, out: str) -> Op:
    op = Op("cast", {"X": [source]}, {"Out": [out]})
    op.set_attr("in_dtype", DTYPE_CODE[program.dtype(source)], "INT")
    op.set_attr("out_dtype", DTYPE_CODE[program.dtype(out)], "INT")
    return op
