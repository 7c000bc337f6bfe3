"""4-bit weights: two per byte in the file, widened to 8 bits when the model is loaded.

INT4 -> Cast to int8 -> DequantizeLinear: ONNX Runtime folds the Cast of a constant and then uses the same int8 kernels
as for 8-bit weights. DequantizeLinear accepts INT4 directly, but ONNX Runtime does not fuse that.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter
from worker_host import WorkerFailure

OPSET, IR_VERSION = 21, 10  # the first with 4-bit tensors
_INT4 = TensorProto.INT4
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_WIDENS = ("DequantizeLinear", "Cast", "Mul", "Reshape")  # from the constant to the weights


def as_new(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in the first opset with 4-bit tensors.

    Raises:
        WorkerFailure: onnx cannot convert it.
    """
    known = {value.name for value in model.graph.value_info}
    try:
        found = version_converter.convert_version(model, OPSET)
    except Exception as error:
        raise WorkerFailure(
            f"4-bit weights need opset {OPSET}, and onnx cannot convert this model to it",
            cause=" ".join(str(error).split())[:200],
            hint="--precision int8 keeps the opset",
        ) from error
    found.ir_version = max(found.ir_version, IR_VERSION)
    kept = [value for value in found.graph.value_info if value.name in known]
    del found.graph.value_info[:]
    found.graph.value_info.extend(kept)
    return found


def narrow(model: onnx.ModelProto, names: list[str]) -> None:
    """Packs int8 constants whose values fit into 4 bits, two per byte; a Cast widens each.

    Names that the model does not have are those of layers that stay in float.
    """
    held = {value.name: value for value in model.graph.initializer}
    for name in reversed([name for name in names if name in held]):
        value, wide = numpy_helper.to_array(held[name]), f"{name}_wide"
        held[name].CopyFrom(packed(value, name))
        for node in model.graph.node:
            if node.op_type == "DequantizeLinear" and node.input[0] == name:
                node.input[0] = wide
        model.graph.node.insert(0, helper.make_node("Cast", [name], [wide], f"{name}_widen", to=TensorProto.INT8))


def packed(value: np.ndarray, name: str) -> TensorProto:
    """An INT4 tensor by the ONNX specification: the low half of a byte is the first of its two values."""
    halves = value.reshape(-1).astype(np.int8).view(np.uint8) & 15
    halves = np.append(halves, np.zeros(halves.size % 2, np.uint8))
    found = TensorProto(name=name, data_type=_INT4, dims=list(value.shape))
    found.raw_data = (halves[0::2] | halves[1::2] << 4).tobytes()
    return found


def narrow_products(model: onnx.ModelProto, kind: int = _INT4) -> list[str]:
    """Names of the convolutions and matrix products whose weights have this element type in the file."""
    kinds = {value.name: value.data_type for value in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}

    def source(name: str) -> str:
        node = producers.get(name)
        while node is not None and node.op_type in _WIDENS:
            name = node.input[0]
            node = producers.get(name)
        return name

    return [
        node.name
        for node in model.graph.node
        if len(node.input) > 1 and kinds.get(source(node.input[1])) == kind and node.op_type in _PRODUCTS
    ]
