"""The Paddle-Lite runtime on this host; on x86 it runs the twin that the exporter writes beside the ARM `.nb`."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

from segexport.artifact import ModelArtifact
from segexport.errors import UnsupportedModelError
from segexport.runtimes.base import RunOptions, WorkerRuntime, WorkerSession, on_arm
from segexport.spec import Format, Precision


class PaddleLiteRuntime(WorkerRuntime):
    """Runs `.nb` files: the ARM one on an ARM host, its x86 twin elsewhere."""

    name = "paddle-lite"
    title = "Paddle-Lite"
    runs = (Format.PADDLE_LITE,)
    worker = "lite_worker.py"
    needs = "paddlelite"

    def open(self, artifact: ModelArtifact, options: RunOptions) -> WorkerSession:
        session = super().open(artifact, options)
        if not on_arm():
            session.info = replace(session.info, not_run=_in_place_of_arm(artifact.manifest.target.precision))
        return session

    def files(self, artifact: ModelArtifact) -> dict[str, Path]:
        return {"model": artifact.file("model") if on_arm() else twin_of(artifact)}


def _in_place_of_arm(precision: Precision) -> str:
    """Returns what the x86 twin shows of an ARM file."""
    found = "the x86 twin of the program ran; the ARM file was compiled only"
    if precision is Precision.FP16:
        return f"{found}, and fp16 kernels exist only on ARM: the twin has fp16 weights and computes in fp32"
    if precision is Precision.INT8:
        return f"{found}, and the twin rounds as its int8 kernels do"
    return found


def twin_of(artifact: ModelArtifact) -> Path:
    """Returns the x86 twin of an ARM program.

    Raises:
        UnsupportedModelError: There is no twin because x86 lacks some of the operators.
    """
    if not any(entry.role == "host_model" for entry in artifact.manifest.files):
        notes = [note for entry in artifact.manifest.lineage for note in entry.notes]
        why = next((note for note in notes if "no x86 twin" in note), "it contains a program for ARM only")
        raise UnsupportedModelError(
            f"{artifact.path}: it cannot be run on {platform.machine()}",
            cause=why.removeprefix("warning: "),
            hint="check it on a phone: segexport check … --adb",
        )
    return artifact.file("host_model")
