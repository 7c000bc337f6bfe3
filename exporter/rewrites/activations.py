"""Rewrites activations that a converter lacks or converts wrongly as supported arithmetic.

Each formula is the activation's definition. paddle2onnx drops `beta` of softplus and writes the exact GELU for the tanh
approximation; Paddle-Lite on x86 does the latter too. ONNX rounds halves to even, Paddle away from zero. Paddle-Lite
computes a leaky ReLU as max(x, alpha * x), and indexes a PReLU's per-element alpha across the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, prod
from typing import Any

from segexport.exporter.converters import CONVERTERS
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE_X86, ONNX, EachOperator, OpBuilder, Target, count

_SOFTPLUS_IS_LINEAR = 15.0  # from here on, log(1 + exp(x)) is x to float32
_GELU_SLOPE, _GELU_CUBIC = 1.5957691216057308, 0.044715  # 2 * sqrt(2 / pi); Hendrycks and Gimpel 2016


class ActivationsToArithmetic(EachOperator):
    """Rewrites the activations that a converter does not support."""

    name = "activations_to_arithmetic"
    version = "6"

    def __init__(self, target: Target) -> None:
        self.targets = frozenset({target})
        self._known = CONVERTERS[target].operators

    def takes(self, program: Program, op: Op) -> bool:
        return self._changes(program, op)

    def change(self, program: Program, op: Op) -> None:
        build = _Arithmetic(program, op)
        _FORMULAS[op.type](build, op)
        program.replace(op, *build.ops)

    def notes(self, changed: list[Op]) -> list[str]:
        types = sorted({op.type for op in changed})
        return [
            f"{count(len([op for op in changed if op.type == kind]), kind)} written as arithmetic" for kind in types
        ]

    def _changes(self, program: Program, op: Op) -> bool:
        if op.type not in _FORMULAS or program.dtype(op.input("X") or "") != "float32":
            return False
        if op.type == "abs":  # after an elementwise operator, Paddle-Lite fuses it into one that x86 lacks
            return LITE_X86 in self.targets
        if op.type == "gelu":
            return bool(op.attr("approximate", False))
        if op.type == "leaky_relu":
            return op.attr("alpha", 0.02) > 1 and ONNX not in self.targets
        if op.type == "prelu":
            return op.attr("mode") == "element" and ONNX not in self.targets
        if op.type == "round":
            return ONNX in self.targets
        if op.type == "softshrink":  # MNN computes ONNX's Shrink wrongly
            return True
        if op.type == "maxout":
            return -1 not in program.shape(op.output("Out") or "")
        if op.type == "logsigmoid":  # paddle2onnx writes log(sigmoid(x)); sigmoid underflows to 0 below -104
            return True
        if op.type == "softplus":
            beta, threshold = op.attr("beta", 1.0), op.attr("threshold", 20.0)
            return beta != 1.0 and threshold >= _SOFTPLUS_IS_LINEAR
        return op.type not in self._known


class _Arithmetic(OpBuilder):
    """Builds elementwise operators on tensors of one shape; the last call writes the activation's output."""

    def __init__(self, program: Program, op: Op) -> None:
        super().__init__(program, f"{op.output('Out')}.part")
        self.x, self._out = op.input("X") or "", op.output("Out") or ""
        self._dims = program.shape(self.x)

    def one(self, kind: str, x: str, *, last: bool = False, **attrs: Any) -> str:
        """Adds an operator on one tensor."""
        return self.add(kind, {"X": x}, self._dims, out=self._out if last else None, **attrs)

    def two(self, kind: str, x: str, y: str, *, last: bool = False) -> str:
        """Adds an elementwise operator on two tensors."""
        return self.add(f"elementwise_{kind}", {"X": x, "Y": y}, self._dims, out=self._out if last else None, axis=-1)

    def line(self, x: str, scale: float, bias: float = 0.0, *, last: bool = False) -> str:
        """x * scale + bias."""
        return self.one("scale", x, last=last, scale=float(scale), bias=float(bias), bias_after_scale=True)

    def compared(self, kind: str, x: str, limit: float) -> str:
        """1.0 for elements where the comparison of `x` with `limit` is true, else 0.0."""
        hit = self.add(kind, {"X": x, "Y": self.constant(limit)}, self._dims, "bool", axis=-1)
        return self.cast(hit, self._dims, "float32")

    def expm1(self, x: str) -> str:
        """exp(x) - 1."""
        return self.line(self.one("exp", x), 1.0, -1.0)

    def is_true(self, kind: str, x: str, y: str) -> str:
        """1 for elements where the comparison of `x` with `y` is true, else 0."""
        return self.cast(self.add(kind, {"X": x, "Y": y}, self._dims, "bool", axis=-1), self._dims, "float32")

    def largest_of_groups(self, axis: int, groups: int) -> None:
        """Writes the maxima over `groups` neighbours along an axis."""
        axis %= len(self._dims)
        out = (*self._dims[:axis], self._dims[axis] // groups, *self._dims[axis + 1 :])
        lines = (prod(out[: axis + 1]), groups, prod(out[axis + 1 :]))
        attrs = {"dim": [1], "keep_dim": False, "reduce_all": False, "in_dtype": -1, "out_dtype": -1}
        largest = self.add("reduce_max", {"X": self.reshape(self.x, lines)}, (lines[0], lines[2]), **attrs)
        self.reshape(largest, out, out=self._out)

    def below(self, x: str) -> str:
        """min(x, 0), as -relu(-x)."""
        return self.line(self.one("relu", self.line(x, -1.0)), -1.0)


def _celu(b: _Arithmetic, op: Op) -> None:
    alpha = op.attr("alpha", 1.0)
    below = b.line(b.expm1(b.line(b.below(b.x), 1.0 / alpha)), alpha)
    b.two("add", b.one("relu", b.x), below, last=True)


def _selu(b: _Arithmetic, op: Op) -> None:
    scale, alpha = op.attr("scale", 1.0507009873554805), op.attr("alpha", 1.6732632423543772)
    below = b.line(b.expm1(b.below(b.x)), scale * alpha)
    b.two("add", b.line(b.one("relu", b.x), scale), below, last=True)


def _abs(b: _Arithmetic, _op: Op) -> None:
    b.two("add", b.one("relu", b.x), b.one("relu", b.line(b.x, -1.0)), last=True)


def _sign(b: _Arithmetic, _op: Op) -> None:
    zero = b.constant(0.0)
    b.two("sub", b.is_true("greater_than", b.x, zero), b.is_true("less_than", b.x, zero), last=True)


def _softsign(b: _Arithmetic, _op: Op) -> None:
    magnitude = b.two("add", b.one("relu", b.x), b.one("relu", b.line(b.x, -1.0)))
    b.two("div", b.x, b.line(magnitude, 1.0, 1.0), last=True)


def _tanh_shrink(b: _Arithmetic, _op: Op) -> None:
    b.two("sub", b.x, b.one("tanh", b.x), last=True)


def _softshrink(b: _Arithmetic, op: Op) -> None:
    width = op.attr("lambda", 0.5)
    above = b.one("relu", b.line(b.x, 1.0, -width))
    b.two("sub", above, b.one("relu", b.line(b.x, -1.0, -width)), last=True)


def _hard_shrink(b: _Arithmetic, op: Op) -> None:
    width = op.attr("threshold", 0.5)
    magnitude = b.two("add", b.one("relu", b.x), b.one("relu", b.line(b.x, -1.0)))
    b.two("mul", b.x, b.compared("greater_than", magnitude, width), last=True)


def _maxout(b: _Arithmetic, op: Op) -> None:
    """The largest of each `groups` channels that follow each other."""
    b.largest_of_groups(op.attr("axis", 1), op.attr("groups"))


def _logsigmoid(b: _Arithmetic, _op: Op) -> None:
    """min(x, 0) - log(1 + exp(-|x|)), which never overflows."""
    up, down = b.one("relu", b.x), b.one("relu", b.line(b.x, -1.0))
    tail = b.one("log", b.line(b.one("exp", b.line(b.two("add", up, down), -1.0)), 1.0, 1.0))
    b.line(b.two("add", down, tail), -1.0, last=True)


def _clipped(b: _Arithmetic, op: Op) -> None:
    b.one("clip", b.x, last=True, min=float(op.attr("t_min", 0.0)), max=float(op.attr("t_max", 24.0)))


def _softplus(b: _Arithmetic, op: Op) -> None:
    beta = op.attr("beta")
    b.line(b.one("softplus", b.line(b.x, beta), beta=1.0, threshold=20.0), 1.0 / beta, last=True)


def _leaky_relu(b: _Arithmetic, op: Op) -> None:
    below = b.line(b.one("relu", b.line(b.x, -1.0)), op.attr("alpha", 0.02))
    b.two("sub", b.one("relu", b.x), below, last=True)


def _prelu(b: _Arithmetic, op: Op) -> None:
    below = b.two("mul", b.one("relu", b.line(b.x, -1.0)), op.input("Alpha") or "")
    b.two("sub", b.one("relu", b.x), below, last=True)


def _round(b: _Arithmetic, _op: Op) -> None:
    """sign(x) * (floor(|x|) + 1), without the 1 where the fractional part is below one half."""
    magnitude = b.one("abs", b.x)
    whole = b.one("floor", magnitude)
    is_up = b.compared("greater_equal", b.two("sub", magnitude, whole), 0.5)
    b.two("mul", b.one("sign", b.x), b.two("add", whole, is_up), last=True)


def _gelu(b: _Arithmetic, _op: Op) -> None:
    """x * sigmoid(2 * u), which equals x / 2 * (1 + tanh(u))."""
    cubic = b.line(b.two("mul", b.x, b.x), _GELU_SLOPE * _GELU_CUBIC, _GELU_SLOPE)
    b.two("mul", b.x, b.one("sigmoid", b.two("mul", b.x, cubic)), last=True)


def _trunc(b: _Arithmetic, _op: Op) -> None:
    """floor(max(x, 0)) - floor(max(-x, 0))."""
    up, down = b.one("floor", b.one("relu", b.x)), b.one("floor", b.one("relu", b.line(b.x, -1.0)))
    b.two("sub", up, down, last=True)


def _expm1(b: _Arithmetic, _op: Op) -> None:
    b.line(b.one("exp", b.x), 1.0, -1.0, last=True)


def _log1p(b: _Arithmetic, _op: Op) -> None:
    b.one("log", b.line(b.x, 1.0, 1.0), last=True)


def _log2(b: _Arithmetic, _op: Op) -> None:
    b.line(b.one("log", b.x), 1 / log(2), last=True)


def _log10(b: _Arithmetic, _op: Op) -> None:
    b.line(b.one("log", b.x), 1 / log(10), last=True)


_FORMULAS: dict[str, Callable[[_Arithmetic, Op], None]] = {
    "abs": _abs,
    "celu": _celu,
    "selu": _selu,
    "sign": _sign,
    "softsign": _softsign,
    "tanh_shrink": _tanh_shrink,
    "softshrink": _softshrink,
    "hard_shrink": _hard_shrink,
    "maxout": _maxout,
    "logsigmoid": _logsigmoid,
    "brelu": _clipped,
    "softplus": _softplus,
    "gelu": _gelu,
    "leaky_relu": _leaky_relu,
    "prelu": _prelu,
    "round": _round,
    "trunc": _trunc,
    "expm1": _expm1,
    "log1p": _log1p,
    "log2": _log2,
    "log10": _log10,
}
