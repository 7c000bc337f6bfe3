"""LiteRT's forms of ONNX's elementwise operators. Each function writes `graph.node`."""

from __future__ import annotations

import numpy as np
from litert_arithmetic import Rule, Steps, alias, common_order
from litert_graph import LiteRtGraph


def elements(kind: str, **options) -> Rule:
    """The rule for an elementwise operator with one input, or several that are broadcast."""

    def rule(graph: LiteRtGraph) -> None:
        rank, order = common_order(graph)
        inputs = [graph.read(name, order, rank) for name in graph.node.inputs]
        graph.write(kind, inputs, order, **options)

    return rule


def chain(kind: str, *, mean: bool = False) -> Rule:
    """The rule for any number of inputs, combined in pairs; `mean`: divides by their number."""

    def rule(graph: LiteRtGraph) -> None:
        names = graph.node.inputs
        if len(names) == 1:
            return alias(graph)
        rank, order = common_order(graph)
        total, *others, last = [graph.read(name, order, rank) for name in names]
        shape, dtype = [graph.shape(graph.node.outputs[0])[axis] for axis in order], graph.source.dtypes[names[0]]
        for other in others:
            total = graph.temporary(kind, [total, other], shape, dtype)
        if not mean:
            graph.write(kind, [total, last], order)
            return None
        total = graph.temporary(kind, [total, last], shape, dtype)
        share = graph.file.constant("share", np.array([1 / len(names)], np.float32))
        graph.write("MUL", [total, share], order)
        return None

    return rule


def clip(graph: LiteRtGraph) -> None:
    node = graph.node
    if any(name and graph.value(name) is None for name in node.inputs[1:3]):
        return _clip_computed(graph)
    limits = [graph.attribute("min"), graph.attribute("max")]
    for place, name in enumerate(node.inputs[1:3]):
        if name:
            limits[place] = graph.required(name, "limit").item()
    low, high = limits
    node.inputs = node.inputs[:1]
    known = {(0, None): "RELU", (0, 6): "RELU6", (-1, 1): "RELU_N1_TO_1", (0, 1): "RELU_0_TO_1"}
    low = None if low is not None and low <= np.finfo(np.float32).min else low
    high = None if high is not None and high >= np.finfo(np.float32).max else high
    if (low, high) in known and graph.source.dtypes[node.inputs[0]] == "float32":
        return elements(known[low, high])(graph)
    order = graph.order(node.inputs[0])
    given, dtype = graph.read(node.inputs[0], order), graph.source.dtypes[node.inputs[0]]
    parts = [(kind, limit) for kind, limit in (("MAXIMUM", low), ("MINIMUM", high)) if limit is not None]
    shape = [graph.shape(node.inputs[0])[axis] for axis in order]
    for index, (kind, limit) in enumerate(parts):
        inputs = [given, graph.file.constant("limit", np.array([limit], dtype))]
        if index < len(parts) - 1:
            given = graph.temporary(kind, inputs, shape, dtype)
        else:
            graph.write(kind, inputs, order)
    if not parts:
        alias(graph)
    return None


def _clip_computed(graph: LiteRtGraph) -> None:
    """Clips to computed limits, each one number."""
    x, *limits = graph.node.inputs
    order, rank = graph.order(x), len(graph.shape(x))
    given, shape, dtype = graph.read(x, order), [graph.shape(x)[axis] for axis in order], graph.source.dtypes[x]
    for kind, name in zip(("MAXIMUM", "MINIMUM"), limits, strict=False):
        if name:
            given = graph.temporary(kind, [given, graph.read(name, order, rank)], shape, dtype)
    graph.same(given, order)


def hard_sigmoid(graph: LiteRtGraph) -> None:
    steps = Steps(graph)
    scaled = steps("MUL", steps.x, float(graph.attribute("alpha", 0.2)))
    steps("RELU_0_TO_1", steps("ADD", scaled, float(graph.attribute("beta", 0.5))), last=True)


