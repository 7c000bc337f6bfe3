"""Rounds the weights of an ONNX model and keeps its arithmetic in float.

Commands: begin, gather, round, judge, survey, keep_float, save.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

import numpy as np
from float_layers import kept_in_float
from float_model import PRODUCTS, folded_model, metadata_of, observing, values_of, write_model
from judged_outputs import JudgedOutputs
from mixed_precision import MOST, TARGET
from onnx import TensorProto
from output_comparison import OutputComparison, store
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
    _state.update(kept=[], scratch=arguments["scratch"], alone={})
    comparison = OutputComparison(model, arguments["axes"])
    _state["outputs"] = JudgedOutputs(_state["kept"], comparison, arguments["agreement"])
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
        if arguments["keep"]:
            path = os.path.join(_state["scratch"], f"image{arguments['image']}.npz")
            store(path, arrays)
            _state["kept"].append(path)
    return {"finite": bool(finite)}, []


def round_weights(arguments, _arrays):
    """Rounds the weights of a turn; returns each weight's error relative to that of rounding to the nearest."""
    return {"gains": _state["stored"].round(arguments["turn"])}, []


def judge(_arguments, _arrays):
    """What `onnx_quantize_worker.judge` returns, of the weights as they are chosen."""
    stored, outputs = _state["stored"], _state["outputs"]
    model = stored.floats({name: stored.bits_of(name) for name in stored.values})
    found, error = outputs.agreement(model), outputs.error(model)
    enough = outputs.enough(found) if found is not None else error <= 1
    return {"agreement": found, "error": error, "enough": enough, "surveyed": len(stored.narrow)}, []


def survey(_arguments, _arrays):
    """Rounds the next weight of 4 bits alone, and remembers the outputs' error."""
    stored, alone = _state["stored"], _state["alone"]
    name = next(name for name in stored.narrow if name not in alone)
    alone[name] = _state["outputs"].error(stored.floats({name: 4}), briefly=True)
    return {}, []


def keep_float(arguments, _arrays):
    """Gives 8 bits to the weights whose 4 bits cost most; see `onnx_quantize_worker.keep_float`. None stays float."""
    stored, outputs, agreeing = _state["stored"], _state["outputs"], arguments["agreeing"]
    error = outputs.disagreement if agreeing else outputs.error

    def measured(names: Sequence[str]) -> float:
        return error(stored.floats({name: 8 if name in names else stored.bits[name] for name in stored.values}))

    whole, before = sum(stored.narrow.values()), measured(())
    shares = {name: size / whole for name, size in stored.narrow.items()}
    target = 1.0 if agreeing else TARGET
    names, _ = kept_in_float(_state["alone"], shares, before, measured, target=target, most=MOST)
    stored.wide = set(names)
    share = sum(stored.narrow[name] for name in names) / sum(value.size for value in stored.values.values())
    found = {"float": [], "wide": len(names), "wide_share": share, "correction": None}
    return {**found, "mended": bool(names)}, []


def save(arguments, _arrays):
    model, stored = _state["model"], _state["stored"]
    stored.finish()
    io = write_model(model, _state["metadata"], arguments["out"])
    bits = Counter(stored.bits_of(name) for name in stored.bits)
    floats = sum(int(np.prod(value.dims)) for value in model.graph.initializer if value.data_type == TensorProto.FLOAT)
    kept = ", ".join(f"{count} in {size} bits" for size, count in sorted(bits.items()))
    return {**io, "notes": [f"weights: {kept}; {floats} values stay in float"]}, []


COMMANDS = {"begin": begin, "gather": gather, "round": round_weights, "save": save}
COMMANDS |= {"judge": judge, "survey": survey, "keep_float": keep_float}
