"""Observes activation ranges and quantizes an ONNX model.

Commands: begin, observe or recall and keep, quantize, survey, keep_float, gather, round or reuse, remember, weights,
correct, corrected, judge, biases, save. This file has the order of the work; its parts are `int8_operators` (what is
rounded), `observations`, `int8_model`, `weight_rounding`, `judged_correction`, `judged_outputs` and `mixed_precision`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np
import onnx
from bias_correction import CORRECTED, add_missing_biases, bias_changes, drop_zero_biases
from compact_names import compact
from equalize import equalize
from float_model import PRODUCTS, folded_model, metadata_of, write_model
from int8_model import copy_of, int8_model, require_varied, scales_of
from int8_operators import choose_nodes, grouped_transposed, rounded_tensors
from judged_correction import JudgedCorrection
from judged_outputs import JudgedOutputs
from mixed_precision import MixedPrecision
from narrow_weights import narrow
from observations import ALL, Observations
from output_comparison import OutputComparison, stored
from weight_rounding import WeightRounding

METHODS = ("mse", "minmax", "percentile", "entropy")
_WHY_FLOAT = "ONNX Runtime takes no scales per channel of a grouped transposed convolution"
_state: dict = {}


def begin(arguments, _arrays):
    """Folds BatchNorm and constants, and opens the model with every activation that will be quantized as an output."""
    model = folded_model(arguments, four_bits=arguments["weight_bits"] == 4)
    float_operators = set(arguments["float_operators"])
    if arguments["inputs_only"]:
        float_operators |= {node.op_type for node in model.graph.node} - PRODUCTS
    chosen = choose_nodes(model, float_operators, set(arguments["float_nodes"]))
    seen = choose_nodes(model, float_operators, set())  # other exports with other float nodes can use it too
    notes = [f"float: {name}; {_WHY_FLOAT}" for name in sorted(grouped_transposed(model))]
    pairs = []
    if arguments["equalize"] is None:  # it may be asked for later: would it change anything?
        pairs = equalize(copy_of(model))
    elif arguments["equalize"]:
        pairs = equalize(model)
        notes.append(f"equalized {len(pairs)} pairs of convolutions by powers of two: the float outputs are the same")
    outputs = {}
    if arguments["bias_correction"] is not False:
        add_missing_biases(model, seen)
        convolutions = [node for node in model.graph.node if node.op_type in CORRECTED and node.name in seen]
        outputs = {node.name: node.output[0] for node in convolutions}
    with_outputs = not arguments["inputs_only"]
    names = [
        name for name in rounded_tensors(model, seen, with_outputs=with_outputs) if name not in arguments["ranges"]
    ]
    images = arguments["images"] if arguments["rounding"] == "compensated" else 0
    bits, ends = arguments["weight_bits"], arguments["ends"]
    rounding = WeightRounding(model, seen, images, bits, ends) if images or bits < 8 else None
    seen_by_layers = [name for turn in range(len(rounding.turns)) for name in rounding.wanted(turn)] if rounding else []
    options = {"percentile": arguments["percentile"], "symmetric": arguments["symmetric"]}
    observations = Observations(
        model, names, outputs, seen_by_layers, arguments["draws"], arguments["scratch"], **options
    )
    comparison = OutputComparison(model, arguments["axes"])
    _state.update(arguments=arguments, model=model, chosen=chosen, observed=seen, notes=notes, rounding=rounding)
    _state["observations"] = observations
    _state["outputs"] = JudgedOutputs(observations.kept, comparison, arguments.get("agreement", 0.0))
    _state["correction"] = JudgedCorrection(observations, comparison, always=bool(arguments["bias_correction"]))
    _state["mixed"], _state["wide"] = MixedPrecision(model, arguments), set()
    return {"tensors": len(names), "pairs": len(pairs)}, []


def observe(arguments, arrays):
    """Counts one image's values in the histograms of the next draw.

    The first turn of the weights' rounding collects its inputs in the same run.

    Args:
        arguments: `keep` is "kept" for an image that corrections and comparisons use, "held" for one that only judges
            corrections, or empty.
    """
    observations, rounding = _state["observations"], _state["rounding"]
    seen_by_layers = rounding.wanted(0) if rounding is not None else []
    image = observations.seen
    values = observations.add(arrays, arguments["keep"], seen_by_layers)
    if values is not None and rounding is not None:
        rounding.gather(0, image, values)
    return {"finite": values is not None}, []


def quantize(_arguments, _arrays):
    """Quantizes; returns the number of turns for `round`, of levels for `correct`, and of calls for `survey`.

    With `fallback`, tries the other calibration methods if an output is far off on the kept images.
    """
    given, model, observations = _state["arguments"], _state["model"], _state["observations"]
    error = _state["outputs"].error
    _state["nodes"] = [(node.name, node.op_type) for node in model.graph.node]
    _state["metadata"] = metadata_of(model)
    method, done = given["method"], _quantized(given["method"])
    errors = {method: error(done)} if given["fallback"] and observations.kept and observations.tensors else {}
    if errors and not errors[method] <= 1:
        tried = {other: _quantized(other) for other in METHODS if other != method} | {method: done}
        errors |= {other: error(model) for other, model in tried.items() if other != method}
        method = min(errors, key=errors.__getitem__)
        done = tried[method]
    _state.update(method=method, errors=errors, int8=done)
    if errors and not errors[method] <= 1:
        _start_mix()
    draws = range(given["draws"]) if 1 < given["draws"] <= observations.seen and observations.tensors else ()
    _state["spread"] = [error(_quantized(method, slice(draw, draw + 1))) for draw in draws]
    return _answer(), []


def _start_mix() -> None:
    rounding = _state["rounding"]
    _state["mixed"].start(_state["chosen"], rounding.narrow if rounding is not None else {})


def _quantized(
    method: str, which: slice = ALL, *, chosen: set[str] | None = None, wide: Collection[str] = ()
) -> onnx.ModelProto:
    """The model in int8, with ranges by this method from all images, or from those of some parts.

    Weights are those that `round` has found, if it has run already, else rounded to the nearest.

    Args:
        chosen: The operators in int8; None: all that were chosen.
        wide: The weights with 8 bits instead of 4.
    """
    ranges = _state["observations"].ranges(method, which)
    require_varied(ranges)
    chosen = _state["chosen"] if chosen is None else chosen
    done = int8_model(_state["model"], ranges | _state["arguments"]["ranges"], chosen, _state["arguments"])
    if _state["rounding"] is not None:
        _state["rounding"].write(done, wide)
    return done


def _answer() -> dict:
    """What the quantized model is, and what is left to do with it."""
    corrector = _state["corrector"] = _state["correction"].corrector(_state["int8"])
    return {
        "levels": len(corrector.levels) if corrector is not None else 0,
        "turns": len(_state["rounding"].turns) if _state["rounding"] is not None else 0,
        "half_scales": _state["observations"].half_scales(_state["method"]),
        "method": _state["method"],
        "errors": _state["errors"],
        "surveyed": len(_state["mixed"].surveyed),
        "spread": _state["spread"],
        "ranges": scales_of(_state["int8"]),
        "chosen": sorted(_state["chosen"]),
    }


def judge(_arguments, _arrays):
    """Judges the outputs of the kept images.

    Returns:
        The share of their pixels that keep their class, None if no output has classes; the outputs' error if weights
        have 4 bits, which `quantize` had in 8, else None; and the number of calls for `survey`.
    """
    outputs = _state["outputs"]
    found = outputs.agreement(_state["int8"])
    error = outputs.error(_state["int8"]) if _state["arguments"]["weight_bits"] == 4 else None
    enough = outputs.enough(found) if found is not None or error is None else error <= 1
    if not enough:
        _start_mix()
    return {"agreement": found, "error": error, "enough": enough, "surveyed": _state["mixed"].left}, []


def survey(_arguments, _arrays):
    """Quantizes the next operator alone, and remembers the outputs' error."""

    def error(chosen: set[str], wide: Collection[str]) -> float:
        return _state["outputs"].error(_quantized(_state["method"], chosen=chosen, wide=wide), briefly=True)

    _state["mixed"].survey(_state["chosen"], error)
    return {}, []


