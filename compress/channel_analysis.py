"""Builds a program's channel graph from per-operator rules for channel dependencies."""

from __future__ import annotations

from segexport.compress.channel_graph import ChannelGraph
from segexport.compress.channel_rules import RULES
from segexport.exporter.program import Op, Program


def analyze(program: Program) -> ChannelGraph:
    """Builds the channel graph of a program with loaded parameters.

    Batch, height and width may be dynamic. An operator without a rule freezes the channels that reach it.
    """
    graph = ChannelGraph(program)
    read = {*program.consumers(), *program.fetch_names}
    for op in program.compute_ops():
        rule = RULES.get(op.type)
        if rule is None:
            _freeze_unknown(graph, op)
        else:
            rule(graph, op)
            if any(name in read and name not in graph.labels for name in op.output_names()):
                _freeze_unknown(graph, op)  # the program reads an output that the rule does not cover
    for name in program.fetch_names:
        graph.freeze_all(graph.of(name), "an output of the model")
    graph.finish()
    return graph


def _freeze_unknown(graph: ChannelGraph, op: Op) -> None:
    for name in op.input_names():
        if name in graph.program.vars and graph.program.vars[name].is_tensor:
            graph.freeze_all(graph.of(name), f"operator '{op.type}'")
    for name in op.output_names():
        if name in graph.program.vars:
            graph.put(name, [None] * len(graph.dims(name)))
