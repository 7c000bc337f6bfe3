"""Small programs as PaddleSlim leaves them: two convolutions with a ReLU between, quantized in each of its forms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from graphs import Graph

from segexport.exporter.program import Program

SIDE = 32
LIMITS = {"image": 0.9, "middle": 3.0}  # magnitudes that activations are clipped to
_BITS = {"bit_length": 8, "is_test": True}


Rounds = Callable[[Graph, str, float], str]
Convolves = Callable[[Graph, str, np.ndarray], str]


def _network(rounds: Rounds, convolves: Convolves) -> Program:
    """The network; a form says how an activation of a magnitude, and a convolution's weight, are rounded."""
    graph, random = Graph(), np.random.default_rng(4)
    image = graph.feed(1, 3, SIDE, SIDE)
    found = graph.op("tanh", {"X": image}, (1, 3, SIDE, SIDE))
    for outs, ins, limit in ((8, 3, LIMITS["image"]), (4, 8, LIMITS["middle"])):
        weight = random.normal(size=(outs, ins, 3, 3)).astype(np.float32) / ins
        found = convolves(graph, rounds(graph, found, limit), weight)
        bias = graph.param(random.normal(size=(1, outs, 1, 1)) / 4)
        found = graph.op("elementwise_add", {"X": found, "Y": bias}, (1, outs, SIDE, SIDE), axis=-1)
        if outs == 8:
            found = graph.op("relu", {"X": found}, (1, outs, SIDE, SIDE))
    return graph.program(found)


def _conv(graph: Graph, image: str, weight: str, outs: int) -> str:
    attrs = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    return graph.op("conv2d", {"Input": image, "Filter": weight}, (1, outs, SIDE, SIDE), slot="Output", **attrs)


def _whole(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A weight as whole numbers, and each channel's magnitude."""
    limits = np.abs(weight).max(axis=(1, 2, 3))
    return np.rint(weight / limits.reshape(-1, 1, 1, 1) * 127), limits.astype(np.float32)


def _linear(graph: Graph, type: str, source: str, scale: str, count: int = 1, **attrs: object) -> str:
    """`count`: of the scales."""
    inputs = {"X": source, "Scale": scale, "ZeroPoint": graph.param(np.zeros(count), "int32")}
    given = {"quant_axis": -1, "bit_length": 8, "round_type": 0, "is_test": True, "only_observer": False} | attrs
    return graph.op(type, inputs, graph.shape(source), slot="Y", **given)


def onnx_format() -> Program:
    """PaddleSlim's newest form, with an operator that only watches."""

    def rounds(graph: Graph, source: str, limit: float) -> str:
        scale = graph.param(limit)
        whole = _linear(graph, "quantize_linear", source, scale)
        return _linear(graph, "dequantize_linear", whole, scale)

    def convolves(graph: Graph, image: str, weight: np.ndarray) -> str:
        whole, limits = _whole(weight)
        held = graph.param(whole, "int8")
        scale = graph.param(limits.reshape(1, -1))
        filter = _linear(graph, "dequantize_linear", held, scale, len(whole), quant_axis=0)
        found = _conv(graph, image, filter, len(whole))
        watched = graph.param(0.0)
        seen = _linear(graph, "quantize_linear", found, watched, only_observer=True)
        return _linear(graph, "dequantize_linear", seen, watched, only_observer=True)

    return _network(rounds, convolves)


def as_declared(program: Program) -> bytes:
    """The graph of a program in PaddleSlim's newest form, without the parameter file."""
    changed = program.copy()
    for op in changed.ops:
        if op.type in ("quantize_linear", "dequantize_linear"):
            weight, scale = changed.vars[op.input("X") or ""], changed.vars[op.input("Scale") or ""]
            scale.dims = (max(scale.dims, default=1),)
            if weight.persistable:
                weight.dtype = "float32"
    return changed.to_bytes()


def integers() -> Program:
    """The older form after training or calibration: whole numbers held as floats, divided behind the convolution."""
    magnitudes: list[str] = []

    def rounds(graph: Graph, source: str, limit: float) -> str:
        magnitudes.append(graph.param([limit]))
        found = graph.op(
            "fake_quantize_range_abs_max", {"X": source, "InScale": magnitudes[-1]}, graph.shape(source), **_BITS
        )
        graph.last().outputs["OutScale"] = [magnitudes[-1]]
        return found

    def convolves(graph: Graph, image: str, weight: np.ndarray) -> str:
        whole, limits = _whole(weight)
        found = _conv(graph, image, graph.param(whole), len(whole))
        inputs = {"X": found, "Scales": [graph.param(limits), magnitudes[-1]]}
        attrs = {"quant_bits": [8, 8], "quant_axis": 0, "x_num_col_dims": 1}
        return graph.op("fake_channel_wise_dequantize_max_abs", inputs, graph.shape(found), **attrs)

    return _network(rounds, convolves)


def integers_of_one_scale() -> Program:
    """The same with one scale for all channels of a weight."""
    magnitudes: list[str] = []

    def rounds(graph: Graph, source: str, limit: float) -> str:
        magnitudes.append(graph.param([limit]))
        kind = "fake_quantize_moving_average_abs_max"
        found = graph.op(kind, {"X": source, "InScale": magnitudes[-1]}, graph.shape(source), moving_rate=0.9, **_BITS)
        graph.last().outputs["OutScale"] = [magnitudes[-1]]
        return found

    def convolves(graph: Graph, image: str, weight: np.ndarray) -> str:
        limit = float(np.abs(weight).max())
        found = _conv(graph, image, graph.param(np.rint(weight / limit * 127)), len(weight))
        inputs = {"X": found, "Scale": magnitudes[-1]}
        return graph.op("fake_dequantize_max_abs", inputs, graph.shape(found), max_range=127 * 127 / limit)

    return _network(rounds, convolves)


def as_trained() -> Program:
    """As quantization-aware training leaves it: weights in float, rounded by an operator as activations are."""

    def rounds(graph: Graph, source: str, limit: float) -> str:
        scale = graph.param([limit])
        kind = "fake_quantize_dequantize_moving_average_abs_max"
        found = graph.op(kind, {"X": source, "InScale": scale}, graph.shape(source), moving_rate=0.9, **_BITS)
        graph.last().outputs["OutScale"] = [scale]
        return found

    def convolves(graph: Graph, image: str, weight: np.ndarray) -> str:
        sizes = {"Out": weight.shape, "OutScale": (len(weight),)}
        kind = "fake_channel_wise_quantize_dequantize_abs_max"
        filter = graph.op(kind, {"X": graph.param(weight)}, sizes, bit_length=8, quant_axis=0)
        return _conv(graph, image, filter, len(weight))

    return _network(rounds, convolves)


FORMS = {
    "onnx format": onnx_format,
    "integers": integers,
    "integers of one scale": integers_of_one_scale,
    "as trained": as_trained,
}