def keep_float(arguments, _arrays):
    """Leaves the operators in float whose int8 costs most; returns them, and what `quantize` returns.

    With `agreeing`, as many as the agreement of the classes needs, if enough of the time that int8 saves is left; else
    as many as bring the error far below what is far off. Of weights of 4 bits, some get 8. With `agreeing`, biases are
    corrected as those of the model in int8 were.
    """
    outputs, agreeing = _state["outputs"], arguments["agreeing"]
    error = outputs.disagreement if agreeing else outputs.error
    image, before = stored(_state["observations"].kept[0]), error(_state["int8"])

    def made(chosen: set[str], wide: Collection[str]) -> tuple[onnx.ModelProto, dict[str, float] | None]:
        done = _quantized(_state["method"], chosen=chosen, wide=wide)
        return _state["correction"].corrected(done) if agreeing else (done, None)

    mix = _state["mixed"].choose(_state["chosen"], before, made, error, image, agreeing=agreeing)
    if mix is None:
        return {**_answer(), "float": _state["mixed"].kept, "mended": False}, []
    _state.update(chosen=mix.chosen, int8=mix.model, wide=mix.wide)
    found = {"float": mix.names, "share": mix.share, "before": before, "error": mix.error}
    found |= {"wide": len(mix.wide), "wide_share": mix.wide_share}
    return {**_answer(), **found, "correction": mix.correction, "saved": mix.saved, "mended": True}, []


