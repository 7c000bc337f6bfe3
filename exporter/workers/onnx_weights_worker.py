"""Rounds the weights of an ONNX model and keeps its arithmetic in float. Commands: begin, gather, round, save."""

from __future__ import annotations

from collections import Counter

import numpy as np
from float_model import PRODUCTS, folded_model, metadata_of, observing, values_of, write_model
from onnx import TensorProto
from stored_weights import StoredWeights
from worker_host import WorkerFailure

_state: dict = {}


def begin(arguments, _arrays):
    """Folds BatchNorm and constants, and opens the model with the inputs of its layers as outputs.

    Returns the number of turns of `gather` and `round`.
    """
    model = folded_model(arguments, four_bits=4 in (arguments["weight_bits"], arguments["ends"]))
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
    seen = [name for turn in range(len(stored.turns)) for name in stored.wanted(turn)]
    _state.update(model=model, stored=stored, session=observing(model, seen) if images else None)
    _state["metadata"] = metadata_of(model)
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
    io = write_model(model, _state["metadata"], arguments["out"])
    bits = Counter(stored.bits.values())
    floats = sum(int(np.prod(value.dims)) for value in model.graph.initializer if value.data_type == TensorProto.FLOAT)
    kept = ", ".join(f"{count} in {size} bits" for size, count in sorted(bits.items()))
    return {**io, "notes": [f"weights: {kept}; {floats} values stay in float"]}, []


COMMANDS = {"begin": begin, "gather": gather, "round": round_weights, "save": save}
