"""Names of devices, and the errors if one is not available. Standard library only."""

from __future__ import annotations

import os

from worker_host import WorkerFailure


def parsed(device: str, runtime: str) -> tuple[str, int]:
    """`gpu:1` -> ("gpu", 1).

    Raises:
        WorkerFailure: Another name than cpu, gpu or gpu:N.
    """
    kind, colon, index = device.partition(":")
    if device != "cpu" and not (kind == "gpu" and (index.isdigit() or not colon)):
        raise WorkerFailure(f"device {device!r}: {runtime} runs on cpu and gpu:N", hint="gpu:0 is the first GPU")
    return kind, int(index or 0)


def absent(device: str, runtime: str, why: str, package: str, gpu_package: str) -> WorkerFailure:
    """The error of a runtime that was built without CUDA, with what the machine has and how to get the rest."""
    return WorkerFailure(
        f"device {device!r}: {runtime} here runs on the CPU only",
        cause=f"{why}; {nvidia()}",
        hint=f"on a machine with an NVIDIA GPU: pip uninstall {package}, pip install {gpu_package}; here: ask for cpu",
    )


def nvidia() -> str:
    """Whether the machine itself could."""
    if any(os.path.exists(path) for path in ("/proc/driver/nvidia/version", "/dev/nvidia0", "/dev/nvidiactl")):
        return "the machine has an NVIDIA driver"
    return "the machine has no NVIDIA driver"