def _softplus(steps: Steps, *, last: bool = False) -> int:
    """max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    small = steps("EXP", steps("NEG", steps("ABS", steps.x)))
    return steps("ADD", steps("RELU", steps.x), steps("LOG", steps("ADD", small, 1.0)), last=last)


def softplus(graph: LiteRtGraph) -> None:
    _softplus(Steps(graph), last=True)


def mish(graph: LiteRtGraph) -> None:
    steps = Steps(graph)
    steps("MUL", steps.x, steps("TANH", _softplus(steps)), last=True)


def erf(graph: LiteRtGraph) -> None:
    """Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26; the error is at most 1.5e-7."""
    steps = Steps(graph)
    size = steps("ABS", steps.x)
    t = steps("DIV", steps.number(1.0), steps("ADD", steps("MUL", size, 0.3275911), 1.0))
    total = steps("MUL", t, 1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        total = steps("MUL", steps("ADD", total, factor), t)
    bell = steps("EXP", steps("NEG", steps("MUL", steps.x, steps.x)))
    positive = steps("SUB", steps.number(1.0), steps("MUL", total, bell))
    steps("MUL", steps("SIGN", steps.x), positive, last=True)


def reciprocal(graph: LiteRtGraph) -> None:
    steps = Steps(graph)
    steps("DIV", steps.number(1.0), steps.x, last=True)


def softsign(graph: LiteRtGraph) -> None:
    steps = Steps(graph)
    steps("DIV", steps.x, steps("ADD", steps("ABS", steps.x), 1.0), last=True)


def selu(graph: LiteRtGraph) -> None:
    """gamma * (max(x, 0) + alpha * (exp(min(x, 0)) - 1))"""
    steps = Steps(graph)
    alpha, gamma = graph.attribute("alpha", 1.6732632), graph.attribute("gamma", 1.0507010)
    below = steps("SUB", steps("EXP", steps("MINIMUM", steps.x, 0.0)), 1.0)
    steps("MUL", steps("ADD", steps("RELU", steps.x), steps("MUL", below, float(alpha))), float(gamma), last=True)


def hyperbolic(kind: str) -> Rule:
    """sinh, cosh: (exp(x) -+ exp(-x)) / 2"""

    def rule(graph: LiteRtGraph) -> None:
        steps = Steps(graph)
        both = steps(kind, steps("EXP", steps.x), steps("EXP", steps("NEG", steps.x)))
        steps("MUL", both, 0.5, last=True)

    return rule


def tangent(graph: LiteRtGraph) -> None:
    steps = Steps(graph)
    steps("DIV", steps("SIN", steps.x), steps("COS", steps.x), last=True)


def elu(graph: LiteRtGraph) -> None:
    """LiteRT's alpha is 1; another one: max(x, 0) + alpha * (exp(min(x, 0)) - 1)"""
    alpha = graph.attribute("alpha", 1.0)
    if alpha == 1.0:
        elements("ELU")(graph)
        return
    steps = Steps(graph)
    below = steps("SUB", steps("EXP", steps("MINIMUM", steps.x, 0.0)), 1.0)
    steps("ADD", steps("RELU", steps.x), steps("MUL", below, float(alpha)), last=True)


def leaky_relu(graph: LiteRtGraph) -> None:
    elements("LEAKY_RELU", alpha=float(graph.attribute("alpha", 0.01)))(graph)


def p_relu(graph: LiteRtGraph) -> None:
    x, slope = graph.node.inputs
    rank = len(graph.shape(x))
    order = graph.order(x)
    value = graph.required(slope, "slope")
    value = value.reshape((1,) * (rank - value.ndim) + value.shape).transpose(order)
    if value.shape[0] != 1:
        raise graph.unsupported("a slope for each image of the batch")
    graph.write("PRELU", [graph.read(x, order), graph.constant(value[0], slope)], order)


