"""Compares each operator's precision and provider, as a runtime or a file reports them, with the requested ones.

A converter can accept a request for int8 or fp16 and silently write a model that computes in fp32. So nothing here
trusts a file's name or its manifest. Each target defines how its operators are read (`ExportTarget.audit`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from segexport.spec import Precision
from segexport.verdict import Check, Verdict

CHECK = "audit.precision"
NOT_RUN = "not_run"
"""Key in the check's details: why this machine cannot compute in the precision of a correct export."""
MOVES = "moves"
"""Key of the operators that only convert, reorder or reshape; they compute nothing in any precision."""

# Paddle's mul is a matrix product, ONNX's Mul is not.
_PRODUCT = re.compile(r"[Cc]onv|[Mm]at[Mm]ul|[Gg]emm|^(fc|mul|bmm|FullyConnected|InnerProduct)$")
_MOVES = re.compile(
    r"(?i)^((de|fake)?quantize)(linear)?$|^cast$|^convert(tensor)?$|^raster$|^floattoint8$|^int8tofloat$|^reorder|^reshape|^transpose(?!conv)|^feed$|^fetch$"
    r"|^calib|^layout|^io_copy|^shape$|^(un)?squeeze|^flatten|^memcpy|^identity$|^assign$|^split|^slice|^strided_slice"
    r"|^concat"
)
_DTYPES = {"float": "fp32", "float16": "fp16", "uint8": "int8", "int8": "int8", "double": "fp64", "bfloat16": "bf16"}
_NAMED = 5  # operators that a message names


@dataclass(frozen=True)
class Ran:
    """One operator as it ran, or as it will run on the device.

    Attributes:
        precision: Precision of its arithmetic: fp32, fp16, int8, ...; `moves` for operators that compute nothing.
        provider: The provider that ran it: CPUExecutionProvider, CUDAExecutionProvider, oneDNN, arm, host, ...
        node: Its name in the graph, if it has one.
    """

    operator: str
    precision: str
    provider: str
    node: str = ""

    @property
    def is_product(self) -> bool:
        """Convolutions and matrix products: they take most of the time, and a smaller precision makes them faster."""
        return bool(_PRODUCT.search(self.operator)) and not only_moves(self.operator)


@dataclass(frozen=True)
class Audit:
    """The operators that ran, and the checks on them; the first check is on the precision."""

    ran: tuple[Ran, ...]
    checks: tuple[Check, ...]

    @property
    def check(self) -> Check:
        return self.checks[0]

    @property
    def operators(self) -> dict[str, dict[str, int]]:
        """Precision -> operator -> count; sorted, so that equal runs give equal reports."""
        counts: dict[str, Counter[str]] = {}
        for one in self.ran:
            counts.setdefault(one.precision, Counter())[one.operator] += 1
        return {precision: dict(sorted(found.items())) for precision, found in sorted(counts.items())}


def only_moves(operator: str) -> bool:
    """Whether an operator of this type converts, reorders or reshapes, and computes nothing."""
    return bool(_MOVES.search(operator))


def precision_of(operator: str, dtype: str) -> str:
    """The precision of an operator, from its type and the type of its data."""
    return MOVES if only_moves(operator) else _DTYPES.get(dtype, dtype or "unknown")


def precision_check(
    asked: Precision,
    ran: tuple[Ran, ...],
    source: str,
    *,
    weights_int8: int = 0,
    no_fp16: str = "",
    widened_on_device: bool = False,
    narrow: Collection[str] = (),
) -> Check:
    """Compares the products' precisions with the requested one.

    Args:
        source: Source of the operators, for the message.
        weights_int8: Operators with 8-bit weights in the file and float inputs and outputs.
        narrow: Names of the operators with integer weights in the file; for w4a8 each must compute in int8.
        no_fp16: Why this machine runs nothing in fp16 or bf16 although the file is right; then the check only reports.
        widened_on_device: Whether the runtime computes so on devices too; otherwise the device's values were not run.
    """
    products = [one for one in ran if one.is_product]
    counts = Counter(one.precision for one in products)
    found = ", ".join(f"{count} in {precision}" for precision, count in sorted(counts.items())) or "none"
    providers = dict(Counter(one.provider for one in ran))
    details = {"products": dict(counts), "providers": providers, "source": source}
    seen = f"{len(products)} convolutions and matrix products in {source}: {found}"
    if asked in (Precision.W8, Precision.W4):
        kind, held = ("int8", weights_int8 or len(narrow)) if asked is Precision.W8 else ("int4", len(narrow))
        details[f"operators_with_{kind}_weights"] = held
        arithmetic = "" if counts["int8"] else " and compute in float"
        note = (
            f"{held} operators hold {kind} weights{arithmetic}, as asked"
            if held
            else f"no operator holds {kind} weights"
        )
        return _check(held > 0, len(products), f"{seen}; {note}.", details)
    if not products:
        return _check(asked is Precision.FP32, 0, f"no convolution and no matrix product in {source}.", details)
    share = counts[asked.arithmetic] / len(products)
    floats = [one for one in products if one.precision != asked.arithmetic]
    if asked is Precision.FP32:
        return _check(not floats, share, f"{seen}.", details)
    if floats:
        details["not_as_asked"] = [one.node or one.operator for one in floats]
    if share == 0 and asked in (Precision.FP16, Precision.BF16) and no_fp16:
        details |= {} if widened_on_device else {NOT_RUN: no_fp16}
        return _check(True, share, f"{seen}; {no_fp16}.", details, gated=False)
    if share == 0:
        return _check(False, share, f"{seen}; {asked.value} was asked for, and nothing runs in it.", details)
    if asked is Precision.W4A8:
        return _fused(narrow, floats, share, f"{seen}{_left(floats)}", details)
    return _check(True, share, f"{seen}{_left(floats)}.", details)


def not_audited(why: str) -> Audit:
    """The check if the operators could not be read, which is not a fault of the export."""
    return Audit((), (Check(name=CHECK, verdict=Verdict.SKIPPED, message=f"{why}.", gated=False),))


def _fused(narrow: Collection[str], floats: list[Ran], share: float, seen: str, details: dict) -> Check:
    """Checks that operators with 4-bit weights compute in int8: as floats, they save bytes but no time."""
    lost = sorted(one.node for one in floats if one.node in narrow)
    details |= {"operators_with_int4_weights": len(narrow), "not_fused": lost}
    what = f"{len(narrow) - len(lost)} of {len(narrow)} with 4-bit weights compute in int8"
    return _check(bool(narrow) and not lost, share, f"{seen}; {what}.", details)


def _left(floats: list[Ran]) -> str:
    names = [one.node or one.operator for one in floats[:_NAMED]]
    more = f" and {len(floats) - _NAMED} more" if len(floats) > _NAMED else ""
    return f"; not so: {', '.join(names)}{more}" if floats else ""


def _check(good: bool, value: float, message: str, details: dict, *, gated: bool = True) -> Check:
    verdict = Verdict.PASS if good else Verdict.FAIL
    return Check(name=CHECK, verdict=verdict, message=message, value=float(value), gated=gated, details=details)
