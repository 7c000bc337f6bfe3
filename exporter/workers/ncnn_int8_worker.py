"""Writes 8-bit weights and scales into ncnn's files. Command: quantize.

ncnn's wheels contain no quantizer. A `.param` file lists the layers, one per line; the `.bin` file holds their weights
in the same order, without names or offsets. ncnn itself tells here what each layer reads, so every kind of layer can
stand between two that are quantized.
"""

from __future__ import annotations

import ncnn
import numpy as np
from worker_host import WorkerFailure

_SCALE_TERM = {"Convolution": 8, "ConvolutionDepthWise": 8, "InnerProduct": 8}  # the parameter int8_scale_term
_REQUANTIZES = ("Convolution", "ConvolutionDepthWise")
_INTEGERS, _FLOATS = 0x000D4B38, 0  # tags in front of weights
_TOP = 127


class _Layer:
    """A line of a `.param` file."""

    def __init__(self, line: str) -> None:
        words = line.split()
        self.kind, self.name = words[:2]
        inputs, outputs = int(words[2]), int(words[3])
        self.inputs, self.outputs = words[4 : 4 + inputs], words[4 + inputs : 4 + inputs + outputs]
        self.parameters = dict(word.split("=", 1) for word in words[4 + inputs + outputs :])
        self.weights: list[np.ndarray] = []  # with their tag where they have one
        self.product: dict | None = None  # of the layers that compute in int8

    def line(self) -> str:
        parameters = (f"{key}={value}" for key, value in self.parameters.items())
        ends = (len(self.inputs), len(self.outputs), *self.inputs, *self.outputs)
        return " ".join(map(str, (self.kind, self.name, *ends, *parameters)))

    @property
    def floats(self) -> np.ndarray:
        """The weights of a product, one row for each output channel."""
        return self.weights[0][4:].view(np.float32).reshape(int(self.parameters["0"]), -1)


class _Asked(ncnn.ModelBin):
    """Notes what a layer reads: how many numbers, and whether a tag comes before them."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[int, bool]] = []
        self._given: list[ncnn.Mat] = []  # the layer does not own them

    def load(self, *asked):
        *sizes, kind = asked
        self.reads.append((int(np.prod(sizes)), kind == 0))
        weights = ncnn.Mat(*sizes)
        weights.fill(0.0)
        self._given.append(weights)
        return weights


def quantize(arguments, _arrays):
    """Changes `param` and `bin`, which hold floats, in place.

    A product is found by its weights: they are whole multiples of its own scales.

    Args:
        products: Of each product of the graph, in its order: `scales` of its weights, one for each output channel, and
            `input_scale` of what it reads. A scale is the size of a step.

    Returns:
        names: Layers that compute in int8 now.
    """
    with open(arguments["param"]) as stream:
        magic, counts, *lines = stream.read().splitlines()
    layers, open_products = [_Layer(line) for line in lines if line.strip()], list(arguments["products"])
    _read_weights(arguments["param"], arguments["bin"], layers)
    for layer in layers:
        if layer.kind in _SCALE_TERM:
            layer.product = next((one for one in open_products if _is_on_grid(layer, one["scales"])), None)
            if layer.product is not None:
                open_products.remove(layer.product)
    for layer in layers:
        if layer.product is not None:
            _quantize(layer, _scale_behind(layer, layers))
    with open(arguments["param"], "w") as stream:
        stream.write("\n".join([magic, counts, *(layer.line() for layer in layers), ""]))
    with open(arguments["bin"], "wb") as stream:
        for layer in layers:
            stream.writelines(weights.tobytes() for weights in layer.weights)
    return {"names": [layer.name for layer in layers if layer.product is not None]}, []


def _reads(param: str) -> list[list[tuple[int, bool]]]:
    """What each layer reads, as ncnn says."""
    net = ncnn.Net()
    if net.load_param(param) != 0:
        raise WorkerFailure(f"ncnn cannot load {param}")
    asked = [_Asked() for _ in net.layers()]
    for layer, one in zip(net.layers(), asked, strict=True):
        layer.load_model(one)
    return [one.reads for one in asked]


def _read_weights(param: str, file: str, layers: list[_Layer]) -> None:
    content, at = np.fromfile(file, np.uint8), 0
    for layer, reads in zip(layers, _reads(param), strict=True):
        for size, is_tagged in reads:
            end = at + 4 * size + (4 if is_tagged else 0)
            if end > len(content) or (is_tagged and content[at : at + 4].any()):
                raise WorkerFailure(f"{file}: the weights of {layer.name} are not fp32")
            layer.weights.append(content[at:end])
            at = end
    if at != len(content):
        raise WorkerFailure(f"{file}: {len(content) - at} bytes belong to no layer")


def _is_on_grid(layer: _Layer, scales: list[float]) -> bool:
    """Whether weights are whole multiples of these scales."""
    if len(scales) != int(layer.parameters["0"]) or layer.floats.shape[0] != len(scales):
        return False
    if layer.kind == "ConvolutionDepthWise" and int(layer.parameters["7"]) != len(scales):
        return False  # one scale for a group of channels
    return np.array_equal((_whole(layer, scales) * np.array(scales)[:, None]).astype(np.float32), layer.floats)


def _whole(layer: _Layer, scales: list[float]) -> np.ndarray:
    return np.clip(np.rint(layer.floats / np.array(scales)[:, None]), -_TOP, _TOP)


def _scale_behind(layer: _Layer, layers: list[_Layer]) -> float:
    """The input scale of the int8 convolutions behind a convolution, which then gives integers; 0: it gives floats."""
    readers, waiting = [], list(layer.outputs)
    while waiting:
        name = waiting.pop()
        found = [one for one in layers if name in one.inputs]
        if not found:
            return 0.0  # an output
        for one in found:
            if one.kind == "Split":
                waiting += one.outputs
            else:
                readers.append(one)
    scales = {one.product["input_scale"] if one.product is not None else 0.0 for one in readers}
    if layer.kind not in _REQUANTIZES or len(scales) > 1 or any(one.kind not in _REQUANTIZES for one in readers):
        return 0.0
    return scales.pop()


def _quantize(layer: _Layer, scale_behind: float) -> None:
    """Replaces a layer's floats; ncnn's scales are steps per unit."""
    product = layer.product
    whole = _whole(layer, product["scales"]).astype(np.int8).reshape(-1)
    padding = np.zeros(-len(whole) % 4, np.int8)
    tag = np.array([_INTEGERS], np.uint32)
    integers = np.concatenate([tag.view(np.uint8), whole.view(np.uint8), padding.view(np.uint8)])
    steps = [1 / np.array(product["scales"]), np.array([1 / product["input_scale"]])]
    if scale_behind:
        steps.append(np.array([1 / scale_behind]))
    layer.parameters[str(_SCALE_TERM[layer.kind])] = "101" if scale_behind else "1"
    scales = [one.astype(np.float32).view(np.uint8) for one in steps]
    layer.weights = [integers, *layer.weights[1:], *scales]


COMMANDS = {"quantize": quantize}