def power(graph: LiteRtGraph) -> None:
    x, exponent = graph.node.inputs
    value = graph.value(exponent)
    kinds = {2.0: "SQUARE", 0.5: "SQRT", -0.5: "RSQRT"}
    is_float = graph.source.dtypes[x] == "float32"
    if is_float and value is not None and value.size == 1 and float(value.item()) in kinds:
        graph.node.inputs = [x]
        return elements(kinds[float(value.item())])(graph)
    return elements("POW")(graph)


def shrink(graph: LiteRtGraph) -> None:
    """sign(x) * (|x| - bias) if |x| is above lambd, else 0"""
    steps, limit, bias = Steps(graph), float(graph.attribute("lambd", 0.5)), float(graph.attribute("bias", 0.0))
    size = steps("ABS", steps.x)
    left = steps("MUL", steps("SIGN", steps.x), steps("SUB", size, bias))
    steps("MUL", left, steps.above(size, limit), last=True)


def thresholded_relu(graph: LiteRtGraph) -> None:
    steps = Steps(graph)
    steps("MUL", steps.x, steps.above(steps.x, float(graph.attribute("alpha", 1.0))), last=True)


def cast(graph: LiteRtGraph) -> None:
    before, after = (graph.source.dtypes[one] for one in (graph.node.inputs[0], graph.node.outputs[0]))
    wide = {"int64": "int32", "float64": "float32"}
    if wide.get(before, before) == wide.get(after, after):
        return alias(graph)
    return elements("CAST")(graph)


def triangle(graph: LiteRtGraph) -> None:
    x, *diagonal = graph.node.inputs
    order, shape = graph.order(x), graph.shape(x)
    k = int(graph.required(diagonal[0], "diagonal").item()) if diagonal and diagonal[0] else 0
    cut = np.triu if graph.attribute("upper", 1) else np.tril
    mask = cut(np.ones(shape[-2:], graph.source.dtypes[x]), k).reshape((1,) * (len(shape) - 2) + shape[-2:])
    graph.write("MUL", [graph.read(x, order), graph.constant(mask.transpose(order), f"{x}.mask")], order)


RULES: dict[str, Rule] = {
    **{
        one: elements(kind)
        for one, kind in {
            "Abs": "ABS", "Add": "ADD", "And": "LOGICAL_AND", "Ceil": "CEIL", "Cos": "COS", "Div": "DIV",
            "Equal": "EQUAL", "Exp": "EXP", "Floor": "FLOOR", "Gelu": "GELU", "Greater": "GREATER",
            "GreaterOrEqual": "GREATER_EQUAL", "HardSwish": "HARD_SWISH", "Less": "LESS",
            "LessOrEqual": "LESS_EQUAL", "Log": "LOG", "Mod": "FLOOR_MOD", "Mul": "MUL", "Neg": "NEG",
            "Not": "LOGICAL_NOT", "Or": "LOGICAL_OR", "Relu": "RELU", "Round": "ROUND", "Sigmoid": "LOGISTIC",
            "Sign": "SIGN", "Sin": "SIN", "Sqrt": "SQRT", "Sub": "SUB", "Tanh": "TANH", "Where": "SELECT_V2",
            "Xor": "NOT_EQUAL",
        }.items()
    },
    "Cast": cast, "Clip": clip, "Cosh": hyperbolic("ADD"), "Elu": elu, "Erf": erf, "HardSigmoid": hard_sigmoid,
    "LeakyRelu": leaky_relu, "Max": chain("MAXIMUM"), "Mean": chain("ADD", mean=True), "Min": chain("MINIMUM"),
    "Mish": mish, "PRelu": p_relu, "Pow": power, "Reciprocal": reciprocal, "Selu": selu, "Shrink": shrink,
    "Sinh": hyperbolic("SUB"), "Softplus": softplus, "Softsign": softsign, "Sum": chain("ADD"), "Tan": tangent,
    "ThresholdedRelu": thresholded_relu, "Trilu": triangle,
}  # fmt: skip
