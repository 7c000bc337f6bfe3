"""Lists and times the layers of an ONNX model that can run in int8. Commands: layers, profile."""

from __future__ import annotations

import json
import os
import re
import statistics
from collections import Counter, defaultdict

import onnx
import onnxruntime as ort
from float_model import PRODUCTS
from int8_operators import choose_nodes
from onnxruntime.quantization.shape_inference import quant_pre_process

_SUFFIX = re.compile(r"(_nchwc|_token_\d+|_quant|/duplicated)+$")  # suffixes that ONNX Runtime's optimizer appends
_FOLDED = ("Relu", "Clip")  # part of the product before them
_state: dict = {}


def layers(arguments, _arrays):
    """The products by the names that the quantizer uses, and the types of other operators that it quantizes to int8.

    Writes `folded`: the model with BatchNorm folded, which is the quantizer's input.
    """
    quant_pre_process(arguments["fp32"], arguments["folded"], skip_symbolic_shape=True)
    model = onnx.load(arguments["folded"])
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    onnx.save(model, arguments["folded"])
    chosen = choose_nodes(model, set(arguments["float_operators"]), set())
    products = [node for node in model.graph.node if node.name in chosen and node.op_type in PRODUCTS]
    others = {node.op_type for node in model.graph.node if node.name in chosen} - PRODUCTS - set(_FOLDED)
    _state.update(products=products, readers=Counter(name for node in products for name in node.input))
    return {"layers": [[node.name, node.op_type] for node in products], "operators": sorted(others)}, []


def profile(arguments, arrays):
    """Milliseconds of each product in ONNX Runtime's optimized graph, including conversions to and from int8.

    Each is the median of `runs`. A product that cannot be identified after the optimizer renamed it is left out.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    options.enable_profiling = True
    options.profile_file_prefix = arguments["prefix"]
    session = ort.InferenceSession(arguments["model"], options, providers=["CPUExecutionProvider"])
    feed = {value.name: array for value, array in zip(session.get_inputs(), arrays, strict=True)}
    for _ in range(arguments["runs"] + 1):
        session.run(None, feed)
    file = session.end_profiling()
    with open(file, encoding="utf-8") as stream:
        events = json.load(stream)
    os.remove(file)
    times = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["name"].removesuffix("_kernel_time")].append(event["dur"] / 1e3)
    ms = defaultdict(float)
    for name, found in times.items():
        ms[_SUFFIX.sub("", name)] += statistics.median(found[1:] or found)  # the first run warms up
    return {"ms": {node.name: taken for node in _state["products"] if (taken := _taken(node, ms)) is not None}}, []


def _taken(node, ms: dict[str, float]) -> float | None:
    """Milliseconds of a product and its conversions, None if not found; a fused one is named after its output."""
    own = next((ms[name] for name in (node.name, *node.output) if name in ms), None)
    if own is None:
        return None
    own += sum(ms.get(f"{name}_DequantizeLinear", 0.0) for name in node.output)
    return own + sum(ms.get(f"{name}_QuantizeLinear", 0.0) / _state["readers"][name] for name in node.input)


COMMANDS = {"layers": layers, "profile": profile}
