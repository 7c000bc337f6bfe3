"""The search for the operator that a converter converts wrongly: it finds it, and converts little."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from graphs import Graph
from installed import require
from workshop import Workshop

from segexport.artifact import ModelArtifact
from segexport.exporter import first_wrong as search
from segexport.exporter.program import Program
from segexport.exporter.same_as_source import made_inputs, outputs_of
from segexport.pipeline.registry import make_step
from segexport.pipeline.step import StepContext
from segexport.runtimes.ort import OnnxRuntime

BLOCKS = 20


def network() -> Program:
    """Blocks of a convolution, a ReLU and a sum with what the block was given, and a skip connection over all."""
    random, graph = np.random.default_rng(1), Graph()
    convolution = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1}
    convolution |= {"padding_algorithm": "EXPLICIT", "data_format": "NCHW"}
    shape = (1, 4, 32, 32)

    def convolved(value: str, given: int) -> str:
        inputs = {"Input": value, "Filter": graph.param(random.normal(0, 0.2, (4, given, 3, 3)).astype(np.float32))}
        return graph.op("conv2d", inputs, shape, slot="Output", **convolution)

    first = value = convolved(graph.feed(1, 3, 32, 32), 3)
    for _ in range(BLOCKS):
        branch = graph.op("relu", {"X": convolved(value, 4)}, shape)
        value = graph.op("elementwise_add", {"X": value, "Y": branch}, shape, axis=-1)
    return graph.program(graph.op("elementwise_add", {"X": value, "Y": first}, shape, axis=-1))


class Converter:
    """A converter that breaks every part in which some operators are together.

    Attributes:
        sizes: Number of operators of each part that it was given.
    """

    def __init__(self, *breaks: str) -> None:
        self._breaks, self.sizes = set(breaks), []

    def __call__(self, part: ModelArtifact, folder: Path, tensors: list[np.ndarray]) -> tuple[list, list[bool]]:
        import onnx

        assert folder.is_dir()
        nodes = onnx.load(part.file("model")).graph.node
        self.sizes.append(len(nodes))
        (outputs,) = outputs_of(part, OnnxRuntime(), [tensors], StepContext())
        broken = self._breaks <= {name for node in nodes for name in node.output}
        return outputs, [not broken] * len(outputs)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> ModelArtifact:
    require("paddle2onnx", "onnx", "onnxruntime")
    workshop = Workshop(tmp_path_factory.mktemp("workshop"))
    return workshop.made(make_step("to_onnx", {}), workshop.imported(network()))


def operators(source: ModelArtifact) -> list[tuple[str, str]]:
    import onnx

    return [(node.op_type, node.output[0]) for node in onnx.load(source.file("model")).graph.node]


def found(source: ModelArtifact, converter: Converter) -> str:
    return search.first_wrong(source, made_inputs(source.manifest, 0), converter, StepContext())


@pytest.mark.parametrize("at", [0, 1, 23, 44, -1])
def test_each_operator_is_found_by_conversions_of_one_model_together(source, at):
    known = operators(source)
    kind, name = known[at]
    converter = Converter(name)
    assert found(source, converter) == f"from {kind} ({name}) on"
    assert len(converter.sizes) <= 12
    assert sum(converter.sizes) <= 1.5 * len(known)


def test_a_fault_of_two_operators_together_is_found(source):
    """A converter that fuses them: each is right alone."""
    known = operators(source)
    pairs = [(one, two) for one, two in itertools.pairwise(known) if (one[0], two[0]) == ("Conv", "Relu")]
    for (_, first), (kind, second) in pairs[::6]:
        assert found(source, Converter(first, second)) == f"from {kind} ({second}) on"


def test_without_time_the_answer_is_what_is_known(source, monkeypatch):
    known = operators(source)
    converter = Converter(known[23][1])

    def slow(*given) -> tuple[list, list[bool]]:
        if len(converter.sizes) == 1:
            monkeypatch.setattr(search, "BUDGET_S", 0.0)
        return converter(*given)

    text = search.first_wrong(source, made_inputs(source.manifest, 0), slow, StepContext())
    assert len(converter.sizes) == 2
    between, before, _, after = text.split()
    places = [source.manifest.image.name, *(name for _, name in known)]
    assert between == "between"
    assert places.index(before) <= 23 < places.index(after)
