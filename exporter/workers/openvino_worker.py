"""Converts models to OpenVINO and describes them. Commands: convert, describe, narrow_products."""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset8
from openvino._offline_transformations import apply_moc_transformations
from openvino.passes import ConstantFolding, Manager
from openvino.utils import replace_node
from worker_host import WorkerFailure

_PRODUCTS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul")
_WIDENS = ("Convert", "Multiply", "Reshape", "Transpose", "Unsqueeze")  # from the constant to the weights


def convert(arguments, _arrays):
    """Converts an ONNX file or a Paddle program to `.xml` and `.bin`; the tensors of `names` keep their names."""
    model = read(arguments["model"])
    for name in arguments["names"]:
        if not any(name in port.get_names() for port in (*model.inputs, *model.outputs)):
            raise WorkerFailure(f"OpenVINO loses the name of the tensor {name!r}")
    save(model, arguments["out"], half=arguments["half"])
    return {"version": ov.__version__.split("-")[0]}, []


def describe(arguments, _arrays):
    """Inputs, outputs and precision of a model that segexport did not write; `names` are preferred for its tensors."""
    try:
        model = ov.Core().read_model(arguments["model"])
    except Exception as error:
        cause = " ".join(str(error).split())[:300]
        raise WorkerFailure(f"{arguments['model']}: not a valid OpenVINO model", cause=cause) from error
    kinds = {node.get_element_type() for node in model.get_ops() if node.get_type_name() == "Constant"}
    rounds = any(node.get_type_name() == "FakeQuantize" for node in model.get_ops())
    return {
        "inputs": [_described(port, arguments["names"]) for port in model.inputs],
        "outputs": [_described(port, arguments["names"]) for port in model.outputs],
        "precision": "int8" if rounds else "fp16" if ov.Type.f16 in kinds else "fp32",
    }, []


def narrow_products(arguments, _arrays):
    """Names of the convolutions and matrix products whose weights are of the element type `kind` in the file."""
    model, kind = ov.Core().read_model(arguments["model"]), getattr(ov.Type, arguments["kind"])
    products = [node for node in model.get_ops() if node.get_type_name() in _PRODUCTS]
    return {"names": [node.get_friendly_name() for node in products if _stored_kind(node) == kind]}, []


def _stored_kind(product):
    """Element type of the constant that a product's weights are made from; None if they are computed of more."""
    node = product.input(1).get_source_output().get_node()
    while node.get_type_name() in _WIDENS:
        node = node.input(0).get_source_output().get_node()
    return node.get_element_type() if node.get_type_name() == "Constant" else None


def _described(port, known: list[str]) -> dict:
    names = port.get_names()
    if not names:
        raise WorkerFailure("an input or output of the model has no name")
    name = next((name for name in known if name in names), min(names))
    shape = [dimension.get_length() if dimension.is_static else -1 for dimension in port.partial_shape]
    return {"name": name, "dtype": port.element_type.to_dtype().name, "shape": shape}


def read(file: str):
    """Reads a model; folds its constants and fuses its operators."""
    try:
        model = _fused(file)
        _write_hard_swish(model)
    except Exception as error:
        raise WorkerFailure("OpenVINO cannot convert the model", cause=" ".join(str(error).split())[:300]) from error
    return model


def _fused(file: str):
    """Only folds constants if a fusion fails: of attention whose biases are added per window, it loses the windows."""
    model = ov.Core().read_model(file)
    try:
        apply_moc_transformations(model, cf=True)
    except RuntimeError:
        model = ov.Core().read_model(file)
        manager = Manager()
        manager.register_pass(ConstantFolding())
        manager.run_passes(model)
    return model


