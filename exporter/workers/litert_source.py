"""Reads an ONNX model for the LiteRT writer: with fixed shapes, without constant arithmetic and rounding operators.

An int8 ONNX model rounds tensors by separate operators; LiteRT stores the rounding with the tensor. So QuantizeLinear
and DequantizeLinear become roundings of tensors, and an operator with rounded inputs and output computes in int8.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from litert_file import TensorRounding
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from worker_host import WorkerFailure

_LARGEST_FOLDED = 1 << 22  # most elements of a constant that is computed here of smaller ones
_TO_SIGNED = 128  # subtracted from ONNX's unsigned integers for LiteRT


@dataclass
class SourceNode:
    """An operator of the model.

    Attributes:
        integer: Whether it computes in int8.
    """

    kind: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict
    name: str = ""
    integer: bool = False


@dataclass(frozen=True)
class HeldConstant:
    """A constant stored as integers; `zero` is 0 for per-channel scales."""

    integers: np.ndarray
    scales: np.ndarray
    zero: int
    axis: int


@dataclass
class OnnxSource:
    """The model.

    Attributes:
        outputs: Output name -> tensor.
        shapes, dtypes: Tensor -> shape, element type.
        constants: Constant -> value; those in `held` as floats.
        held: Constants that are integers with a scale.
        roundings: Integer tensor written by an operator -> its rounding.
        rounded: Integer tensor -> the float tensor that was rounded.
    """

    nodes: list[SourceNode]
    inputs: list[str]
    outputs: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    constants: dict[str, np.ndarray]
    held: dict[str, HeldConstant] = field(default_factory=dict)
    roundings: dict[str, TensorRounding] = field(default_factory=dict)
    rounded: dict[str, str] = field(default_factory=dict)

    def readers(self) -> dict[str, list[SourceNode]]:
        found: dict[str, list[SourceNode]] = {}
        for node in self.nodes:
            for name in node.inputs:
                found.setdefault(name, []).append(node)
        return found


def read(path: str, integer_kinds: frozenset[str]) -> OnnxSource:
    """Reads `path`.

    Args:
        integer_kinds: Operators that LiteRT supports in int8.

    Raises:
        WorkerFailure: A tensor's shape depends on the image.
    """
    model = onnx.load(path)
    opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shapes, dtypes = {}, {}
    for value in (*inferred.graph.input, *inferred.graph.output, *inferred.graph.value_info):
        kind = value.type.tensor_type
        sizes = [size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim]
        if kind.HasField("shape") and min(sizes, default=0) >= 0:
            shapes[value.name] = tuple(sizes)
        dtypes[value.name] = str(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    constants = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}
    nodes = []
    for index, one in enumerate(model.graph.node):
        given = [name for name in one.input if name]
        if one.op_type == "Shape" and one.input[0] in shapes:
            attributes = {one.name: helper.get_attribute_value(one) for one in one.attribute}
            constants[one.output[0]] = np.array(shapes[one.input[0]], np.int64)[
                attributes.get("start", 0) : attributes.get("end")
            ]
        elif all(name in constants for name in given) and one.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            _fold(one, constants, opset)
        else:
            attributes = {each.name: helper.get_attribute_value(each) for each in one.attribute}
            name = one.name or f"{one.op_type}_{index}"
            nodes.append(SourceNode(one.op_type, list(one.input), list(one.output), attributes, name))
    for name, value in constants.items():
        shapes[name], dtypes[name] = value.shape, str(value.dtype)
    inputs = [value.name for value in model.graph.input if value.name not in constants]
    outputs = {value.name: value.name for value in model.graph.output}
    source = OnnxSource(nodes, inputs, outputs, shapes, dtypes, constants)
    for node in nodes:
        for name in node.outputs:
            if name and name not in shapes:
                raise WorkerFailure(
                    f"the size of what {node.kind} ({name}) gives is not known before it runs",
                    cause="LiteRT's files hold one size",
                )
    _join_hard_swish(source)
    _join_gelu(source)
    _settle_roundings(source, integer_kinds)
    return source


def _fold(node, constants: dict, opset: int) -> None:
    """Computes an operator on constants."""
    if node.op_type == "Range":  # counted in the numbers' own type: onnx's evaluator counts in float64
        start, limit, step = (constants[name] for name in node.input)
        count = max(int(np.ceil((limit - start) / step)), 0)
        constants[node.output[0]] = (start + step * np.arange(count)).astype(start.dtype)
        return
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_value_info(name, onnx.TypeProto()) for name in node.input if name],
        [helper.make_value_info(name, onnx.TypeProto()) for name in node.output],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    found = ReferenceEvaluator(model).run(None, {name: constants[name] for name in node.input if name})
    held = max((constants[name].size for name in node.input if name), default=0)
    largest = max(_LARGEST_FOLDED, held)
    for name, value in zip(node.output, found, strict=True):
        value = np.asarray(value)
        if node.op_type != "Constant" and value.size > largest:
            raise WorkerFailure(f"{node.op_type} ({name}) makes a constant of {value.size} numbers")
        constants[name] = value


def _join_hard_swish(source: OnnxSource) -> None:
    """Joins `x * HardSigmoid(x)` of int8 models to one operator, which LiteRT supports in int8."""
    readers, makers = source.readers(), {name: node for node in source.nodes for name in node.outputs}
    gone = []
    for node in source.nodes:
        if node.kind != "Mul":
            continue
        for x, gate in (node.inputs, node.inputs[::-1]):
            made = makers.get(gate)
            if made is None or made.kind != "HardSigmoid" or made.inputs[0] != x or len(readers[gate]) > 1:
                continue
            slope, offset = made.attributes.get("alpha", 0.2), made.attributes.get("beta", 0.5)
            if np.allclose((slope, offset), (1 / 6, 0.5), rtol=1e-6) and gate not in source.outputs:
                node.kind, node.inputs = "HardSwish", [x]
                gone.append(made)
                break
    source.nodes = [node for node in source.nodes if node not in gone]


def _join_gelu(source: OnnxSource) -> None:
    """Joins `x * (1 + erf(x / sqrt(2))) / 2` to one operator: LiteRT has no erf."""
    readers = source.readers()

    def only_reader(name: str, kind: str) -> SourceNode | None:
        found = readers.get(name, [])
        return found[0] if len(found) == 1 and found[0].kind == kind and name not in source.outputs else None

    def factor(node: SourceNode | None, of: str) -> float | None:
        """The constant operand of a Mul or Add besides `of`."""
        if node is None:
            return None
        other = [name for name in node.inputs if name != of]
        value = source.constants.get(other[0]) if len(other) == 1 else None
        return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None

    gone = []
    for first in list(source.nodes):
        x = first.inputs[0] if first.inputs else ""
        scaled = factor(first, x)
        if first.kind not in ("Div", "Mul") or scaled is None:
            continue
        if not np.isclose(1 / scaled if first.kind == "Div" else scaled, 2**-0.5, rtol=1e-5):
            continue
        erf = only_reader(first.outputs[0], "Erf")
        add = only_reader(erf.outputs[0], "Add") if erf else None
        if add is None or factor(add, erf.outputs[0]) != 1.0:
            continue
        chain, name, halved, times_x = [first, erf, add], add.outputs[0], False, False
        while not (halved and times_x) and (one := only_reader(name, "Mul")) is not None:
            if not times_x and x in one.inputs:
                times_x = True
            elif not halved and factor(one, name) == 0.5:
                halved = True
            else:
                break
            chain.append(one)
            name = one.outputs[0]
        if halved and times_x:
            last = chain[-1]
            last.kind, last.inputs = "Gelu", [x]
            gone += chain[:-1]
    source.nodes = [node for node in source.nodes if node not in gone]


def _settle_roundings(source: OnnxSource, integer_kinds: frozenset[str]) -> None:
    """Removes the rounding operators; marks the operators that compute in int8."""
    renamed: dict[str, str] = {}
    nodes = []
    for node in source.nodes:
        node.inputs = [renamed.get(name, name) for name in node.inputs]
        if node.kind == "QuantizeLinear":
            source.roundings[node.outputs[0]] = _rounding(node, source)
            source.rounded[node.outputs[0]] = node.inputs[0]
            source.dtypes[node.outputs[0]] = "int8"
        elif node.kind == "DequantizeLinear" and node.inputs[0] in source.constants:
            _hold(node, source)
            continue
        elif node.kind == "DequantizeLinear":
            renamed[node.outputs[0]] = node.inputs[0]
            continue
        nodes.append(node)
    source.nodes = nodes
    source.outputs = {name: renamed.get(name, name) for name in source.outputs}
    readers, gone = source.readers(), []
    for node in source.nodes:
        after = [readers.get(name, []) for name in node.outputs]
        if node.kind not in integer_kinds or any([one.kind for one in each] != ["QuantizeLinear"] for each in after):
            continue
        if not set(node.outputs) & set(source.outputs.values()) and _is_rounded(node, source):
            node.integer, node.outputs = True, [each[0].outputs[0] for each in after]
            gone += [each[0] for each in after]
    source.nodes = [node for node in source.nodes if node not in gone]


def _is_rounded(node: SourceNode, source: OnnxSource) -> bool:
    """Whether all real inputs of an operator are integers with a scale."""
    given = [name for name in node.inputs if name and source.dtypes[name] in ("float32", "int8")]
    if not any(name in source.roundings for name in given):
        return False
    return all(name in source.roundings or name in source.held for name in given)


def _rounding(node: SourceNode, source: OnnxSource) -> TensorRounding:
    scale = source.constants[node.inputs[1]]
    zero = source.constants[node.inputs[2]] if len(node.inputs) > 2 else np.zeros((), np.uint8)
    if scale.size != 1 or zero.dtype not in (np.uint8, np.int8):
        raise WorkerFailure(f"{node.inputs[0]} is rounded to {zero.dtype} in {scale.size} scales, not to 8 bits in one")
    return TensorRounding((float(scale.item()),), int(zero.item()) - (_TO_SIGNED if zero.dtype == np.uint8 else 0))


def _hold(node: SourceNode, source: OnnxSource) -> None:
    """Records a constant that is stored as integers."""
    integers, scales = (source.constants[name] for name in node.inputs[:2])
    zero = source.constants[node.inputs[2]] if len(node.inputs) > 2 else np.zeros((), integers.dtype)
    if scales.size > 1 and zero.any():
        raise WorkerFailure(f"{node.outputs[0]} has a zero point for each channel, which LiteRT has not")
    zero = int(zero.reshape(-1)[0])
    axis = node.attributes.get("axis", 1)
    along = [-1 if index == axis else 1 for index in range(integers.ndim)] if scales.size > 1 else []
    name = node.outputs[0]
    floats = (integers.astype(np.int64) - zero) * scales.astype(np.float64).reshape(along)
    source.constants[name] = floats.astype(np.float32)
    source.shapes[name], source.dtypes[name] = integers.shape, "float32"
    if integers.dtype == np.uint8:
        integers, zero = (integers.astype(np.int16) - _TO_SIGNED).astype(np.int8), zero - _TO_SIGNED
    source.held[name] = HeldConstant(integers, scales.reshape(-1).astype(np.float32), zero, axis)
