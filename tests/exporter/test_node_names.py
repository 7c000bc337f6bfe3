"""Names of operators in exported ONNX files: unique, from the variables, unmoved by changes elsewhere."""

from __future__ import annotations

import pytest
from installed import require


def graph_of(*nodes: tuple[str, str, str, str]):
    """A graph of (operator, name, input, output), whose first input is `x`."""
    require("onnx")
    from onnx import TensorProto, helper

    made = [helper.make_node(kind, [given], [output], name=name) for kind, name, given, output in nodes]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", nodes[-1][3])]
    return helper.make_graph(made, "g", ends[:1], ends[1:])


@pytest.fixture
def give():
    require("onnx")
    from segexport.exporter.workers.node_names import give

    return give


def names(graph) -> list[str]:
    return [node.name for node in graph.node]


def test_a_numbered_operator_is_named_after_its_variable_or_the_one_before_it(give):
    graph = graph_of(
        ("Relu", "conv2d_0.tmp_0", "x", "batch_norm_0.tmp_2"),
        ("Clip", "Clip.0", "batch_norm_0.tmp_2", "Clip.1"),
        ("Clip", "Clip.2", "Clip.1", "Clip.3"),
        ("HardSwish", "HardSwish.0", "Clip.3", "hardswish_0.tmp_0"),
        ("Resize", "", "hardswish_0.tmp_0", "save_infer_model/scale_0.tmp_0"),
    )
    give(graph, ["batch_norm_0.tmp_2", "hardswish_0.tmp_0", "save_infer_model/scale_0.tmp_0"], {})
    assert names(graph) == [
        "conv2d_0.tmp_0",  # ranges and layers are found by it
        "batch_norm_0.tmp_2.Clip",
        "batch_norm_0.tmp_2.Clip.2",
        "hardswish_0.tmp_0",
        "save_infer_model_scale_0.tmp_0",
    ]


def test_a_change_at_the_beginning_renames_nothing_behind_it(give):
    tail = [("Clip", "Clip.{}", "conv2d_7.tmp_0", "c"), ("Relu", "Relu.{}", "c", "y")]

    def named(*before) -> list[str]:
        number = len(before)
        nodes = [*before, ("Conv", "conv2d_7.tmp_0", before[-1][3], "conv2d_7.tmp_0")]
        graph = graph_of(*nodes, *((kind, name.format(number), a, b) for kind, name, a, b in tail))
        give(graph, ["conv2d_7.tmp_0"], {})
        return names(graph)[-3:]

    short = named(("Clip", "Clip.0", "x", "a"))
    longer = named(("Clip", "Clip.0", "x", "a"), ("Clip", "Clip.1", "a", "b"))
    assert short == longer == ["conv2d_7.tmp_0", "conv2d_7.tmp_0.Clip", "conv2d_7.tmp_0.Relu"]


def test_names_are_unique(give):
    graph = graph_of(("Relu", "same", "x", "a"), ("Relu", "same", "a", "b"), ("Relu", "", "b", "same"))
    give(graph, ["same"], {})
    assert len(set(names(graph))) == 3
    assert names(graph)[0] == "same"


def test_the_layer_of_the_source_is_the_group(give):
    graph = graph_of(("Relu", "Relu.0", "x", "a"), ("Clip", "Clip.0", "a", "b"), ("Relu", "Relu.1", "b", "c"))
    give(graph, ["a", "c"], {"a": "Net/backbone/conv1", "c": "Net/head"})
    groups = [{entry.key: entry.value for entry in node.metadata_props} for node in graph.node]
    assert groups == [
        {"namespace": "Net/backbone/conv1"},
        {"namespace": "Net/backbone/conv1"},
        {"namespace": "Net/head"},
    ]


def test_without_a_program_the_names_stay(give):
    graph = graph_of(("Relu", "Relu.0", "x", "a"), ("Relu", "", "a", "b"))
    give(graph, [], {})
    assert names(graph) == ["Relu.0", ""]
