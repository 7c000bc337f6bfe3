"""Removes the rounding operators from a quantized ONNX model and returns their parameters; limits tensors to ranges.

Commands: unquantize, widen, clip, clip_inputs.

Other formats store scales as attributes of tensors, not as operators between them. Their converters read the float
model with rounded weights, and the scales are added to the converted file.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_BITS = {TensorProto.INT8: 8, TensorProto.INT4: 4}
_WIDENS = ("Cast", "Mul", "Reshape")  # as `stored_weights` writes them
_NEVER_NEGATIVE = ("Relu", "Sigmoid", "Softmax", "HardSigmoid", "Abs")
_OF_ALL_INPUTS = ("Concat", "Add", "Mul", "Max")
_KEEPS_SIGN = (
    *_OF_ALL_INPUTS,
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Resize",
    "Reshape",
    "Transpose",
    "Slice",
)


def unquantize(arguments, _arrays):
    """Writes `out` without QuantizeLinear and DequantizeLinear.

    Args:
        onnx, out: Files.
        float_operators: Types of operators that must neither read nor write integers: a `Max` is added on either side.
            A ReLU right after a product is a part of it.

    Returns:
        tensors: Rounded activation -> scale, zero point, and bounds of its integers.
        products: Operators with rounded weights; see `_products`.
    """
    model = onnx.load(arguments["onnx"])
    graph = model.graph
    constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    tensors, floats, scales, renamed, nodes, positive = {}, {}, {}, {}, [], set()

    def is_float(node) -> bool:
        fused = node.op_type == "Relu" and node.input[0] in makers and makers[node.input[0]].op_type in _PRODUCTS
        return node.op_type in arguments["float_operators"] and not fused

    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            zero = constants[node.input[2]]
            bounds = np.iinfo(zero.dtype)
            name = renamed.get(node.input[0], node.input[0])
            rounded = [constants[node.input[1]].item(), zero.item(), int(bounds.min), int(bounds.max)]
            kept = _clamped(name, rounded, makers, nodes, positive, constants)
            if kept == name and name in makers and is_float(makers[name]):
                kept = _copied(name, rounded, constants, nodes)
            tensors[kept] = rounded
            if rounded[1] == rounded[2]:
                positive.add(kept)
            renamed[node.output[0]] = kept
        elif node.op_type == "DequantizeLinear" and node.input[0] in constants:
            floats[node.output[0]], scales[node.output[0]] = _dequantized(node, constants)
        elif node.op_type == "DequantizeLinear":
            renamed[node.output[0]] = renamed[node.input[0]]
        else:
            for index, name in enumerate(node.input):
                node.input[index] = renamed.get(name, name)
                if is_float(node) and node.input[index] in tensors:
                    copy = _copied(node.input[index], tensors[node.input[index]], constants, nodes)
                    positive.update([copy] if node.input[index] in positive else [])
                    node.input[index] = copy
            nodes.append(node)
    _restore_outputs(graph, nodes, renamed, tensors)
    products = _products(nodes, tensors, floats, scales)
    read = {name for node in nodes for name in node.input}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    values = {name: value for name, value in {**constants, **floats}.items() if name in read}
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    onnx.checker.check_model(model)
    onnx.save(model, arguments["out"])
    return {"tensors": tensors, "products": products}, []


def _clamped(name: str, rounded: list, makers: dict, nodes: list, positive: set[str], constants: dict) -> str:
    """The tensor that replaces a rounded one: a range that begins at 0 acts as a ReLU, which quantizers omit."""
    _, zero, low, _ = rounded
    if zero != low or _never_negative(name, makers, positive):
        return name
    clamped = f"{name}.clamped"
    if not any(clamped in node.output for node in nodes):
        fused = name in makers and makers[name].op_type in _PRODUCTS
        given = [name] if fused else [name, f"{clamped}.zero"]
        constants.update({} if fused else {f"{clamped}.zero": np.zeros((), np.float32)})
        nodes.append(helper.make_node("Relu" if fused else "Max", given, [clamped], name=clamped))
    return clamped


def _copied(name: str, rounded: list, constants: dict, nodes: list) -> str:
    """A copy of a tensor: its maximum with the lowest value that its rounding can represent, which changes nothing."""
    scale, zero, low, _ = rounded
    copy, lowest = f"{name}.copy", f"{name}.lowest"
    constants[lowest] = np.array((low - zero) * scale, np.float32)
    if not any(copy in node.output for node in nodes):
        nodes.append(helper.make_node("Max", [name, lowest], [copy], name=copy))
    return copy


def _never_negative(name: str, makers: dict, positive: set[str]) -> bool:
    """Whether a tensor cannot be below zero; `positive`: tensors for which that is known."""
    node = makers.get(name)
    if name in positive or node is None:
        return name in positive
    if node.op_type in _KEEPS_SIGN:
        given = node.input if node.op_type in _OF_ALL_INPUTS else node.input[:1]
        return all(_never_negative(one, makers, positive) for one in given)
    return node.op_type in _NEVER_NEGATIVE


def _dequantized(node, constants: dict) -> tuple[np.ndarray, np.ndarray]:
    """The dequantized values of a constant, and its scales."""
    held, scale = constants[node.input[0]], constants[node.input[1]]
    zero = constants[node.input[2]] if len(node.input) > 2 else np.zeros((), held.dtype)
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    shape = [1] * held.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    else:
        shape = []
    floats = (held.astype(np.int32) - zero.astype(np.int32).reshape(shape)) * scale.reshape(shape)
    return floats.astype(np.float32), scale


def _restore_outputs(graph, nodes: list, renamed: dict, tensors: dict) -> None:
    """Gives the outputs that were rounded tensors their names back."""
    for output in graph.output:
        inner = renamed.get(output.name)
        if inner is None:
            continue
        for node in nodes:
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    if name == inner:
                        names[index] = output.name
        if inner in tensors:
            tensors[output.name] = tensors.pop(inner)


def _products(nodes: list, tensors: dict, floats: dict, scales: dict) -> list[dict]:
    """Lists every operator with rounded weights.

    Returns:
        operator, input, output: Its type, and the tensors that it reads and writes.
        end: The tensor that is rounded after it: its output, or that of the ReLU that is its only reader.
        scales: Scales of its weights, one per output channel.
        is_last: Whether no other product follows it.
    """
    readers: dict[str, list] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    rounded = [node for node in nodes if len(node.input) > 1 and _is_weight(floats.get(node.input[1]))]
    before = _before(nodes, {node.output[0] for node in rounded})
    found = []
    for node in rounded:
        end, after = node.output[0], readers.get(node.output[0], [])
        if end not in tensors and len(after) == 1 and after[0].op_type in ("Relu", "Clip"):
            end = after[0].output[0]
        told = {"operator": node.op_type, "input": node.input[0], "output": node.output[0], "end": end}
        found.append({**told, "scales": _by_channel(node, floats, scales), "is_last": node.output[0] not in before})
    return found


def _by_channel(node, floats: dict, scales: dict) -> list[float]:
    weight, found = floats[node.input[1]], scales[node.input[1]].reshape(-1)
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    first = node.op_type == "Conv" or transposed
    channels = weight.shape[1 if node.op_type == "ConvTranspose" else 0 if first else -1]
    return np.broadcast_to(found, channels).tolist() if found.size == 1 else found.tolist()


def _is_weight(value) -> bool:
    return value is not None and value.ndim >= 2


def _before(nodes: list, products: set[str]) -> set[str]:
    """The tensors that a product reads, directly or through other operators."""
    found: set[str] = set()
    for node in reversed(nodes):  # the order of the graph
        if any(name in found or name in products for name in node.output):
            found.update(node.input)
    return found


def widen(arguments, _arrays):
    """Writes `out` with the float weights that the operators of `stored_weights` make of integers.

    Returns:
        bits: Output of a product with such weights -> bits of the integers.
    """
    model = onnx.load(arguments["onnx"])
    graph = model.graph
    constants = {value.name: value for value in graph.initializer}
    bits = {name: _BITS[value.data_type] for name, value in constants.items() if value.data_type in _BITS}
    floats, nodes = {}, []
    for node in graph.node:
        if node.op_type in _WIDENS and node.input[0] in bits:
            floats[node.output[0]] = _widened(node, floats, constants)
            bits[node.output[0]] = bits[node.input[0]]
        else:
            nodes.append(node)
    read = {name for node in nodes for name in node.input}
    kept = [value for value in graph.initializer if value.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept + [numpy_helper.from_array(floats[name], name) for name in floats if name in read])
    onnx.save(model, arguments["out"])
    products = [node for node in nodes if node.op_type in _PRODUCTS and node.input[1] in floats]
    return {"bits": {node.output[0]: bits[node.input[1]] for node in products}}, []


def _widened(node, floats: dict, constants: dict) -> np.ndarray:
    if node.op_type == "Cast":
        return numpy_helper.to_array(constants[node.input[0]]).astype(np.float32)
    other = numpy_helper.to_array(constants[node.input[1]])
    return floats[node.input[0]] * other if node.op_type == "Mul" else floats[node.input[0]].reshape(other)


def clip(arguments, _arrays):
    """Limits tensors of the model `onnx` to the ranges that their rounding had.

    Args:
        ranges: Tensor -> its lowest and its highest value.
    """
    model = onnx.load(arguments["onnx"])
    graph, nodes = model.graph, []
    for node in graph.node:
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name in arguments["ranges"]:
                node.output[index] = f"{name}.raw"
                nodes.append(_clip(graph, node.output[index], name, arguments["ranges"][name]))
    _save(model, nodes, arguments["onnx"])
    return {}, []


def clip_inputs(arguments, _arrays):
    """Limits what operators of the model `onnx` read first; other readers of the same tensors are not limited.

    Args:
        ranges: The output of an operator -> the lowest and the highest value of its first input.
    """
    model = onnx.load(arguments["onnx"])
    graph, nodes = model.graph, []
    for node in graph.node:
        name = node.output[0]
        if name in arguments["ranges"]:
            nodes.append(_clip(graph, node.input[0], f"{name}.input", arguments["ranges"][name]))
            node.input[0] = f"{name}.input"
        nodes.append(node)
    _save(model, nodes, arguments["onnx"])
    return {}, []


def _clip(graph, value: str, made: str, ends):
    """An operator that limits `value` to its lowest and highest value, as `made`."""
    names = (f"{made}.from", f"{made}.to")
    pairs = zip(names, ends, strict=True)
    graph.initializer.extend(numpy_helper.from_array(np.array(end, np.float32), name) for name, end in pairs)
    return helper.make_node("Clip", [value, *names], [made], name=made)


def _save(model, nodes: list, path: str) -> None:
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, path)


COMMANDS = {"unquantize": unquantize, "widen": widen, "clip": clip, "clip_inputs": clip_inputs}
