"""Observes activation ranges and quantizes an ONNX model. Commands: begin, observe, quantize."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
from histogram import Histogram
from onnx import TensorProto
from onnx_worker import _io, _session, _strip
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
from onnxruntime.quantization.shape_inference import quant_pre_process
from worker_host import Failure

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# Normalizations and softmax lose more in 8 bits than they save; what only looks at a shape has nothing to save.
_NEVER = frozenset(
    {"BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "Softmax", "ArgMax"}
    | {"Where", "EmbedLayerNormalization", "Gather", "Unsqueeze", "Squeeze"}
)
_state: dict = {}


def begin(arguments, _arrays):
    """Folds BatchNorm and constants, and opens the model with every activation that will be quantized as an output."""
    folded = os.path.join(arguments["scratch"], "folded.onnx")
    quant_pre_process(arguments["fp32"], folded, skip_symbolic_shape=True)
    model = onnx.load(folded)
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    chosen = choose_nodes(model, set(arguments["float_operators"]), set(arguments["float_nodes"]))
    names = _activations(model, chosen)
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    present = {output.name for output in observed.graph.output}
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    session = ort.InferenceSession(observed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    halves = {name: (Histogram(), Histogram()) for name in names}
    _state.update(arguments=arguments, model=model, chosen=chosen, session=session, halves=halves, seen=0)
    return {"tensors": len(names)}, []


def choose_nodes(model, float_operators: set[str], float_nodes: set[str]) -> set[str]:
    """Names of the operators that will compute in int8.

    Products (convolutions, matrix products) always gain. What only moves or adds numbers gains nothing of its own and
    costs a rounding, so it is int8 only inside an int8 island: all its inputs come from int8 operators and all its
    consumers are int8 again. Relu and Clip right behind a product cost nothing, they are folded into it.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    consumers: dict[str, list] = {}
    for node in model.graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    constants = {value.name for value in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    known = set(QDQRegistry) | set(QLinearOpsRegistry)
    chosen = {
        node.name
        for node in model.graph.node
        if (node.op_type in PRODUCTS or (node.op_type in known and node.op_type not in _NEVER))
        and node.op_type not in float_operators
        and node.name not in float_nodes
    }

    def folded(node) -> bool:
        before = producers.get(node.input[0])
        return node.op_type in ("Relu", "Clip") and before is not None and before.op_type in PRODUCTS

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


def _activations(model, chosen: set[str]) -> list[str]:
    """Float tensors that flow into or out of an operator that is quantized, in graph order."""
    inferred = onnx.shape_inference.infer_shapes(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    kinds |= {v.name: v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)}
    constants = {value.name for value in model.graph.initializer}
    names: dict[str, None] = {}
    for node in model.graph.node:
        if node.name in chosen:
            for name in (*node.input, *node.output):
                if name and name not in constants and kinds.get(name) == TensorProto.FLOAT:
                    names[name] = None
    return list(names)


def observe(_arguments, arrays):
    """Counts one image's values, in one half of the histograms and then in the other."""
    session, histograms = _state["session"], {name: pair[_state["seen"] % 2] for name, pair in _state["halves"].items()}
    _state["seen"] += 1
    feed = {value.name: array for value, array in zip(session.get_inputs(), arrays, strict=True)}
    names = [name for name in histograms if name not in feed]
    finite = True
    for name, value in (*zip(names, session.run(names, feed), strict=True), *feed.items()):
        if name in histograms:
            finite &= histograms[name].add(value)
    return {"finite": bool(finite)}, []


def quantize(arguments, _arrays):
    given, model, chosen = _state["arguments"], _state["model"], _state["chosen"]
    ranges, scales = {}, {}
    for name, halves in _state["halves"].items():
        low, high = Histogram.merged(*halves).range(given["method"], given["percentile"])
        ranges[name] = TensorData(lowest=np.float32(low), highest=np.float32(high))
        if _state["seen"] > 1:
            scales[name] = [_scale(half, given) for half in halves]
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
        nodes_to_quantize=sorted(chosen),
        nodes_to_exclude=[],
        op_types_to_quantize=sorted({node.op_type for node in model.graph.node if node.name in chosen}),
        extra_options={},
    )
    nodes = [(node.name, node.op_type) for node in model.graph.node]
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
    return {**_io(done), "notes": [_summary(nodes, chosen)], "half_scales": scales}, []


def _scale(histogram: Histogram, given: dict) -> float:
    low, high = histogram.range(given["method"], given["percentile"])
    return float(high - low) / 255.0


def _summary(nodes: list[tuple[str, str]], chosen: set[str]) -> str:
    """How many operators of each type compute in int8, out of how many."""
    all_types, int8_types = Counter(kind for _, kind in nodes), Counter(kind for name, kind in nodes if name in chosen)
    return "int8: " + ", ".join(f"{kind} {count} of {all_types[kind]}" for kind, count in sorted(int8_types.items()))


COMMANDS = {"begin": begin, "observe": observe, "quantize": quantize}
