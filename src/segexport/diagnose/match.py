"""Matches the tensors of an ONNX graph with the variables of the program that it was made from.

paddle2onnx keeps most names, and tools that simplify or quantize a graph keep most of those. The others follow from the
structure: the operators between two known tensors, and the inputs of a known operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from segexport.exporter.program import Op, Program

CONVERSIONS = frozenset({"Identity", "Cast", "QuantizeLinear", "DequantizeLinear"})
# ONNX operator -> the Paddle operators that it can be made from.
_KINDS = {
    "Conv": {"conv2d", "depthwise_conv2d"},
    "ConvTranspose": {"conv2d_transpose", "depthwise_conv2d_transpose"},
    "MatMul": {"matmul_v2", "matmul", "mul", "bmm"},
    "Gemm": {"matmul_v2", "matmul", "mul", "fc"},
    "Add": {"elementwise_add"},
    "Sub": {"elementwise_sub"},
    "Mul": {"elementwise_mul"},
    "Div": {"elementwise_div"},
    "Concat": {"concat"},
    "Resize": {"bilinear_interp_v2", "nearest_interp_v2", "bicubic_interp_v2", "linear_interp_v2"},
    "BatchNormalization": {"batch_norm", "sync_batch_norm"},
    "AveragePool": {"pool2d"},
    "GlobalAveragePool": {"pool2d"},
    "MaxPool": {"pool2d", "max_pool2d_with_index"},
    "Relu": {"relu", "relu6"},
    "Clip": {"relu6", "clip", "brelu", "hardtanh", "relu"},
    "PRelu": {"prelu"},
    "Softmax": {"softmax"},
    "Sigmoid": {"sigmoid"},
    "HardSwish": {"hard_swish"},
    "HardSigmoid": {"hard_sigmoid"},
    "Transpose": {"transpose2", "transpose"},
    "ArgMax": {"arg_max"},
}
# A normalization or activation may have been folded into these, so their outputs follow from their readers only.
_FOLDS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})


@dataclass(frozen=True)
class Node:
    """An ONNX operator; `inputs` are those that depend on the image, `arity` counts all."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arity: int


@dataclass(frozen=True)
class Match:
    """The tensor that corresponds to a variable."""

    tensor: str
    by: Literal["name", "structure"]


class OnnxGraph:
    """The nodes of a graph that depend on the image.

    Args:
        nodes: (type, inputs, outputs) in topological order.
        constants: Names of initializers.
    """

    def __init__(self, nodes: Iterable[Sequence], constants: Iterable[str], inputs: Sequence[str]) -> None:
        fixed = {"", *constants}
        self.inputs = tuple(inputs)
        self.nodes: list[Node] = []
        for kind, given, made in nodes:
            if all(value in fixed for value in given):
                fixed.update(made)
            else:
                data = tuple(value for value in given if value not in fixed)
                self.nodes.append(Node(kind, data, tuple(value for value in made if value), len(given)))
        self.producer = {name: node for node in self.nodes for name in node.outputs}

    def origin(self, tensor: str) -> str:
        """The tensor before conversions and quantizations."""
        while (node := self.producer.get(tensor)) is not None and node.kind in CONVERSIONS:
            tensor = node.inputs[0]
        return tensor

    def between(self, tensor: str, stops: Iterable[str]) -> list[Node]:
        """The nodes from the nearest `stops` to `tensor`, in order."""
        ends, found, waiting = set(stops) - {tensor}, set(), [tensor]
        while waiting:
            node = self.producer.get(waiting.pop())
            if node is not None and id(node) not in found:
                found.add(id(node))
                waiting += [name for name in node.inputs if name not in ends]
        return [node for node in self.nodes if id(node) in found]


def match(program: Program, shapes: Mapping[str, Sequence[int]], graph: OnnxGraph) -> dict[str, Match]:
    """Variable of the program -> tensor of the graph.

    Args:
        program: The reference.
        shapes: Observed sizes of its variables.
    """
    found = _Matching(program, shapes, graph)
    found.by_name()
    while found.forward() + found.backward():
        pass
    return found.matches


def folded(program: Program, matches: Mapping[str, Match], variable: str) -> list[str]:
    """Other variables that `variable`'s tensor may be: the result of a folded operator keeps the first one's name.

    They are consecutive, each read by one operator only, up to the next variable with a tensor.
    """
    readers, found = program.consumers(), []
    while True:
        ops = [op for op in readers.get(variable, []) if op.type != "fetch"]
        outputs = [name for name in ops[0].output_names() if name in readers] if len(ops) == 1 else []
        if len(outputs) != 1 or outputs[0] in matches:
            return found
        variable = outputs[0]
        found.append(variable)


