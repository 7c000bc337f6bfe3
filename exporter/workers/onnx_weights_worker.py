"""Rounds the weights of an ONNX model and keeps its arithmetic in float. Commands: begin, gather, round, save."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import onnx
from narrow_weights import as_new
from onnx import TensorProto
from onnx_quantize_worker import PRODUCTS, _open, _require_finite_weights, values_of
from onnx_worker import _io, _session, _strip
from onnxruntime.quantization.shape_inference import quant_pre_process
from stored_weights import StoredWeights
from worker_host import WorkerFailure

_state: dict = {}


def begin(arguments, _arrays):
    """Folds BatchNorm and constants, and opens the model with the inputs of its layers as outputs.

    Returns the number of turns of `gather` and `round`.
    """
    folded = os.path.join(arguments["scratch"], "folded.onnx")
    quant_pre_process(arguments["fp32"], folded, skip_symbolic_shape=True)
    model = onnx.load(folded)
    _require_finite_weights(model)
    if 4 in (arguments["weight_bits"], arguments["ends"]):
        model = as_new(model)
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    unknown = set(arguments["float_nodes"]) - {node.name for node in model.graph.node}
    if unknown:
        raise WorkerFailure(f"float_nodes names operators that the model does not have: {', '.join(sorted(unknown))}")
    chosen = {
        node.name
        for node in model.graph.node
        if node.op_type in PRODUCTS - set(arguments["float_operators"]) and node.name not in arguments["float_nodes"]
    }
    images = arguments["images"] if arguments["rounding"] == "compensated" else 0
    stored = StoredWeights(model, chosen, images, arguments["weight_bits"], arguments["ends"], arguments["group_size"])
    if not stored.layers:
        raise WorkerFailure(
            "no weight can be stored in fewer bits",
            cause="no convolution and no matrix product has a constant second operand",
            hint="--precision fp16 halves any model",
        )
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    present = {value.name for value in (*observed.graph.output, *observed.graph.input)}
    seen = dict.fromkeys(name for turn in range(len(stored.turns)) for name in stored.wanted(turn))
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in seen if name not in present)
    _state.update(model=model, stored=stored, session=_open(observed) if images else None)
    _state["metadata"] = [(e.key, e.value) for e in model.metadata_props if e.key.startswith("segexport.")]
    return {"turns": len(stored.turns)}, []


def gather(arguments, arrays):
    """Adds a calibration image to the Hessians of a turn; returns whether all values are finite."""
    stored = _state["stored"]
    wanted = stored.wanted(arguments["turn"])
    values = values_of(_state["session"], wanted, arrays)
    finite = all(np.isfinite(values[name]).all() for name in wanted)
    if finite:
        stored.gather(arguments["turn"], arguments["image"], values)
    return {"finite": bool(finite)}, []


def round_weights(arguments, _arrays):
    """Rounds the weights of a turn; returns each weight's error relative to that of rounding to the nearest."""
    return {"gains": _state["stored"].round(arguments["turn"])}, []


def save(arguments, _arrays):
    model, stored = _state["model"], _state["stored"]
    stored.finish()
    _strip(model)
    for key, value in _state["metadata"]:
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    _session(model)
    with open(arguments["out"], "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
    bits = Counter(stored.bits.values())
    floats = sum(int(np.prod(value.dims)) for value in model.graph.initializer if value.data_type == TensorProto.FLOAT)
    kept = ", ".join(f"{count} in {size} bits" for size, count in sorted(bits.items()))
    return {**_io(model), "notes": [f"weights: {kept}; {floats} values stay in float"]}, []


COMMANDS = {"begin": begin, "gather": gather, "round": round_weights, "save": save}
