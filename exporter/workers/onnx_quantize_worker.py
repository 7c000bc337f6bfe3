"""Observes activation ranges and quantizes an ONNX model.

Commands: begin, observe or recall and keep, quantize, survey, keep_float, gather, round or reuse, remember, weights,
correct, corrected, judge, save.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from functools import reduce

import numpy as np
import onnx
from bias_correction import CORRECTED, BiasCorrector, add_missing_biases, channel_means, drop_zero_biases
from equalize import equalize
from float_layers import kept_in_float
from float_model import PRODUCTS, folded_model, metadata_of, observing, session_of, values_of, write_model
from histogram import Histogram
from narrow_weights import narrow
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
from output_comparison import OutputComparison, store, stored
from roofline import Roofline
from weight_rounding import WeightRounding
from worker_host import WorkerFailure

# Normalizations and softmax lose more in 8 bits than they save; operators that only read a shape save nothing.
_NEVER = frozenset(
    {"BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "Softmax", "ArgMax"}
    | {"Where", "EmbedLayerNormalization", "Gather", "Unsqueeze", "Squeeze"}
)
METHODS = ("mse", "minmax", "percentile", "entropy")
_COMPARED = 8  # images on which the quantized outputs are compared
_SURVEYED = 3  # of them, for each operator alone
_TARGET = 0.5  # of the error that is far off, with some operators in float
_MOST_FLOAT = 0.5  # share of the multiply-adds in float
_SAVED = 0.5  # share of the time that int8 saves, which float operators may cost
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
    notes = [f"float: {name}; {_WHY_FLOAT}" for name in sorted(_grouped_transposed(model))]
    pairs = []
    if arguments["equalize"] is None:  # it may be asked for later: would it change anything?
        pairs = equalize(_copy(model))
    elif arguments["equalize"]:
        pairs = equalize(model)
        notes.append(f"equalized {len(pairs)} pairs of convolutions by powers of two: the float outputs are the same")
    outputs = {}
    if arguments["bias_correction"] is not False:
        add_missing_biases(model, seen)
        convolutions = [node for node in model.graph.node if node.op_type in CORRECTED and node.name in seen]
        outputs = {node.name: node.output[0] for node in convolutions}
    with_outputs = not arguments["inputs_only"]
    names = [name for name in _activations(model, seen, with_outputs=with_outputs) if name not in arguments["ranges"]]
    images = arguments["images"] if arguments["rounding"] == "compensated" else 0
    bits, ends = arguments["weight_bits"], arguments["ends"]
    rounding = WeightRounding(model, seen, images, bits, ends) if images or bits < 8 else None
    seen_by_layers = [name for turn in range(len(rounding.turns)) for name in rounding.wanted(turn)] if rounding else []
    session = observing(model, [*names, *seen_by_layers, *outputs.values()])
    _state.update(
        arguments=arguments, model=model, chosen=chosen, session=session, seen=0, notes=notes, rounding=rounding
    )
    _state["observed"] = seen
    _state["parts"] = {name: [Histogram() for _ in range(max(2, arguments["draws"]))] for name in names}
    _state["outputs"] = outputs
    _state.update(means={}, kept=[], held=[], found={}, alone={}, surveyed=[], float=[])
    _state["comparison"] = OutputComparison(model, arguments["axes"])
    return {"tensors": len(names), "pairs": len(pairs)}, []


def _grouped_transposed(model) -> set[str]:
    """Names of the grouped transposed convolutions, which stay float.

    Their weights are [in, out / groups, ...]: ONNX Runtime makes one scale per index of the second axis, but the bias
    has `out` elements. ONNX Runtime computes them in float anyway, so only a few bytes of weights are not saved.
    """
    return {
        node.name
        for node in model.graph.node
        if node.op_type == "ConvTranspose"
        and any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
    }


def choose_nodes(model, float_operators: set[str], float_nodes: set[str]) -> set[str]:
    """Names of the operators that will compute in int8.

    Products (convolutions, matrix products) always become faster. Operators that only move or add numbers do not, and
    they add a rounding error. So they are int8 only between int8 operators: all producers of their inputs and all their
    consumers are int8. A Relu or Clip right after a product has no cost, because it is folded into the product.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    consumers: dict[str, list] = {}
    for node in model.graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    constants = {value.name for value in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    known = set(QDQRegistry) | set(QLinearOpsRegistry)
    float_nodes = float_nodes | _grouped_transposed(model)
    chosen = {
        node.name
        for node in model.graph.node
        if (node.op_type in PRODUCTS or (node.op_type in known and node.op_type not in _NEVER))
        and node.op_type not in float_operators
        and node.name not in float_nodes
    }

    def folded(node) -> bool:
        before = producers.get(node.input[0])
        product = before is not None and before.op_type in PRODUCTS and before.name in chosen
        return node.op_type in ("Relu", "Clip") and product

    def inside(node) -> bool:
        sources = [producers.get(name) for name in node.input if name and name not in constants]
        users = [user for name in node.output for user in consumers.get(name, [])]
        return (
            all(source is None or source.op_type == "Constant" or source.name in chosen for source in sources)
            and all(user.name in chosen for user in users)
            and not outputs.intersection(node.output)
        )

    while True:
        dropped = {
            node.name
            for node in model.graph.node
            if node.name in chosen and node.op_type not in PRODUCTS and not folded(node) and not inside(node)
        }
        if not dropped:
            return chosen
        chosen -= dropped


def _activations(model, chosen: set[str], *, with_outputs: bool) -> list[str]:
    """Float inputs (and, if `with_outputs`, outputs) of quantized operators, in graph order."""
    inferred = onnx.shape_inference.infer_shapes(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    kinds |= {v.name: v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)}
    constants = {value.name for value in model.graph.initializer}
    names: dict[str, None] = {}
    for node in model.graph.node:
        if node.name in chosen:
            for name in (*node.input, *(node.output if with_outputs else ())):
                if name and name not in constants and kinds.get(name) == TensorProto.FLOAT:
                    names[name] = None
    return list(names)


def observe(arguments, arrays):
    """Counts one image's values in the histograms of the next draw.

    The first turn of the weights' rounding collects its inputs in the same run.

    Args:
        arguments: `keep` is "kept" for an image that corrections and comparisons use, "held" for one that only judges
            corrections, or empty.
    """
    histograms = {name: parts[_state["seen"] % len(parts)] for name, parts in _state["parts"].items()}
    rounding = _state["rounding"]
    seen_by_layers = rounding.wanted(0) if rounding is not None else []
    corrected_outputs = _state["outputs"].values() if arguments["keep"] == "kept" else ()
    values, finite = _values(list(dict.fromkeys([*histograms, *seen_by_layers, *corrected_outputs])), arrays), True
    for name, value in values.items():
        if name in histograms:
            finite &= histograms[name].add(value)
    if finite and arguments["keep"]:
        if arguments["keep"] == "kept":
            for node, out in _state["outputs"].items():
                _state["means"][node] = _state["means"].get(node, 0.0) + channel_means(values[out])
        path = os.path.join(_state["arguments"]["scratch"], f"{_state['seen']}.npz")
        store(path, arrays)
        _state[arguments["keep"]].append(path)
    if finite and rounding is not None:
        rounding.gather(0, _state["seen"], values)
    _state["seen"] += 1
    return {"finite": bool(finite)}, []


def _values(names: list[str], arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    return values_of(_state["session"], names, arrays)


def quantize(_arguments, _arrays):
    """Quantizes; returns the number of turns for `round`, of levels for `correct`, and of calls for `survey`.

    With `fallback`, tries the other calibration methods if an output is far off on the kept images.
    """
    given, model = _state["arguments"], _state["model"]
    _state["nodes"] = [(node.name, node.op_type) for node in model.graph.node]
    _state["metadata"] = metadata_of(model)
    method, done = given["method"], _quantized(given["method"])
    errors = {method: _error_of(done)} if given["fallback"] and _state["kept"] and _state["parts"] else {}
    if errors and not errors[method] <= 1:
        tried = {other: _quantized(other) for other in METHODS if other != method} | {method: done}
        errors |= {other: _error_of(model) for other, model in tried.items() if other != method}
        method = min(errors, key=errors.__getitem__)
        done = tried[method]
    _state.update(method=method, errors=errors, int8=done)
    if errors and not errors[method] <= 1:
        _state["surveyed"] = _separate()
    draws = range(given["draws"]) if 1 < given["draws"] <= _state["seen"] and _state["parts"] else ()
    _state["spread"] = [_error_of(_quantized(method, slice(draw, draw + 1))) for draw in draws]
    return _answer(), []


def _answer() -> dict:
    """What the quantized model is, and what is left to do with it."""
    done, method = _state["int8"], _state["method"]
    scales = {}
    if _state["seen"] > 1:
        halves = [_ranges(method, slice(half, None, 2)) for half in (0, 1)]
        scales = {name: [float(high - low) / 255 for low, high in (one[name] for one in halves)] for name in halves[0]}
    means = _means()
    _state["corrector"] = BiasCorrector(done, means) if means else None
    levels = len(_state["corrector"].levels) if means else 0
    turns = len(_state["rounding"].turns) if _state["rounding"] is not None else 0
    return {
        "levels": levels,
        "turns": turns,
        "half_scales": scales,
        "method": method,
        "errors": _state["errors"],
        "surveyed": len(_state["surveyed"]),
        "spread": _state["spread"],
        "ranges": _quantized_ranges(done),
        "chosen": sorted(_state["chosen"]),
    }


def _separate() -> list[str]:
    """The operators that can stay in float on their own: all but those that are folded into a product."""
    nodes = [node for node in _state["model"].graph.node if node.name in _state["chosen"]]
    products = {name for node in nodes if node.op_type in PRODUCTS for name in node.output}
    return [node.name for node in nodes if node.op_type not in ("Relu", "Clip") or node.input[0] not in products]


def judge(_arguments, _arrays):
    """Returns the share of the pixels of the kept images that keep their class, and the number of calls for `survey`.

    The share is None if no output has classes.
    """
    found = _state["comparison"].agreement(_state["int8"], _some(_state["kept"], _COMPARED))
    enough = found is None or found >= _state["arguments"]["agreement"]
    if not enough and not _state["surveyed"]:
        _state["surveyed"] = _separate()
    left = [name for name in _state["surveyed"] if name not in _state["alone"]]
    return {"agreement": found, "enough": enough, "surveyed": len(left)}, []


def survey(_arguments, _arrays):
    """Quantizes the next operator alone, and remembers the outputs' error."""
    name = next(name for name in _state["surveyed"] if name not in _state["alone"])
    (output,) = (node.output[0] for node in _state["model"].graph.node if node.name == name)
    users = {user.name for user in _state["model"].graph.node if output in user.input}
    alone = {name} | {user for user in users & _state["chosen"] if user not in _state["surveyed"]}  # what it folds
    _state["alone"][name] = _error_of(_quantized(_state["method"], chosen=alone), _SURVEYED)
    return {}, []


def keep_float(arguments, _arrays):
    """Leaves the operators in float whose int8 costs most; returns them, and what `quantize` returns.

    With `agreeing`, as many as the agreement of the classes needs, if enough of the time that int8 saves is left; else
    as many as bring the error far below what is far off. With `agreeing`, biases are corrected as those of the model in
    int8 were.
    """
    given, agreeing = _state["arguments"], arguments["agreeing"]
    tried: dict[tuple[str, ...], tuple[set[str], onnx.ModelProto, dict | None]] = {}
    estimates = Roofline(_state["model"], _shapes())
    floats, int8 = estimates.nanoseconds(set()), estimates.nanoseconds(_state["chosen"])
    slowest = max(int8, floats - _SAVED * (floats - int8))  # int8 itself where it saves nothing

    def without(names: Sequence[str]) -> set[str]:
        float_nodes = set(given["float_nodes"]) | set(names)
        return choose_nodes(_state["model"], set(given["float_operators"]), float_nodes) & _state["chosen"]

    def measured(names: Sequence[str]) -> float:
        chosen, correction = without(names), None
        done = _quantized(_state["method"], chosen=chosen)
        if agreeing:
            done, correction = _with_biases(done)
        tried[tuple(names)] = chosen, done, correction
        return _disagreement(done) if agreeing else _error_of(done)

    def fast_enough(names: Sequence[str]) -> bool:
        return estimates.nanoseconds(without(names)) <= slowest

    work, weights = _shares(estimates)
    before = _disagreement(_state["int8"]) if agreeing else _error_of(_state["int8"])
    lone_before = set(_lone(_state["chosen"]))
    costs = {name: max(work[name], weights[name]) for name in work}
    options = {"target": 1.0, "allowed": fast_enough} if agreeing else {"target": _TARGET}
    options |= {"most": _MOST_FLOAT, "kept": _state["float"]}
    options["lone"] = lambda names: [name for name in _lone(without(names)) if name not in lone_before]
    names, error = kept_in_float(_state["alone"], costs, before, measured, **options)
    found = {"share": sum(work[name] for name in names), "before": before, "error": error, "correction": None}
    if error < before:
        _state["chosen"], _state["int8"], found["correction"] = tried[tuple(names)]
        _state["float"] = names
    mixed = estimates.nanoseconds(_state["chosen"])
    found["saved"] = (floats - mixed) / (floats - int8) if int8 < floats else None
    return {**_answer(), **found, "float": names, "mended": error < before}, []


def _lone(chosen: set[str]) -> list[str]:
    """The int8 products between float operators only."""
    nodes = [node for node in _state["model"].graph.node if node.name in chosen]
    near: dict[str, set[str]] = {}  # tensor -> int8 operators that read or make it
    for node in nodes:
        for name in (*node.input, *node.output):
            near.setdefault(name, set()).add(node.name)
    folded = {node.input[0]: node for node in nodes if node.op_type in ("Relu", "Clip")}
    found = []
    for node in nodes:
        if node.op_type in PRODUCTS:
            own = {node.name}
            around = [*node.input, *node.output]
            for name in node.output:
                if name in folded and near[name] == {node.name, folded[name].name}:
                    own.add(folded[name].name)
                    around += folded[name].output
            if not set().union(*(near[name] for name in around)) - own:
                found.append(node.name)
    return found


def _disagreement(quantized: onnx.ModelProto) -> float:
    """The share of the pixels with another class, relative to what is allowed, squared.

    A small error changes the classes of as many pixels as its root is large, so that this is nearly in proportion to
    the squared error.
    """
    same = _state["comparison"].agreement(quantized, _some(_state["kept"], _COMPARED))
    return ((1 - same) / (1 - _state["arguments"]["agreement"])) ** 2


def _shapes() -> dict[str, tuple[int, ...]]:
    """Tensor -> its shape for a calibration image."""
    model = _state["model"]
    names = [name for node in model.graph.node for name in node.output if name]
    found = values_of(observing(model, names), names, stored(_state["kept"][0]))
    constants = {value.name: tuple(value.dims) for value in model.graph.initializer}
    return {name: np.shape(value) for name, value in found.items()} | constants


def _shares(estimates: Roofline) -> tuple[dict[str, float], dict[str, float]]:
    """Each surveyed operator's share of the multiply-adds of all of them, and of their weights; 0 without weights."""
    nodes = {node.name: node for node in _state["model"].graph.node}
    weights = {value.name: np.prod(value.dims) for value in _state["model"].graph.initializer}
    counts, sizes = dict.fromkeys(_state["surveyed"], 0.0), dict.fromkeys(_state["surveyed"], 0.0)
    for name in counts.keys() & estimates.products.keys():
        counts[name] = float(estimates.products[name].multiply_adds)
        sizes[name] = float(weights.get(nodes[name].input[1], 0.0))
    return _of_whole(counts), _of_whole(sizes)


def _of_whole(counts: dict[str, float]) -> dict[str, float]:
    whole = max(sum(counts.values()), 1.0)
    return {name: count / whole for name, count in counts.items()}


def _ranges(method: str, which: slice = slice(None)) -> dict[str, tuple[float, float]]:
    """Each tensor's range by this method, from these parts of its histogram."""
    key, given = (method, which.start, which.stop, which.step), _state["arguments"]
    if key not in _state["found"]:
        seen = {name: reduce(Histogram.merged, parts[which]) for name, parts in _state["parts"].items()}
        options = {"percentile": given["percentile"], "symmetric": given["symmetric"]}
        _state["found"][key] = {name: histogram.range(method, **options) for name, histogram in seen.items()}
    return _state["found"][key]


def _quantized(method: str, which: slice = slice(None), *, chosen: set[str] | None = None) -> onnx.ModelProto:
    """The model in int8, with ranges by this method from all images, or from those of some parts.

    Weights are those that `round` has found, if it has run already, else rounded to the nearest.

    Args:
        chosen: The operators in int8; None: all that were chosen.
    """
    given, chosen = _state["arguments"], _state["chosen"] if chosen is None else chosen
    model = _copy(_state["model"])
    symmetric, ranges = given["symmetric"], _ranges(method, which)
    if ranges and all(low == high for low, high in ranges.values()):
        raise WorkerFailure(
            "every activation is constant on the calibration images",
            cause="the images are all alike, or the model ignores its input",
            hint="calibrate with a varied sample of real images",
        )
    ranges = ranges | given["ranges"]
    tensors = {n: TensorData(lowest=np.float32(low), highest=np.float32(high)) for n, (low, high) in ranges.items()}
    quantizer = QDQQuantizer(
        model,
        per_channel=given["per_channel"],
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, tensors),
        nodes_to_quantize=sorted(chosen),
        nodes_to_exclude=[],
        op_types_to_quantize=sorted({node.op_type for node in model.graph.node if node.name in chosen}),
        extra_options={
            "ActivationSymmetric": symmetric,
            "OpTypesToExcludeOutputQuantization": sorted(PRODUCTS) if given["inputs_only"] else [],
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
    if _state["rounding"] is not None:
        _state["rounding"].write(quantizer.model.model)
    return quantizer.model.model


def _error_of(quantized: onnx.ModelProto, images: int = _COMPARED) -> float:
    """The error of a quantized model's outputs on some of the kept images."""
    return _state["comparison"].error(quantized, _some(_state["kept"], images))


def _some(paths: list[str], count: int) -> list[str]:
    return paths[:: max(1, len(paths) // count)][:count]


def gather(arguments, arrays):
    """Adds the next calibration image to the Hessians of a turn after the first."""
    rounding, turn = _state["rounding"], arguments["turn"]
    rounding.gather(turn, arguments["image"], _values(rounding.wanted(turn), arrays))
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
    found = {"seen": np.array(_state["seen"]), "gains": np.array(arguments["gains"])}
    for index, (name, parts) in enumerate(_state["parts"].items()):
        found[f"tensor/{index}"] = np.array(name)
        for number, part in enumerate(parts):
            limits, counts = part.state()
            found |= {f"limits/{index}/{number}": limits, f"counts/{index}/{number}": counts}
    found |= {f"mean/{name}": mean for name, mean in _state["means"].items()}
    found |= {f"whole/{name}": value for name, value in (rounding.whole if rounding else {}).items()}
    np.savez_compressed(arguments["file"], **found)
    return {}, []


def recall(arguments, _arrays):
    """Reads what `remember` has written, instead of `observe`; returns the errors that `round` gave."""
    with np.load(arguments["file"]) as found:
        _state["seen"] = int(found["seen"])
        for index, (name, parts) in enumerate(_state["parts"].items()):
            assert str(found[f"tensor/{index}"]) == name
            for number in range(len(parts)):
                parts[number] = Histogram.of_state(found[f"limits/{index}/{number}"], found[f"counts/{index}/{number}"])
        _state["means"] = {key[5:]: found[key] for key in found.files if key.startswith("mean/")}
        _state["recalled"] = {key[6:]: found[key] for key in found.files if key.startswith("whole/")}
        return {"gains": found["gains"].tolist()}, []


def reuse(_arguments, _arrays):
    """Rounds the weights as `recall` has read them, instead of `round`."""
    _state["rounding"].recall(_state["recalled"])
    _state["rounding"].write(_state["int8"])
    return {}, []


def keep(arguments, arrays):
    """Keeps an image that `recall` needs; see `observe`."""
    path = os.path.join(_state["arguments"]["scratch"], f"{arguments['index']}.npz")
    store(path, arrays)
    _state[arguments["keep"]].append(path)
    return {}, []


def _quantized_ranges(model) -> dict[str, dict[str, float]]:
    """Returns activation -> scale and zero point, for all rounded activations."""
    constants = {value.name: value for value in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[1] in constants:
            scale, zero = (numpy_helper.to_array(constants[name]).item() for name in node.input[1:3])
            found[node.input[0].removesuffix("_QuantizeLinear_Input")] = {"scale": scale, "zero_point": zero}
    return found


def weights(_arguments, _arrays):
    """The result of `round`: the operators' names, and an array of integers for each."""
    found = _state["rounding"].whole
    return {"names": list(found)}, list(found.values())


def correct(arguments, _arrays):
    """Corrects the biases of one level of convolutions; returns the largest shift."""
    if arguments["level"] == 0:
        _state["uncorrected"] = _copy(_state["int8"])
    return {"shift": _correct_level(_state["corrector"], arguments["level"])}, []


def _correct_level(corrector: BiasCorrector, level: int) -> float:
    kept = _state["kept"]
    session, means = session_of(corrector.until(level)), None
    for path in kept:
        arrays = stored(path)
        inputs = [value.name for value in _state["session"].get_inputs()]
        used = {value.name for value in session.get_inputs()}
        feed = {name: array for name, array in zip(inputs, arrays, strict=True) if name in used}
        found = [channel_means(value) for value in session.run(None, feed)]
        means = found if means is None else [a + b for a, b in zip(means, found, strict=True)]
    return corrector.correct(level, [mean / len(kept) for mean in means])


def corrected(_arguments, _arrays):
    """Takes the correction back if the outputs of images that it was not measured on have no smaller error.

    Returns both errors.
    """
    _state["int8"], errors = _better(_state.pop("uncorrected"), _state["int8"])
    return errors, []


def _better(uncorrected: onnx.ModelProto, corrected: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, float]]:
    before, after = (_state["comparison"].error(model, _state["held"]) for model in (uncorrected, corrected))
    return (corrected if after < before else uncorrected), {"before": before, "after": after}


def _with_biases(quantized: onnx.ModelProto) -> tuple[onnx.ModelProto, dict | None]:
    """A quantized model corrected as `correct` and `corrected` do; with what they return, None if they do nothing."""
    means = _means()
    done = _copy(quantized)
    corrector = BiasCorrector(done, means)
    if not corrector.levels:
        return quantized, None
    shifts = [_correct_level(corrector, level) for level in range(len(corrector.levels))]
    correction = {"levels": len(shifts), "shift": max(shifts)}
    if not _state["arguments"]["bias_correction"]:
        done, errors = _better(quantized, done)
        correction |= errors
    return done, correction


def _means() -> dict[str, np.ndarray]:
    """The float model's means that biases are corrected by; empty if they are not to be corrected."""
    possible = _state["arguments"]["bias_correction"] or _state["held"]
    return {node: total / len(_state["kept"]) for node, total in _state["means"].items()} if possible else {}


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def save(arguments, _arrays):
    done = _state["int8"]
    drop_zero_biases(done)
    if _state["rounding"] is not None:
        narrow(done, _state["rounding"].narrow)
    io = write_model(done, _state["metadata"], arguments["out"])
    return {**io, "notes": [_summary(_state["nodes"], _state["chosen"]), *_state["notes"]]}, []


def _summary(nodes: list[tuple[str, str]], chosen: set[str]) -> str:
    """Text with the number of int8 operators of each type, and the number of all."""
    all_types, int8_types = Counter(kind for _, kind in nodes), Counter(kind for name, kind in nodes if name in chosen)
    return "int8: " + ", ".join(f"{kind} {count} of {all_types[kind]}" for kind, count in sorted(int8_types.items()))


COMMANDS = {"begin": begin, "observe": observe, "quantize": quantize, "gather": gather, "round": round_weights}
COMMANDS |= {"weights": weights, "correct": correct, "corrected": corrected, "save": save}
COMMANDS |= {"remember": remember, "recall": recall, "reuse": reuse, "keep": keep}
COMMANDS |= {"judge": judge, "survey": survey, "keep_float": keep_float}
