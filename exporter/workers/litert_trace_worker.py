"""Compares a LiteRT model's intermediate tensors with the reference's. Commands: read, whole, accumulated, local, save.

The reference's values are in .npy files, in ONNX's order of axes, by the name of the model's tensor. The writer keeps
ONNX's names, and the file says in which order each tensor is stored (`litert_file.ORDERS`).
"""

from __future__ import annotations

import json

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from difference import difference
from litert_file import IDENTIFIER, ORDERS, usual
from worker_host import WorkerFailure

# ONNX names of LiteRT's operators: the graph is matched with the reference's as an ONNX graph is. The writer moves
# axes by TRANSPOSE, and by reshapes and pads of its own, which make no tensor that the reference has.
_KINDS = {
    "CONV_2D": "Conv", "DEPTHWISE_CONV_2D": "Conv", "TRANSPOSE_CONV": "ConvTranspose", "FULLY_CONNECTED": "Gemm",
    "BATCH_MATMUL": "MatMul", "CONCATENATION": "Concat", "RESIZE_BILINEAR": "Resize",
    "RESIZE_NEAREST_NEIGHBOR": "Resize", "AVERAGE_POOL_2D": "AveragePool", "MAX_POOL_2D": "MaxPool", "RELU": "Relu",
    "RELU6": "Clip", "PRELU": "PRelu", "SOFTMAX": "Softmax", "LOGISTIC": "Sigmoid", "HARD_SWISH": "HardSwish",
    "ARG_MAX": "ArgMax", "QUANTIZE": "QuantizeLinear", "DEQUANTIZE": "DequantizeLinear", "ADD": "Add", "SUB": "Sub",
    "MUL": "Mul", "DIV": "Div", "TRANSPOSE": "Identity", "MEAN": "ReduceMean", "PAD": "Pad", "PADV2": "Pad",
}  # fmt: skip
_NUMPY = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 6: np.bool_, 9: np.int8}
_FLOAT, _INT8 = 0, 9
_CODES = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
_state: dict = {}


def read(arguments, _arrays):
    """Opens a model and returns its graph: nodes, constants, ends, and the scale of every quantized tensor."""
    with open(arguments["model"], "rb") as stream:
        content = stream.read()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    tensors = {tensor.name.decode(): tensor for tensor in graph.tensors}
    names = [tensor.name.decode() for tensor in graph.tensors]
    metadata = {one.name.decode(): model.buffers[one.buffer].data for one in model.metadata or ()}
    orders = json.loads(bytes(metadata[ORDERS])) if ORDERS in metadata else {}
    _state.update(model=model, names=names, tensors=tensors, orders=orders, content=content)
    _state["makers"] = {names[index]: operator for operator in graph.operators for index in operator.outputs}
    constants = [name for name, tensor in tensors.items() if _is_constant(tensor)]
    inputs, outputs = ([names[index] for index in ends] for ends in (graph.inputs, graph.outputs))
    _state.update(inputs=inputs, outputs=outputs)
    nodes = [[_kind(operator), _named(operator.inputs), _named(operator.outputs)] for operator in graph.operators]
    quantized = {
        name: _range(tensor) for name, tensor in tensors.items() if _is_rounded(tensor) and name not in constants
    }
    ends = {"inputs": inputs, "outputs": outputs}
    return {"nodes": nodes, "constants": constants, **ends, "quantized": quantized}, []


def whole(arguments, arrays):
    """Compares the unchanged model's outputs with the reference's."""
    values = _run(
        _state["content"], [_stored(name, array) for name, array in zip(_state["inputs"], arrays, strict=True)]
    )
    files = arguments["files"]
    found = zip(_state["outputs"], values, strict=True)
    return {"differences": {name: _compared(files[name], name, value) for name, value in found if name in files}}, []


