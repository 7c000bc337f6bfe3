"""Samples every tensor of an ONNX model on one image. Command: samples."""

from __future__ import annotations

import os

import numpy as np
import onnx
import onnxruntime as ort
from node_reads import reads
from onnx import NodeProto, helper, numpy_helper

_VALUES = 64  # sampled values per tensor
_AT_ONCE = 48  # operators whose outputs are in memory at the same time


def samples(arguments, arrays):
    """Returns name, number of elements and evenly spread values of each float tensor, in the graph's order.

    The model runs once, part by part; a tensor is kept until its last reader has run.
    """
    model = onnx.load(arguments["onnx"])
    constants = {value.name: value for value in model.graph.initializer}
    given = [value.name for value in model.graph.input if value.name not in constants]
    values = dict(zip(given, arrays, strict=True))
    last_reader = {name: index for index, node in enumerate(model.graph.node) for name in reads(node)}
    # a sequence of tensors cannot be given to the next part
    step = len(model.graph.node) if any("Sequence" in node.op_type for node in model.graph.node) else _AT_ONCE
    found = []
    for start in range(0, len(model.graph.node), step):
        nodes = model.graph.node[start : start + step]
        made = [name for node in nodes for name in node.output if name]
        session = _session(_part(model, list(nodes), made, values, constants))
        feed = {value.name: values[value.name] for value in session.get_inputs()}
        for name, value in zip(made, session.run(made, feed), strict=True):
            values[name] = value
            if isinstance(value, np.ndarray) and value.dtype == np.float32 and value.size:
                flat = value.reshape(-1)
                places = np.linspace(0, flat.size - 1, min(_VALUES, flat.size)).astype(np.int64)
                found.append([name, flat.size, flat[places].tolist()])
        values = {name: value for name, value in values.items() if last_reader.get(name, -1) >= start + step}
    return {"samples": found}, []


def _part(model, nodes: list[NodeProto], made: list[str], values: dict, constants: dict) -> onnx.ModelProto:
    """The model of these operators: it reads `values` and the constants, and returns all that it makes.

    Integers that were computed, such as the size of a resize, are constants: ONNX Runtime infers sizes from them.
    """
    read = dict.fromkeys(name for node in nodes for name in reads(node))
    known = {name: values[name] for name in read if name in values and values[name].dtype == np.int64}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(values[name].dtype), values[name].shape)
        for name in read
        if name in values and name not in known
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in made]
    held = [constants[name] for name in read if name in constants]
    held += [numpy_helper.from_array(value, name) for name, value in known.items()]
    graph = helper.make_graph(nodes, "part", inputs, outputs, held)
    part = onnx.ModelProto()
    part.CopyFrom(onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, graph=graph))
    part.functions.extend(model.functions)
    return part


def _session(model) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


COMMANDS = {"samples": samples}
