"""Changes the files of pnnx. Commands: name_tensors, quantize."""

from __future__ import annotations

import ncnn
import numpy as np
from ncnn_files import INTEGERS, NcnnLayer, floats_of, halves_of, loaded, read_layers, read_weights, write_layers
from worker_host import WorkerFailure

_SCALE_TERM = {"Convolution": 8, "ConvolutionDepthWise": 8, "InnerProduct": 8}  # the parameter int8_scale_term
_REQUANTIZES = ("Convolution", "ConvolutionDepthWise")
_TOP = 127
_TOLERANCE = 0.02  # fraction of the values' spread; weights may be fp16
_LONGEST_NAME = 200  # characters; ncnn reads 255


def name_tensors(arguments, arrays):
    """Restores the tensors' names in `param`, which pnnx replaces by numbers.

    A tensor is found by its values on one image.

    Args:
        samples: Name, number of elements and some of the values of each tensor of the source, in its order.
        arrays: The input tensors.

    Returns:
        named: Number of restored names.
    """
    head, layers = read_layers(arguments["param"])
    extractor = loaded(arguments["param"], arguments["bin"]).create_extractor()
    extractor.set_light_mode(False)  # keeps each layer's output
    given = [ncnn.Mat(np.ascontiguousarray(array[0])).clone() for array in arrays]
    for index, mat in enumerate(given):
        extractor.input(f"in{index}", mat)
    kept = {name for layer in layers for name in layer.outputs}
    waiting = [one for one in arguments["samples"] if _can_be_a_name(one[0]) and one[0] not in kept]
    names = {}
    for layer in layers:
        for blob in layer.outputs if layer.kind not in ("Input", "Split") else ():
            if not blob.isdecimal():
                continue  # an output
            code, mat = extractor.extract(blob)
            values = np.array(mat).reshape(-1)
            match = next((one for one in waiting if code == 0 and _is_same(values, one)), None)
            if match is not None:
                waiting.remove(match)
                names[blob] = match[0]
    for layer in layers:
        layer.inputs = [names.get(name, name) for name in layer.inputs]
        layer.outputs = [names.get(name, name) for name in layer.outputs]
    write_layers(arguments["param"], head, layers)
    return {"named": len(names)}, []


def _can_be_a_name(name: str) -> bool:
    return 0 < len(name) <= _LONGEST_NAME and not name.isdecimal() and not any(letter.isspace() for letter in name)


def _is_same(values: np.ndarray, sample: list) -> bool:
    _, size, expected = sample
    if values.size != size:
        return False
    expected = np.array(expected)
    found = values[np.linspace(0, size - 1, len(expected)).astype(np.int64)]
    spread = expected.max() - expected.min()
    return bool(spread > 0 and np.abs(found - expected).max() <= _TOLERANCE * spread)


def quantize(arguments, _arrays):
    """Writes 8-bit weights and scales into the float `param` and `bin`; ncnn's wheels contain no quantizer.

    A product is found by its weights, which are integer multiples of its scales. Other layers get fp16 weights.

    Args:
        products: For each product of the graph, in order: its `output`, `scales` of its weights, one per output
            channel, and `input_scale` of its input. A scale is the size of a step.

    Returns:
        names: Layers that now compute in int8.
        floats: Outputs of the products that none of them computes.
    """
    head, layers = read_layers(arguments["param"])
    read_weights(arguments["param"], arguments["bin"], layers)
    waiting, products = list(arguments["products"]), {}
    for layer in layers:
        if layer.kind in _SCALE_TERM:
            floats = floats_of(layer.weights[0])
            if floats is None:
                raise WorkerFailure(f"{arguments['bin']}: the weights of {layer.name} are not fp32")
            floats = floats.reshape(int(layer.parameters["0"]), -1)
            product = next((one for one in waiting if _is_on_grid(layer, floats, one["scales"])), None)
            if product is not None:
                waiting.remove(product)
                products[layer] = product
                layer.weights[0] = _integers(floats, product["scales"])
    for layer in layers:
        if layer not in products:
            pairs = zip(layer.weights, layer.tagged, strict=True)
            layer.weights = [halves_of(weights) if is_tagged else weights for weights, is_tagged in pairs]
    for layer, product in products.items():
        _write_scales(layer, product, _scale_behind(layer, layers, products))
    write_layers(arguments["param"], head, layers)
    with open(arguments["bin"], "wb") as stream:
        for layer in layers:
            stream.writelines(weights.tobytes() for weights in layer.weights)
    return {"names": [layer.name for layer in products], "floats": [one["output"] for one in waiting]}, []


def _is_on_grid(layer: NcnnLayer, floats: np.ndarray, scales: list[float]) -> bool:
    """Whether weights are integer multiples of these scales."""
    if len(scales) != len(floats):
        return False
    if layer.kind == "ConvolutionDepthWise" and int(layer.parameters["7"]) != len(scales):
        return False  # one scale for a group of channels
    return np.array_equal((_whole(floats, scales) * np.array(scales)[:, None]).astype(np.float32), floats)


def _whole(floats: np.ndarray, scales: list[float]) -> np.ndarray:
    return np.clip(np.rint(floats / np.array(scales)[:, None]), -_TOP, _TOP)


def _integers(floats: np.ndarray, scales: list[float]) -> np.ndarray:
    whole = _whole(floats, scales).astype(np.int8).reshape(-1)
    parts = (np.array([INTEGERS], np.uint32), whole, np.zeros(-len(whole) % 4, np.int8))
    return np.concatenate([part.view(np.uint8) for part in parts])


def _scale_behind(layer: NcnnLayer, layers: list[NcnnLayer], products: dict[NcnnLayer, dict]) -> float:
    """Input scale of the int8 convolutions after a convolution, which then outputs integers; 0: it outputs floats."""
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
    scales = {products[one]["input_scale"] if one in products else 0.0 for one in readers}
    if layer.kind not in _REQUANTIZES or len(scales) > 1 or any(one.kind not in _REQUANTIZES for one in readers):
        return 0.0
    return scales.pop()


def _write_scales(layer: NcnnLayer, product: dict, scale_behind: float) -> None:
    """Appends the scales that ncnn reads after weights and bias; its scales are steps per unit."""
    steps = [1 / np.array(product["scales"]), np.array([1 / product["input_scale"]])]
    if scale_behind:
        steps.append(np.array([1 / scale_behind]))
    layer.parameters[str(_SCALE_TERM[layer.kind])] = "101" if scale_behind else "1"
    layer.weights += [one.astype(np.float32).view(np.uint8) for one in steps]


COMMANDS = {"name_tensors": name_tensors, "quantize": quantize}
