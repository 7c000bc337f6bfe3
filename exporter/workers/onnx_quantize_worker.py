"""Observes activation ranges and quantizes an ONNX model. Commands: begin, observe, quantize."""

from __future__ import annotations

import os

import numpy as np
import onnx
import onnxruntime as ort
from histogram import Histogram
from onnx import TensorProto
from onnx_worker import _io, _session, _strip
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.registry import QDQRegistry
from onnxruntime.quantization.shape_inference import quant_pre_process
from worker_host import Failure

_state: dict = {}


def begin(arguments, _arrays):
    """Folds BatchNorm and constants, and opens the model with every activation that will be quantized as an output."""
    folded = os.path.join(arguments["scratch"], "folded.onnx")
    quant_pre_process(arguments["fp32"], folded, skip_symbolic_shape=True)
    model = onnx.load(folded)
    operators = sorted(
        {node.op_type for node in model.graph.node if node.op_type in QDQRegistry} - set(arguments["float_operators"])
    )
    names = _activations(model, operators)
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    present = {output.name for output in observed.graph.output}
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    session = ort.InferenceSession(observed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    histograms = {name: Histogram() for name in names}
    _state.update(arguments=arguments, model=model, operators=operators, session=session, histograms=histograms)
    return {"tensors": len(names)}, []


def _activations(model, operators: list[str]) -> list[str]:
    """Float tensors that flow into or out of an operator that is quantized, in graph order."""
    inferred = onnx.shape_inference.infer_shapes(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    kinds |= {v.name: v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)}
    constants = {value.name for value in model.graph.initializer}
    names: dict[str, None] = {}
    for node in model.graph.node:
        if node.op_type in operators:
            for name in (*node.input, *node.output):
                if name and name not in constants and kinds.get(name) == TensorProto.FLOAT:
                    names[name] = None
    return list(names)


def observe(_arguments, arrays):
    session, histograms = _state["session"], _state["histograms"]
    feed = {value.name: array for value, array in zip(session.get_inputs(), arrays, strict=True)}
    names = [name for name in histograms if name not in feed]
    finite = True
    for name, value in (*zip(names, session.run(names, feed), strict=True), *feed.items()):
        if name in histograms:
            finite &= histograms[name].add(value)
    return {"finite": bool(finite)}, []


def quantize(arguments, _arrays):
    given, model = _state["arguments"], _state["model"]
    ranges = {}
    for name, histogram in _state["histograms"].items():
        low, high = histogram.range(given["method"], given["percentile"])
        ranges[name] = TensorData(lowest=np.float32(low), highest=np.float32(high))
    if all(data.range_value[0] == data.range_value[1] for data in ranges.values()):
        raise Failure(
            "every activation is constant on the calibration images",
            cause="the images are all alike, or the model ignores its input",
            hint="calibrate with a varied sample of real images",
        )
    unknown = set(given["float_nodes"]) - {node.name for node in model.graph.node}
    if unknown:
        raise Failure(f"float_nodes names operators that the model does not have: {', '.join(sorted(unknown))}")
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=[],
        nodes_to_exclude=list(given["float_nodes"]),
        op_types_to_quantize=_state["operators"],
        extra_options={},
    )
    metadata = [(entry.key, entry.value) for entry in model.metadata_props if entry.key.startswith("segexport.")]
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    done = quantizer.model.model
    _strip(done)
    for key, value in metadata:
        entry = done.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(done)
    _session(done)
    with open(arguments["out"], "wb") as file:
        file.write(done.SerializeToString(deterministic=True))
    return {**_io(done), "notes": [f"quantized operator types: {', '.join(_state['operators'])}"]}, []


COMMANDS = {"begin": begin, "observe": observe, "quantize": quantize}