def accumulated(arguments, arrays):
    """Runs the whole model on the image, with the tensors of `files` as outputs."""
    graph, files = _state["model"].subgraphs[0], arguments["files"]
    before = graph.outputs
    graph.outputs = [_state["names"].index(name) for name in files]
    try:
        content = _packed(_state["model"])
    finally:
        graph.outputs = before
    values = _run(content, [_stored(name, array) for name, array in zip(_state["inputs"], arrays, strict=True)])
    pairs = zip(files.items(), values, strict=True)
    return {"differences": {name: _compared(file, name, value) for (name, file), value in pairs}}, []


def local(arguments, _arrays):
    """Runs each target alone: the operators between it and the stops before it, fed with the reference's tensors."""
    files, found, sources = arguments["files"], {}, {}
    for target in arguments["targets"]:
        content, feeds = _isolated(target, set(arguments["stops"]), files)
        sources.update(dict.fromkeys(feeds))
        (value,) = _run(content, [np.load(files[name]) for name in feeds])
        found[target] = difference(np.load(files[target], mmap_mode="r"), value)
    return {"differences": found, "sources": list(sources)}, []


def save(arguments, _arrays):
    """Writes the operators of one target as a model of their own; returns its inputs, in order."""
    content, feeds = _isolated(arguments["target"], set(arguments["stops"]), arguments["files"])
    with open(arguments["out"], "wb") as stream:
        stream.write(content)
    return {"inputs": feeds, "outputs": [arguments["target"]]}, []


def _isolated(target: str, stops: set[str], files: dict[str, str]) -> tuple[bytes, list[str]]:
    """Returns a model of the target's operators with tensors in the reference's form, and its inputs."""
    names, makers, tensors = _state["names"], _state["makers"], _state["tensors"]
    mine, feeds, waiting = set(), {}, [target]
    while waiting:
        name = waiting.pop()
        if not name or _is_constant(tensors[name]):
            continue
        maker = makers.get(name)
        if maker is None or (name in stops and name in files and name != target):
            feeds[name] = None
        elif id(maker) not in mine:
            mine.add(id(maker))
            waiting += _named(maker.inputs)
    lacking = [name for name in feeds if name not in files]
    if lacking:
        raise WorkerFailure(f"{target}: the reference has no tensor for {', '.join(lacking)}, which it reads")
    part = _Part(_state["model"])
    for name in feeds:
        part.feed(names.index(name), _order(name))
    part.operators += [one for one in _state["model"].subgraphs[0].operators if id(one) in mine]
    return part.packed(names.index(target), _order(target)), list(feeds)


class _Part:
    """Some operators of a model, with operators before and after that convert tensors to the reference's form."""

    def __init__(self, model) -> None:
        self._model, self._graph = model, model.subgraphs[0]
        self.tensors, self.buffers = list(self._graph.tensors), list(model.buffers)
        self.codes, self.operators, self.inputs = list(model.operatorCodes), [], []

    def feed(self, index: int, order: tuple[int, ...]) -> None:
        """Adds an input for a tensor, as floats in ONNX's order."""
        tensor = self.tensors[index]
        given = self._like(
            tensor, _unordered(tuple(tensor.shape), order), f"{index}.given", is_float=_is_rounded(tensor)
        )
        self.inputs.append(given)
        if _is_rounded(tensor):
            given = self._add("QUANTIZE", [given], self._like(tensor, self.tensors[given].shape, f"{index}.rounded"))
        self._add("TRANSPOSE", [given, self._constant(order)], index)

    def packed(self, target: int, order: tuple[int, ...]) -> bytes:
        """Returns the model with one output: the target as floats in ONNX's order."""
        tensor = self.tensors[target]
        back = tuple(order.index(axis) for axis in range(len(order)))
        shape = _unordered(tuple(tensor.shape), order)
        out = self._add("TRANSPOSE", [target, self._constant(back)], self._like(tensor, shape, "moved"))
        if _is_rounded(tensor):
            out = self._add("DEQUANTIZE", [out], self._like(tensor, shape, "found", is_float=True))
        graph = schema.SubGraphT(self.tensors, self.inputs, [out], self.operators, "part")
        return _packed(schema.ModelT(3, self.codes, [graph], "segexport", self.buffers))

    def _like(self, tensor, shape, name: str, *, is_float: bool = False) -> int:
        kind, rounding = (_FLOAT, None) if is_float else (tensor.type, tensor.quantization)
        self.tensors.append(schema.TensorT(list(shape), kind, 0, f"segexport.{name}", rounding, hasRank=True))
        return len(self.tensors) - 1

    def _constant(self, values: tuple[int, ...]) -> int:
        self.buffers.append(schema.BufferT())
        self.buffers[-1].data = np.array(values, np.int32).view(np.uint8)
        self.tensors.append(schema.TensorT([len(values)], 2, len(self.buffers) - 1, "segexport.order", hasRank=True))
        return len(self.tensors) - 1

    def _add(self, kind: str, inputs: list[int], output: int) -> int:
        number = getattr(schema.BuiltinOperator, kind)
        self.codes.append(schema.OperatorCodeT(number, builtinCode=number))
        self.operators.append(schema.OperatorT(len(self.codes) - 1, inputs, [output]))
        return output


