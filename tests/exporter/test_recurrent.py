"""LSTM and GRU through both exporters; forms of them that come out wrong are refused."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import Graph
from toolchain import Toolchain

from segexport.errors import UnsupportedModelError
from segexport.exporter import rewrites
from segexport.exporter.program import Program
from segexport.exporter.rewrites.base import LITE_X86, ONNX
from segexport.exporter.shapes import fix_input_shape

STEPS, BATCH, INS, HIDDEN = 5, 2, 4, 3
FEED = [np.random.default_rng(1).normal(size=(STEPS, BATCH, INS)).astype(np.float32)]
GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1}


def recurrent(
    mode: str, *, layers: int = 1, both_ways: bool = False, lengths: bool = False, last_state: bool = False
) -> Program:
    """`last_state`: the output is the state behind the last step, in place of every step's."""
    graph = Graph()
    image = graph.feed(STEPS, BATCH, INS)
    ways, rows = 2 if both_ways else 1, GATES[mode] * HIDDEN
    weights, biases = [], []
    for layer in range(layers):
        for _ in range(ways):
            weights += [graph.noise(rows, HIDDEN * ways if layer else INS), graph.noise(rows, HIDDEN)]
            biases += [graph.noise(rows), graph.noise(rows)]
    states = [graph.noise(layers * ways, BATCH, HIDDEN) for _ in range(2 if mode == "LSTM" else 1)]
    inputs = {"Input": image, "PreState": states, "WeightList": weights + biases}
    if lengths:
        inputs["SequenceLength"] = graph.param([STEPS, STEPS - 2], "int32")
    dims = {"Out": (STEPS, BATCH, HIDDEN * ways), "State": (layers * ways, BATCH, HIDDEN), "DropoutState": ()}
    attrs = {"input_size": INS, "hidden_size": HIDDEN, "num_layers": layers, "mode": mode, "is_bidirec": both_ways}
    out = graph.op("rnn", inputs, dims | {"Reserve": ()}, dropout_prob=0.0, seed=0, is_test=True, **attrs)
    op = graph.last()
    state = op.outputs["State"][0]
    op.outputs["State"] += [graph.twin(state) for _ in states[1:]]
    return graph.program(state if last_state else out)


@pytest.mark.parametrize("mode", ["LSTM", "GRU"])
@pytest.mark.parametrize("form", [{}, {"layers": 2, "both_ways": True}], ids=["one layer", "two, both ways"])
@pytest.mark.parametrize("target", [ONNX, LITE_X86])
def test_every_step_is_what_paddle_gives(mode: str, form: dict, target: str, tools: Toolchain) -> None:
    program = recurrent(mode, **form)
    (expected,) = tools.paddle(program, FEED)
    changed, _ = rewrites.rewrite_for(target, program)
    (found,) = (tools.onnx if target == ONNX else tools.lite)(changed, FEED)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5


def test_the_last_state_of_one_layer_in_onnx(tools: Toolchain) -> None:
    program = recurrent("GRU", both_ways=True, last_state=True)
    (expected,) = tools.paddle(program, FEED)
    (found,) = tools.onnx(rewrites.rewrite_for(ONNX, program)[0], FEED)
    assert np.abs(found - expected).max() <= 1e-5


@pytest.mark.parametrize(
    ("target", "form", "cause"),
    [
        (ONNX, {"mode": "RNN_TANH"}, "exporters support LSTM and GRU only"),
        (LITE_X86, {"mode": "RNN_TANH"}, "exporters support LSTM and GRU only"),
        (ONNX, {"mode": "GRU", "lengths": True}, "exporters ignore the length of each sequence"),
        (LITE_X86, {"mode": "LSTM", "last_state": True}, "Paddle-Lite does not write its last state, which is read"),
        (
            ONNX,
            {"mode": "LSTM", "layers": 2, "last_state": True},
            "paddle2onnx returns the state of the last layer only",
        ),
    ],
)
def test_what_would_come_out_wrong_is_refused(target: str, form: dict, cause: str) -> None:
    with pytest.raises(UnsupportedModelError, match=r"^rnn \(layer .*weight.*\) cannot be exported") as caught:
        rewrites.rewrite_for(target, recurrent(**form))
    assert caught.value.cause == cause


def test_its_sizes_follow_those_of_its_input() -> None:
    program = recurrent("GRU", both_ways=True)
    (image,) = program.feed_names
    for name in (image, program.ops[1].output("Out") or ""):
        program.vars[name].dims = (-1, -1, INS)
    fixed = fix_input_shape(program, {image: (7, 1, INS)})
    assert fixed.shape(fixed.fetch_names[0]) == (7, 1, 2 * HIDDEN)