def gather(arguments, arrays):
    """Adds the next calibration image to the Hessians of a turn after the first."""
    rounding, turn = _state["rounding"], arguments["turn"]
    rounding.gather(turn, arguments["image"], _state["observations"].values(rounding.wanted(turn), arrays))
    return {}, []


def round_weights(arguments, _arrays):
    """Rounds the weights of a turn; returns each weight's error relative to that of rounding to the nearest."""
    whole = _state["int8"]
    if _state["chosen"] != _state["observed"]:
        whole = _quantized(_state["method"], chosen=_state["observed"])
    gains = _state["rounding"].round(arguments["turn"], whole)
    _state["rounding"].write(_state["int8"])
    return {"gains": gains}, []


def remember(arguments, _arrays):
    """Writes what `observe` and `round` have found into a file, for exports with other ranges or float nodes."""
    rounding = _state["rounding"]
    found = _state["observations"].state() | {"gains": np.array(arguments["gains"])}
    found |= {f"whole/{name}": value for name, value in (rounding.whole if rounding else {}).items()}
    np.savez_compressed(arguments["file"], **found)
    return {}, []


def recall(arguments, _arrays):
    """Reads what `remember` has written, instead of `observe`; returns the errors that `round` gave."""
    with np.load(arguments["file"]) as found:
        _state["observations"].restore(found)
        _state["recalled"] = {key[6:]: found[key] for key in found.files if key.startswith("whole/")}
        return {"gains": found["gains"].tolist()}, []


def reuse(_arguments, _arrays):
    """Rounds the weights as `recall` has read them, instead of `round`."""
    _state["rounding"].recall(_state["recalled"])
    _state["rounding"].write(_state["int8"])
    return {}, []


def keep(arguments, arrays):
    """Keeps an image that `recall` needs; see `observe`."""
    _state["observations"].keep(arrays, arguments["keep"], arguments["index"])
    return {}, []


def weights(_arguments, _arrays):
    """The result of `round`: the operators' names, and an array of integers for each."""
    found = _state["rounding"].whole
    return {"names": list(found)}, list(found.values())


def correct(arguments, _arrays):
    """Corrects the biases of one level of convolutions; returns the largest shift."""
    if arguments["level"] == 0:
        _state["uncorrected"] = copy_of(_state["int8"])
    return {"shift": _state["correction"].correct_level(_state["corrector"], arguments["level"])}, []


def corrected(_arguments, _arrays):
    """Takes the correction back if the outputs of images that it was not measured on have no smaller error.

    Returns both errors.
    """
    _state["int8"], errors = _state["correction"].better(_state.pop("uncorrected"), _state["int8"])
    return errors, []


def biases(_arguments, _arrays):
    """The result of the corrections: the convolutions' outputs, and for each what is added to its channels."""
    found = bias_changes(_state["model"], _state["int8"])
    return {"names": list(found)}, list(found.values())


def save(arguments, _arrays):
    done = _state["int8"]
    drop_zero_biases(done)
    if _state["rounding"] is not None:
        narrow(done, _state["rounding"].packed(_state["wide"]))
    compact(done)
    io = write_model(done, _state["metadata"], arguments["out"])
    return {**io, "notes": [_summary(_state["nodes"], _state["chosen"]), *_state["notes"]]}, []


def _summary(nodes: list[tuple[str, str]], chosen: set[str]) -> str:
    """Text with the number of int8 operators of each type, and the number of all."""
    all_types, int8_types = Counter(kind for _, kind in nodes), Counter(kind for name, kind in nodes if name in chosen)
    return "int8: " + ", ".join(f"{kind} {count} of {all_types[kind]}" for kind, count in sorted(int8_types.items()))


COMMANDS = {"begin": begin, "observe": observe, "quantize": quantize, "gather": gather, "round": round_weights}
COMMANDS |= {"weights": weights, "correct": correct, "corrected": corrected, "biases": biases, "save": save}
COMMANDS |= {"remember": remember, "recall": recall, "reuse": reuse, "keep": keep}
COMMANDS |= {"judge": judge, "survey": survey, "keep_float": keep_float}