def _run(content: bytes, arrays) -> list[np.ndarray]:
    """Returns the outputs; those of rounded tensors as real numbers."""
    try:
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
        for one, array in zip(interpreter.get_input_details(), arrays, strict=True):
            interpreter.set_tensor(one["index"], np.asarray(array).reshape(one["shape"]).astype(one["dtype"]))
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise WorkerFailure("LiteRT does not run the model", cause=" ".join(str(error).split())[:300]) from error
    values = []
    for one in interpreter.get_output_details():
        value, (scale, zero) = interpreter.get_tensor(one["index"]), one["quantization"]
        values.append((value.astype(np.float32) - zero) * np.float32(scale) if scale else value)
    return values


def _packed(model) -> bytes:
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _compared(file: str, name: str, value: np.ndarray) -> dict:
    order = _order(name)
    back = [order.index(axis) for axis in range(len(order))]
    return difference(np.load(file, mmap_mode="r"), value.transpose(back))


def _stored(name: str, array: np.ndarray) -> np.ndarray:
    order = _order(name)
    return array.transpose(order) if array.ndim == len(order) else array


def _order(name: str) -> tuple[int, ...]:
    return tuple(_state["orders"].get(name, usual(len(_state["tensors"][name].shape))))


def _unordered(shape: tuple[int, ...], order: tuple[int, ...]) -> list[int]:
    return [shape[order.index(axis)] for axis in range(len(order))]


def _kind(operator) -> str:
    kind = _CODES[_state["model"].operatorCodes[operator.opcodeIndex].builtinCode]
    made = _state["names"][operator.outputs[0]].partition(";")[0]
    is_own = kind in ("RESHAPE", "PAD", "PADV2") and made.endswith(f".{kind.lower()}")
    return "Identity" if is_own else _KINDS.get(kind, "".join(part.capitalize() for part in kind.split("_")))


def _named(indices) -> list[str]:
    return [_state["names"][index] if index >= 0 else "" for index in indices]


def _is_constant(tensor) -> bool:
    return _state["model"].buffers[tensor.buffer].data is not None


def _is_rounded(tensor) -> bool:
    held = tensor.quantization
    return tensor.type == _INT8 and held is not None and held.scale is not None and len(held.scale) == 1


def _range(tensor) -> dict:
    """Scale, zero point, and the smallest and largest value of an 8-bit tensor."""
    scale, zero = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
    return {"scale": scale, "zero_point": zero, "low": (-128 - zero) * scale, "high": (127 - zero) * scale}


COMMANDS = {"read": read, "whole": whole, "accumulated": accumulated, "local": local, "save": save}
