"""What really ran: each operator's precision and provider, read back from the runtimes, against what was asked.

A converter can take a request for int8 or fp16 without a word and write a model that computes in fp32. So nothing here
trusts a file's name or its manifest. The sources are ONNX Runtime's profile of one run (its optimized graph, operator
by operator, with the types of the tensors that came in), the program that Paddle Inference runs after its passes, and
the kernels that Paddle-Lite's Opt has chosen and written into the `.nb`, which its runtime takes as they are.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.errors import InputError, SegexportError
from segexport.pipeline.registry import runtime_for
from segexport.runtimes.base import RunOptions
from segexport.spec import Format, Precision
from segexport.verdict import Check, Verdict

CHECK = "audit.precision"
MOVES = "moves"
"""Key of the operators that only convert, reorder or reshape; they compute nothing in any precision."""

# Paddle's mul is a matrix product, ONNX's Mul is not.
_PRODUCT = re.compile(r"[Cc]onv|[Mm]at[Mm]ul|[Gg]emm|^(fc|mul|bmm)$")
_MOVES = re.compile(
    r"(?i)^(quantize|dequantize)(linear)?$|^cast$|^reorder|^reshape|^transpose|^feed$|^fetch$|^calib|^layout|^io_copy"
    r"|^shape$|^(un)?squeeze|^flatten|^memcpy|^identity$|^assign$|^split|^slice|^strided_slice|^concat"
)
_DTYPES = {"float": "fp32", "float16": "fp16", "uint8": "int8", "int8": "int8", "double": "fp64", "bfloat16": "bf16"}
_NAMED = 5  # operators that a message names


@dataclass(frozen=True)
class Ran:
    """One operator as it ran, or as it will run on the device.

    Attributes:
        precision: Of its arithmetic: fp32, fp16, int8, ...; `moves` for operators that compute nothing.
        provider: Who ran it: CPUExecutionProvider, CUDAExecutionProvider, oneDNN, arm, host, ...
        node: Its name in the graph, where it has one.
    """

    operator: str
    precision: str
    provider: str
    node: str = ""

    @property
    def is_product(self) -> bool:
        """Convolutions and matrix products: what costs, and what a smaller precision is for."""
        return bool(_PRODUCT.search(self.operator)) and not _MOVES.search(self.operator)


@dataclass(frozen=True)
class Audit:
    """The operators that ran, what the file itself tells of its weights, and the verdict."""

    ran: tuple[Ran, ...]
    check: Check

    @property
    def operators(self) -> dict[str, dict[str, int]]:
        """Precision -> operator -> how many; sorted, so that equal runs give equal reports."""
        counts: dict[str, Counter[str]] = {}
        for one in self.ran:
            counts.setdefault(one.precision, Counter())[one.operator] += 1
        return {precision: dict(sorted(found.items())) for precision, found in sorted(counts.items())}


def audit(artifact: ModelArtifact, tensors: Sequence[np.ndarray], options: RunOptions) -> Audit:
    """Reads back what runs and holds it against the precision in the manifest.

    Args:
        artifact: An export.
        tensors: One image's input; ONNX Runtime is profiled on it.
        options: Device and threads as in the check.

    Raises:
        SegexportError: The runtime cannot run it.
    """
    asked = artifact.manifest.target.precision
    if artifact.manifest.format is Format.ONNX:
        ran = _onnx(artifact, tensors, options)
        return Audit(ran, _judged(asked, ran, "ONNX Runtime's optimized graph"))
    if artifact.manifest.format is Format.PADDLE_LITE:
        data = artifact.file("model").read_bytes()
        ran = nb_kernels(data, source=str(artifact.file("model")))
        return Audit(ran, _judged(asked, ran, f"the kernels in {artifact.file('model').name}", quantized_weights(data)))
    ran = _paddle(artifact, options)
    return Audit(ran, _judged(asked, ran, "Paddle Inference's optimized program"))


# -- reading back ----------------------------------------------------------------------------------------------


def _onnx(artifact: ModelArtifact, tensors: Sequence[np.ndarray], options: RunOptions) -> tuple[Ran, ...]:
    with tempfile.TemporaryDirectory() as folder:
        extra = {**options.options, "profile": str(Path(folder) / "profile")}
        profiled = RunOptions(options.device, options.threads, options.timeout_s, extra)
        with runtime_for(Format.ONNX).open(artifact, profiled) as session:
            found = session.operators(tensors)
    return tuple(Ran(kind, precision_of(kind, dtype), provider, _plain(node)) for kind, dtype, provider, node in found)


def precision_of(kind: str, dtype: str) -> str:
    """What an operator computes in, from its type and the type of its data."""
    if _MOVES.search(kind):
        return MOVES
    return _DTYPES.get(dtype, dtype or "unknown")


def _plain(node: str) -> str:
    """A node's name without what ONNX Runtime's optimizer put behind it."""
    return re.sub(r"(_nchwc|_token_\d+)+$", "", node)


# "conv2d/def/4/1/1": operator, alias, target, precision, layout, by Paddle-Lite's own numbers (paddle_place.h).
_NB_KERNEL = re.compile(rb"([a-z][a-z0-9_]*)/([A-Za-z0-9_]+)/(\d{1,2})/(\d{1,2})/(\d{1,2})(?!\d)")
_NB_TARGETS = {1: "host", 2: "x86", 3: "cuda", 4: "arm", 5: "opencl", 6: "any"}
_NB_PRECISIONS = {1: "fp32", 2: "int8", 3: "int32", 4: "any", 5: "fp16", 6: "bool", 7: "int64", 8: "int16", 9: "int8"}


def nb_kernels(data: bytes, source: str = "the .nb") -> tuple[Ran, ...]:
    """The kernels that a `.nb` names, one per operator, in its order.

    Raises:
        InputError: It names none.
    """
    found = []
    for kind, alias, target, precision, _layout in _NB_KERNEL.findall(data):
        operator = kind.decode()
        name = _NB_PRECISIONS.get(int(precision), f"precision {int(precision)}")
        place = _NB_TARGETS.get(int(target), f"target {int(target)}")
        found.append(Ran(operator, MOVES if _MOVES.search(operator) else name, place, alias.decode()))
    if not any(one.operator not in ("feed", "fetch") for one in found):
        raise InputError(f"{source}: no kernels in it", cause="it is no .nb, or one of another Paddle-Lite")
    return tuple(found)


def quantized_weights(data: bytes) -> int:
    """How many operators of a `.nb` hold weights in 8 bits that the runtime turns into floats when it loads."""
    return data.count(b"quantize_weight_bits")


def _paddle(artifact: ModelArtifact, options: RunOptions) -> tuple[Ran, ...]:
    from segexport.exporter.program import read_graph

    with tempfile.TemporaryDirectory() as folder:
        extra = {**options.options, "optimized_program": folder}
        saving = RunOptions(options.device, options.threads, options.timeout_s, extra)
        with runtime_for(Format.PADDLE).open(artifact, saving) as session:
            provider = session.info.provider
        saved = Path(folder) / "_optimized.pdmodel"
        file = saved if saved.is_file() else artifact.file("model")  # without passes, the program itself is run
        graph = read_graph(file)
    ran = []
    for op in graph.all_ops():
        own = bool(op.attr("use_mkldnn", False))
        dtype = str(op.attr("mkldnn_data_type", "float32") or "float32")
        precision = {"float32": "fp32", "int8": "int8", "bfloat16": "bf16"}.get(dtype, dtype)
        where = provider if provider != "oneDNN" or own else "plain"
        ran.append(Ran(op.type, MOVES if _MOVES.search(op.type) else precision, where, (op.output_names() or [""])[0]))
    return tuple(ran)


# -- the verdict -----------------------------------------------------------------------------------------------


def _judged(asked: Precision, ran: tuple[Ran, ...], source: str, weights_int8: int = 0) -> Check:
    """Holds the products' precisions against what was asked."""
    products = [one for one in ran if one.is_product]
    counts = Counter(one.precision for one in products)
    found = ", ".join(f"{count} in {precision}" for precision, count in sorted(counts.items())) or "none"
    providers = dict(Counter(one.provider for one in ran))
    details = {"products": dict(counts), "providers": providers, "source": source}
    seen = f"{len(products)} convolutions and matrix products in {source}: {found}"
    if asked is Precision.W8:
        details["operators_with_int8_weights"] = weights_int8
        good = weights_int8 > 0
        note = f"{weights_int8} operators hold int8 weights and compute in float, as asked"
        return _check(good, len(products), f"{seen}; {note if good else 'no operator holds int8 weights'}.", details)
    if not products:
        return _check(asked is Precision.FP32, 0, f"no convolution and no matrix product in {source}.", details)
    share = counts[asked.value] / len(products)
    floats = [one for one in products if one.precision != asked.value]
    if asked is Precision.FP32:
        return _check(not floats, share, f"{seen}.", details)
    if floats:
        details["not_as_asked"] = [one.node or one.operator for one in floats]
    if share == 0 and asked is Precision.FP16 and all(one.provider == "CPUExecutionProvider" for one in products):
        note = "ONNX Runtime has no fp16 kernels for this CPU: weights are fp16, the arithmetic here is fp32"
        return _check(True, share, f"{seen}; {note}.", details, gated=False)
    if share == 0:
        return _check(False, share, f"{seen}; {asked.value} was asked for, and nothing runs in it.", details)
    return _check(True, share, f"{seen}{_left(floats)}.", details)


