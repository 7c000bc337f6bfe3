"""Makes int8 models in QDQ form from a float model and the ranges of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from float_model import PRODUCTS
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from worker_host import WorkerFailure


def int8_model(
    source: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]], chosen: set[str], options: Mapping[str, Any]
) -> onnx.ModelProto:
    """A copy of the float model with these operators in int8 and weights rounded to the nearest.

    Args:
        ranges: Tensor -> lowest and highest value.
        options: `per_channel`, `symmetric`, `inputs_only`; see `QuantizeOnnx.Params`.
    """
    model = copy_of(source)
    symmetric = options["symmetric"]
    tensors = {n: TensorData(lowest=np.float32(low), highest=np.float32(high)) for n, (low, high) in ranges.items()}
    quantizer = QDQQuantizer(
        model,
        per_channel=options["per_channel"],
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, tensors),
        nodes_to_quantize=sorted(chosen),
        nodes_to_exclude=[],
        op_types_to_quantize=sorted({node.op_type for node in model.graph.node if node.name in chosen}),
        extra_options={
            "ActivationSymmetric": symmetric,
            "OpTypesToExcludeOutputQuantization": sorted(PRODUCTS) if options["inputs_only"] else [],
            "TensorQuantOverrides": {name: [{"symmetric": True}] for name in sorted(_of_one_scale(model))},
        },
    )
    try:
        quantizer.quantize_model()
    except Exception as error:
        raise WorkerFailure(
            "ONNX Runtime cannot quantize the model",
            cause=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            hint="leave the operator that it names in float: calibration: {float_operators: [TYPE]} in a recipe",
        ) from error
    quantizer.model.topological_sort()
    return quantizer.model.model


def _of_one_scale(model: onnx.ModelProto) -> set[str]:
    """Constants of matrix products that get one scale: stacks of matrices, and those on the left.

    ONNX Runtime writes scales for stacks that its own product refuses, and scales for the columns of matrices on the
    left, over which the product adds.
    """
    deep = {value.name for value in model.graph.initializer if len(value.dims) > 2}
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    left = {value.name for value in model.graph.initializer} & {node.input[0] for node in products}
    return left | deep & {node.input[1] for node in products}


def require_varied(ranges: Mapping[str, tuple[float, float]]) -> None:
    if ranges and all(low == high for low, high in ranges.values()):
        raise WorkerFailure(
            "every activation is constant on the calibration images",
            cause="the images are all alike, or the model ignores its input",
            hint="calibrate with a varied sample of real images",
        )


def scales_of(model: onnx.ModelProto) -> dict[str, dict[str, float]]:
    """Returns activation -> scale and zero point, for all rounded activations."""
    constants = {value.name: value for value in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[1] in constants:
            scale, zero = (numpy_helper.to_array(constants[name]).item() for name in node.input[1:3])
            found[node.input[0].removesuffix("_QuantizeLinear_Input")] = {"scale": scale, "zero_point": zero}
    return found


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
