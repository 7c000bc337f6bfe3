"""Checks that an int8 ONNX model gives the same results on ARM as on this machine.

ONNX Runtime computes with signed 8-bit activations on ARM, and converts them to float on x86 unless
`session.qdqisint8allowed` says otherwise; unsigned activations are computed in the same integers on both. The check
runs the model a second time with ARM's rule and compares the two masks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.pipeline.registry import runtime_for
from segexport.runtimes.agreement import agreement
from segexport.runtimes.base import RunOptions
from segexport.spec import TaskName
from segexport.verdict import Check, Verdict

CHECK = "audit.arm_rounding"
_VNNI = re.compile(r"\b(avx512_vnni|avx_vnni|avx512vnni|avxvnni|asimddp|i8mm)\b")


@dataclass(frozen=True)
class Likeness:
    """The required agreement of the outputs of two int8 roundings of one model.

    Attributes:
        answers: Noun for the model's outputs: masks, objects.
        parts: Noun for the compared units: pixels, objects.
        least: Smallest fraction of them that must agree.
    """

    answers: str
    parts: str
    least: float


LIKENESS: dict[TaskName, Likeness] = {
    "semantic": Likeness("masks", "pixels", 0.999),  # two int8 roundings of one model differ by 1e-4 to 1e-2
    "instance": Likeness("objects", "objects", 0.95),  # a score may fall to either side of any threshold
}


def arm_rounding_check(artifact: ModelArtifact, inputs: Iterable[Sequence[np.ndarray]], options: RunOptions) -> Check:
    """Runs an int8 ONNX export with this CPU's rounding rule and with ARM's, and compares the outputs.

    Args:
        artifact: The export.
        inputs: Input tensors, one sequence per image.
        options: The check's run options; the device is a CPU.

    Raises:
        SegexportError: The export fails to run.
    """
    likeness = LIKENESS[artifact.manifest.task]
    runtime, shares = runtime_for(artifact.manifest.format), []
    as_on_arm = replace(options, options={**options.options, "int8_as_on_arm": True})
    with runtime.open(artifact, options) as here, runtime.open(artifact, as_on_arm) as there:
        for tensors in inputs:
            shares.append(agreement(here.infer(tensors), there.infer(tensors)))
    mean, worst = float(np.mean(shares)), min(shares)
    good = mean >= likeness.least
    same = f"{mean:.4%} of the {likeness.parts} agree, {worst:.4%} on the worst image"
    if worst == 1:
        same = f"the same {likeness.answers}"
    return Check(
        name=CHECK,
        verdict=Verdict.PASS if good else Verdict.FAIL,
        message=f"int8 as on ARM against int8 as on this CPU, {len(shares)} images: {same}; {_dot_products()}.",
        value=mean,
        limit=likeness.least,
        details={"images": len(shares), "worst": worst},
    )


def _dot_products() -> str:
    """Describes this CPU's 8-bit dot-product instructions. ONNX Runtime selects them by CPU, without an option."""
    try:
        found = sorted(set(_VNNI.findall(Path("/proc/cpuinfo").read_text())))
    except OSError:
        found = []
    if found:
        return f"this CPU has {', '.join(found)}, which does not saturate, as ARM; ONNX Runtime cannot run without it"
    return "this CPU has no 8-bit dot product (VNNI), its int8 sums may saturate where ARM's do not"
