"""Parses device names and builds the errors for unavailable devices. Standard library only."""

from __future__ import annotations

import os

from worker_host import WorkerFailure


def parsed(device: str, runtime: str) -> tuple[str, int]:
    """`gpu:1` -> ("gpu", 1).

    Raises:
        WorkerFailure: The name is not cpu, gpu or gpu:N.
    """
    kind, colon, index = device.partition(":")
    if device != "cpu" and not (kind == "gpu" and (index.isdigit() or not colon)):
        raise WorkerFailure(f"device {device!r}: {runtime} runs on cpu and gpu:N", hint="gpu:0 is the first GPU")
    return kind, int(index or 0)


def absent(device: str, runtime: str, why: str, package: str, gpu_package: str) -> WorkerFailure:
    """Returns the error for a runtime built without CUDA: says whether the machine has a GPU and what to install."""
    return WorkerFailure(
        f"device {device!r}: {runtime} here runs on the CPU only",
        cause=f"{why}; {nvidia()}",
        hint=f"on a machine with an NVIDIA GPU: pip uninstall {package}, pip install {gpu_package}; here: use cpu",
    )


def nvidia() -> str:
    """Says whether the machine has an NVIDIA GPU."""
    if any(os.path.exists(path) for path in ("/proc/driver/nvidia/version", "/dev/nvidia0", "/dev/nvidiactl")):
        return "the machine has an NVIDIA driver"
    return "the machine has no NVIDIA driver"