def _left(floats: list[Ran]) -> str:
    names = [one.node or one.operator for one in floats[:_NAMED]]
    more = f" and {len(floats) - _NAMED} more" if len(floats) > _NAMED else ""
    return f"; not so: {', '.join(names)}{more}" if floats else ""


def _check(good: bool, value: float, message: str, details: dict, *, gated: bool = True) -> Check:
    verdict = Verdict.PASS if good else Verdict.FAIL
    return Check(name=CHECK, verdict=verdict, message=message, value=float(value), gated=gated, details=details)


def audited(
    artifact: ModelArtifact, inputs: Sequence[Sequence[np.ndarray]], options: RunOptions
) -> tuple[dict[str, dict[str, int]], list[Check]]:
    """The audit as the check takes it: precision -> operator -> count, and the checks; a failure becomes an ERROR.

    Args:
        inputs: The tensors of some images, one at least.
    """
    from segexport.measure.arm_rounding import arm_rounding_check

    try:
        found = audit(artifact, inputs[0], options)
        checks = [found.check]
        int8 = artifact.manifest.target.precision is Precision.INT8 and artifact.manifest.format is Format.ONNX
        if int8 and options.device == "cpu":
            checks.append(arm_rounding_check(artifact, inputs, options))
        return found.operators, checks
    except SegexportError as error:
        message = f"what ran could not be read back: {error.what}"
        return {}, [Check(name=CHECK, verdict=Verdict.ERROR, message=message)]
