"""The float ONNX model that a quantizer starts from, with names and extra outputs, and how its result is written."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime as ort
from narrow_weights import as_new
from onnx import TensorProto, numpy_helper
from onnx_worker import _io, _session, _strip
from onnxruntime.quantization.shape_inference import quant_pre_process
from worker_host import WorkerFailure

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})  # the operators with weights


def folded_model(arguments: dict, *, four_bits: bool) -> onnx.ModelProto:
    """The model `fp32` with BatchNorm and constants folded and every operator named.

    Args:
        arguments: `fp32` and `scratch`, paths; `float_nodes`, names of operators that it must have.
        four_bits: Whether weights of 4 bits will be stored, which want a newer opset.
    """
    folded = os.path.join(arguments["scratch"], "folded.onnx")
    quant_pre_process(arguments["fp32"], folded, skip_symbolic_shape=True)
    model = onnx.load(folded)
    _require_finite_weights(model)
    if four_bits:
        model = as_new(model)
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    unknown = set(arguments["float_nodes"]) - {node.name for node in model.graph.node}
    if unknown:
        raise WorkerFailure(f"float_nodes names operators that the model does not have: {', '.join(sorted(unknown))}")
    return model


def _require_finite_weights(model: onnx.ModelProto) -> None:
    for value in model.graph.initializer:
        if value.data_type == TensorProto.FLOAT and not np.isfinite(numpy_helper.to_array(value)).all():
            raise WorkerFailure(
                f"the model's constant {value.name} contains NaN or infinity",
                cause="the training diverged, or the file is damaged",
                hint="export the model again from a good checkpoint",
            )


def observing(model: onnx.ModelProto, names: Iterable[str]) -> ort.InferenceSession:
    """A session of the model that also returns these tensors."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    present = {value.name for value in (*observed.graph.output, *observed.graph.input)}
    more = [name for name in dict.fromkeys(names) if name not in present]
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in more)
    return session_of(observed)


def session_of(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def values_of(session: ort.InferenceSession, names: list[str], arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Tensor of the float model -> its value for one image; includes the inputs."""
    feed = {value.name: array for value, array in zip(session.get_inputs(), arrays, strict=True)}
    names = [name for name in names if name not in feed]
    return (dict(zip(names, session.run(names, feed), strict=True)) if names else {}) | feed  # [] would mean all


def metadata_of(model: onnx.ModelProto) -> list[tuple[str, str]]:
    """What segexport wrote into the model: quantizers lose it."""
    return [(entry.key, entry.value) for entry in model.metadata_props if entry.key.startswith("segexport.")]


def write_model(model: onnx.ModelProto, metadata: list[tuple[str, str]], out: str) -> dict:
    """Writes a model that loads; returns its inputs and outputs."""
    _strip(model)
    for key, value in metadata:
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    _session(model)
    with open(out, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
    return _io(model)
