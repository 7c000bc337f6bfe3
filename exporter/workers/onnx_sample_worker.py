"""Samples every tensor of an ONNX model on one image. Command: samples."""

from __future__ import annotations

import os

import numpy as np
import onnx
import onnxruntime as ort

_VALUES = 64  # sampled values per tensor
_AT_ONCE = 48  # most tensors in memory


def samples(arguments, arrays):
    """Returns name, number of elements and evenly spread values of each float tensor, in the graph's order."""
    model = onnx.load(arguments["onnx"])
    names = [name for node in model.graph.node for name in node.output if name]
    found = []
    for start in range(0, len(names), _AT_ONCE):
        part = names[start : start + _AT_ONCE]
        tapped = onnx.ModelProto()
        tapped.CopyFrom(model)
        present = {value.name for value in tapped.graph.output}
        tapped.graph.output.extend(onnx.ValueInfoProto(name=name) for name in part if name not in present)
        session = _session(tapped)
        feed = {value.name: array for value, array in zip(session.get_inputs(), arrays, strict=True)}
        for name, value in zip(part, session.run(part, feed), strict=True):
            if isinstance(value, np.ndarray) and value.dtype == np.float32 and value.size:
                flat = value.reshape(-1)
                places = np.linspace(0, flat.size - 1, min(_VALUES, flat.size)).astype(np.int64)
                found.append([name, flat.size, flat[places].tolist()])
    return {"samples": found}, []


def _session(model):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


COMMANDS = {"samples": samples}
