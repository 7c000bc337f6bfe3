"""The Paddle-Lite runtime on this host; on x86 it runs the twin that the exporter writes beside the ARM `.nb`."""

from __future__ import annotations

import platform
from pathlib import Path

from segexport.artifact import ModelArtifact
from segexport.errors import UnsupportedModelError
from segexport.runtimes.base import WorkerRuntime
from segexport.spec import Format


class PaddleLiteRuntime(WorkerRuntime):
    """Runs `.nb` files: the ARM one on an ARM host, its x86 twin elsewhere."""

    name = "paddle-lite"
    title = "Paddle-Lite"
    runs = (Format.PADDLE_LITE,)
    worker = "lite_worker.py"
    needs = "paddlelite"

    def files(self, artifact: ModelArtifact) -> dict[str, Path]:
        on_arm = platform.machine() in ("aarch64", "arm64")
        return {"model": artifact.file("model") if on_arm else twin_of(artifact)}


def twin_of(artifact: ModelArtifact) -> Path:
    """Returns the x86 twin of an ARM program.

    Raises:
        UnsupportedModelError: There is no twin because x86 lacks some of the operators.
    """
    if not any(entry.role == "host_model" for entry in artifact.manifest.files):
        notes = [note for entry in artifact.manifest.lineage for note in entry.notes]
        why = next((note for note in notes if "no x86 twin" in note), "it contains a program for ARM alone")
        raise UnsupportedModelError(
            f"{artifact.path}: its values cannot be run on {platform.machine()}",
            cause=why.removeprefix("warning: "),
            hint="check it where its kernels are, on a phone: segexport check … --adb",
        )
    return artifact.file("host_model")