def _write_hard_swish(model) -> None:
    """Fuses `x * HardSigmoid(x)`, as in int8 ONNX models, into one operator: OpenVINO has no fast kernel for two."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Multiply":
            continue
        first, second = (given.get_source_output() for given in node.inputs())
        for x, gate in ((first, second.get_node()), (second, first.get_node())):
            if gate.get_type_name() != "HardSigmoid" or gate.input(0).get_source_output() != x:
                continue
            slope, offset = (gate.input(place).get_source_output().get_node() for place in (1, 2))
            constants = slope.get_type_name() == offset.get_type_name() == "Constant"
            if constants and np.allclose((slope.get_data(), offset.get_data()), (1 / 6, 0.5), rtol=1e-6):
                whole = opset8.hswish(x)
                whole.output(0).set_names(node.output(0).get_names())
                replace_node(node, whole)
                break


def save(model, out: str, *, half: bool) -> None:
    """Writes the `.xml` without white space, which takes a third of it, and the `.bin`."""
    _read_extremes_twice(model)
    _count_padding_apart(model)
    _fold_biases(model)
    _share_limits(model)
    ov.save_model(model, out, half)
    with open(out, encoding="utf-8") as file:
        text = "".join(line.strip() for line in file)
    with open(out, "w", encoding="utf-8") as file:
        file.write(text)


def _read_extremes_twice(model) -> None:
    """Gives the results of ReduceMax and ReduceMin two readers: max(x, x) instead of x.

    OpenVINO 2026.4 fuses what alone reads a result, and keeps the extremes that it has found so far in the bytes that
    are written then, where floats lose their fractions and signed bytes their signs.
    """
    nodes = model.get_ordered_ops()
    if not any(node.get_type_name() == "FakeQuantize" for node in nodes):
        return
    for node in nodes:
        if node.get_type_name() in ("ReduceMax", "ReduceMin"):
            readers, names = node.output(0).get_target_inputs(), node.output(0).get_names()
            same = opset8.maximum(node.output(0), node.output(0)).output(0)
            for reader in readers:
                reader.replace_source_output(same)
            node.output(0).set_names(set())
            same.set_names(names)


def _count_padding_apart(model) -> None:
    """Writes averages that count their padding as averages that do not, times the share of each window that is inside.

    OpenVINO 2026.4 pads rounded values with the byte 0, which is not the value 0 where values can be negative.
    """
    nodes = model.get_ordered_ops()
    if not any(node.get_type_name() == "FakeQuantize" for node in nodes):
        return
    for node in nodes:
        if node.get_type_name() == "AvgPool" and _counts_padding(node.get_attributes()):
            images, pool = node.input_value(0), node.get_attributes()
            averages, shares = _averages(images, pool, True), _averages(_ones_like(images), pool, False)
            whole = opset8.multiply(averages, shares)
            whole.output(0).set_names(node.output(0).get_names())
            replace_node(node, whole)


def _counts_padding(pool: dict) -> bool:
    return not pool["exclude-pad"] and any((*pool["pads_begin"], *pool["pads_end"]))


def _averages(images, pool: dict, without_padding: bool):
    pads = pool["pads_begin"], pool["pads_end"]
    rounding, auto = pool["rounding_type"], pool["auto_pad"]
    return opset8.avg_pool(images, pool["strides"], *pads, pool["kernel"], without_padding, rounding, auto)


def _ones_like(images):
    """One image of one channel that is 1 everywhere, of the same height and width."""
    spatial = np.arange(2, images.get_partial_shape().rank.get_length())
    sizes = opset8.gather(opset8.shape_of(images), spatial, np.int64(0))
    ones = opset8.broadcast(np.float32(1), opset8.concat([np.ones(2, np.int64), sizes], 0))
    return ones.output(0)


def _fold_biases(model) -> None:
    """Replaces an int32 bias and its scale by one fp32 constant, which OpenVINO otherwise computes at each loading."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Add":
            for given in node.inputs():
                source = given.get_source_output()
                value = _constant(source.get_node())
                if value is not None and source.get_node().get_type_name() != "Constant":
                    given.replace_source_output(opset8.constant(value).output(0))


def _constant(node):
    """The constant value of a bias's node; None if it is unknown before the run, or has 4 or 8 bits in the file."""
    kind = node.get_type_name()
    if kind == "Constant":
        return None if node.get_element_type() in (ov.Type.i4, ov.Type.i8, ov.Type.u8) else node.get_data()
    if kind not in ("Convert", "Multiply", "Reshape"):
        return None
    values = [_constant(given.get_source_output().get_node()) for given in node.inputs()]
    if any(value is None for value in values):
        return None
    if kind == "Convert":
        return values[0].astype(node.get_element_type().to_dtype())
    return values[0] * values[1] if kind == "Multiply" else values[0].reshape(node.get_output_shape(0))


def _share_limits(model) -> None:
    """Shares a rounding's limits, which are equal before and after it: two constants instead of four."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize":
            before, after = [[node.input(place) for place in pair] for pair in ((1, 2), (3, 4))]
            for one, other in zip(before, after, strict=True):
                known = [port.get_source_output().get_node() for port in (one, other)]
                if all(each.get_type_name() == "Constant" for each in known):
                    first, second = (each.get_data() for each in known)
                    if first.shape == second.shape and (first == second).all():
                        other.replace_source_output(one.get_source_output())


COMMANDS = {"convert": convert, "describe": describe, "narrow_products": narrow_products}