class _Matching:
    def __init__(self, program: Program, shapes: Mapping[str, Sequence[int]], graph: OnnxGraph) -> None:
        self.graph, self.shapes = graph, shapes
        self.matches: dict[str, Match] = {}
        self.variable: dict[str, str] = {}  # tensor (and the tensor before its conversions) -> variable
        self.ops = [op for op in program.compute_ops() if any(name in shapes for name in op.output_names())]
        self.writer = {name: op for op in self.ops for name in op.output_names()}
        self.reads = {id(op): _data(op, program, shapes) for op in self.ops}
        for variable, tensor in zip(program.feed_names, graph.inputs, strict=False):
            self._learn(variable, tensor, "name")

    def _learn(self, variable: str, tensor: str, by: Literal["name", "structure"]) -> int:
        if variable in self.matches or tensor in self.variable:
            return 0
        self.matches[variable] = Match(tensor, by)
        self.variable[tensor] = variable
        self.variable.setdefault(self.graph.origin(tensor), variable)
        return 1

    def by_name(self) -> None:
        for node in self.graph.nodes:
            for name in node.outputs:
                if name in self.shapes and name in self.writer:
                    biased = self._biased(node, name)
                    self._learn(biased or name, name, "structure" if biased else "name")

    def _biased(self, node: Node, name: str) -> str:
        """Matches a sum that was folded into a product as its bias, under the product's name."""
        op = self.writer[name]
        if node.kind not in _FOLDS or node.arity < 3 or op.type not in _KINDS[node.kind] or op.input("Bias"):
            return ""
        readers = [other for other in self.ops if name in self.reads[id(other)]]
        if len(readers) != 1 or readers[0].type != "elementwise_add" or self.reads[id(readers[0])] != [name]:
            return ""
        total = _main_output(readers[0], self.shapes)
        return total if total not in self.graph.producer else ""

    def forward(self) -> int:
        """Matches an operator with known inputs to the only one of its kind in the program with these inputs."""
        open_ops: dict[frozenset[str], list[Op]] = {}
        for op in self.ops:
            main = _main_output(op, self.shapes)
            if main and main not in self.matches:
                open_ops.setdefault(frozenset(self.reads[id(op)]), []).append(op)
        open_nodes: dict[frozenset[str], list[Node]] = {}
        for node in self.graph.nodes:
            known = [self.variable.get(self.graph.origin(name)) for name in node.inputs]
            sources = frozenset(name for name in known if name is not None)
            if node.kind not in CONVERSIONS and node.outputs[0] not in self.variable and None not in known:
                open_nodes.setdefault(sources, []).append(node)
        learnt = 0
        for sources, nodes in open_nodes.items():
            for node in nodes:
                ops = [op for op in open_ops.get(sources, []) if _fits(node, op)]
                if node.kind in _FOLDS or len(ops) != 1 or sum(_fits(other, ops[0]) for other in nodes) != 1:
                    continue
                learnt += self._learn(_main_output(ops[0], self.shapes), node.outputs[0], "structure")
        return learnt

    def backward(self) -> int:
        """Matches the inputs of a known operator with those of its counterpart."""
        learnt = 0
        for node in reversed(self.graph.nodes):
            variable = next((self.variable[name] for name in node.outputs if name in self.variable), None)
            if variable is None or node.kind not in _KINDS:
                continue
            op = self._counterpart(node, variable)
            if op is None:
                continue
            tensors = [self.graph.origin(name) for name in node.inputs]
            known = {self.variable[name] for name in tensors if name in self.variable}
            tensors = [name for name in dict.fromkeys(tensors) if name not in self.variable]
            variables = [name for name in dict.fromkeys(self.reads[id(op)]) if name not in known]
            if len(tensors) == len(variables) == 1:
                learnt += self._learn(variables[0], tensors[0], "structure")
        return learnt

    def _counterpart(self, node: Node, variable: str) -> Op | None:
        """The operator after `variable` that the node was made from; operators folded into it are between."""
        op = self.writer.get(variable)
        while op is not None and op.type not in _KINDS[node.kind]:
            sources = self.reads[id(op)]
            op = self.writer.get(sources[0]) if len(sources) == 1 else None
        return op


def _fits(node: Node, op: Op) -> bool:
    """Whether the two can correspond; kinds that are not in the table can be anything."""
    others = {kind for kinds in _KINDS.values() for kind in kinds}
    return op.type in _KINDS.get(node.kind, ()) or node.kind not in _KINDS or op.type not in others


def _data(op: Op, program: Program, shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """The inputs of an operator that depend on the image."""
    return [name for name in dict.fromkeys(op.input_names()) if name not in program.params and name in shapes]


def _main_output(op: Op, shapes: Mapping[str, Sequence[int]]) -> str:
    """The output with the data."""
    for slot in ("Out", "Y", "Output"):
        names = op.outputs.get(slot)
        if names and len(names) == 1 and names[0] in shapes:
            return names[0]
    return ""
