"""Reads ncnn's two files: `.param` lists the layers, one per line; `.bin` contains their weights in the same order.

Weights have neither names nor offsets; ncnn itself reports here what each layer reads.
"""

from __future__ import annotations

import ncnn
import numpy as np
from worker_host import WorkerFailure

FLOATS, HALVES, INTEGERS = 0, 0x01306B47, 0x000D4B38  # tags in front of weights
_BYTES = {FLOATS: 4, HALVES: 2, INTEGERS: 1}


class NcnnLayer:
    """A line of a `.param` file.

    Attributes:
        kind, name: Type and name.
        inputs, outputs: Names of tensors ("blobs").
        parameters: Number of a parameter -> its value, as text.
        weights: Bytes of the layer's weights, in order, with tags; empty before `read_weights`.
        tagged: Whether each weight has a tag with its storage format.
    """

    def __init__(self, line: str) -> None:
        words = line.split()
        self.kind, self.name = words[:2]
        inputs, outputs = int(words[2]), int(words[3])
        self.inputs, self.outputs = words[4 : 4 + inputs], words[4 + inputs : 4 + inputs + outputs]
        self.parameters = dict(word.split("=", 1) for word in words[4 + inputs + outputs :])
        self.weights: list[np.ndarray] = []
        self.tagged: list[bool] = []

    def line(self) -> str:
        parameters = (f"{key}={value}" for key, value in self.parameters.items())
        ends = (len(self.inputs), len(self.outputs), *self.inputs, *self.outputs)
        return " ".join(map(str, (self.kind, self.name, *ends, *parameters)))


class _Asked(ncnn.ModelBin):
    """Records a layer's reads: number of values, and whether a tag precedes them."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[int, bool]] = []
        self._given: list[ncnn.Mat] = []  # the layer does not own them

    def load(self, *asked):
        *sizes, kind = asked
        self.reads.append((int(np.prod(sizes)), kind == 0))
        weights = ncnn.Mat(*sizes)
        weights.fill(1.0)
        self._given.append(weights)
        return weights


def read_layers(param: str) -> tuple[list[str], list[NcnnLayer]]:
    """Returns the two lines before the layers, and the layers."""
    with open(param) as stream:
        magic, counts, *lines = stream.read().splitlines()
    return [magic, counts], [NcnnLayer(line) for line in lines if line.strip()]


def write_layers(param: str, head: list[str], layers: list[NcnnLayer]) -> None:
    with open(param, "w") as stream:
        stream.write("\n".join([*head, *(layer.line() for layer in layers), ""]))


def read_weights(param: str, file: str, layers: list[NcnnLayer]) -> None:
    """Sets the weights of all layers."""
    net = ncnn.Net()
    if net.load_param(param) != 0:
        raise WorkerFailure(f"ncnn cannot load {param}")
    asked = [_Asked() for _ in net.layers()]
    for layer, one in zip(net.layers(), asked, strict=True):
        layer.load_model(one)
    content, at = np.fromfile(file, np.uint8), 0
    for layer, one in zip(layers, asked, strict=True):
        for size, is_tagged in one.reads:
            end = at + 4 * size
            if is_tagged:
                tag = int(content[at : at + 4].view(np.uint32)[0])
                if tag not in _BYTES:
                    raise WorkerFailure(f"{file}: the weights of {layer.name} are stored in an unknown form")
                end = at + 4 + -(-_BYTES[tag] * size // 4) * 4
            if end > len(content):
                raise WorkerFailure(f"{file}: it ends before the weights of {layer.name}")
            layer.weights.append(content[at:end])
            layer.tagged.append(is_tagged)
            at = end
    if at != len(content):
        raise WorkerFailure(f"{file}: {len(content) - at} bytes belong to no layer")


def floats_of(weights: np.ndarray) -> np.ndarray | None:
    """Converts tagged weights to float32; None for another storage format."""
    return weights[4:].view(np.float32) if not weights[:4].any() else None


def halves_of(weights: np.ndarray) -> np.ndarray:
    """Converts tagged fp32 weights to fp16 with its tag; unchanged if fp16 would overflow or for another format."""
    floats = floats_of(weights)
    if floats is None or np.abs(floats).max(initial=0) > np.finfo(np.float16).max:
        return weights
    half = floats.astype(np.float16)
    parts = (np.array([HALVES], np.uint32), half, np.zeros(len(half) % 2, np.float16))
    return np.concatenate([part.view(np.uint8) for part in parts])


def loaded(param: str, file: str) -> ncnn.Net:
    """Loads the network; it computes in fp32, and in int8 for layers with scales."""
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    if net.load_param(param) != 0 or net.load_model(file) != 0:
        raise WorkerFailure(f"ncnn cannot load {param}")
    return net
