"""Describes the machine of a measurement: figures of different machines cannot be compared."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from segexport.errors import OptionError

_PACKAGES = ("segexport", "paddlepaddle", "paddle2onnx", "paddlelite", "onnx", "onnxruntime", "numpy")
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm", "asimdhp")


def describe_machine() -> dict[str, object]:
    """Processor, its relevant instructions, cores, system, Python and the packages that make or run models."""
    flags = processor_flags()
    return {
        "processor": _cpuinfo().get("model name") or platform.processor() or platform.machine(),
        "instructions": [name for name in _INSTRUCTIONS if name in flags],
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def load_average() -> float | None:
    """Processes that ran or waited for a processor, mean of the last minute; None if unknown."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def now() -> str:
    """The current time, ISO 8601 in UTC; $SOURCE_DATE_EPOCH (seconds) replaces it, so that two runs can be equal.

    Raises:
        InputError: $SOURCE_DATE_EPOCH is not a number of seconds.
    """
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.now(timezone.utc) if fixed is None else datetime.fromtimestamp(int(fixed), timezone.utc)
    except (ValueError, OverflowError, OSError) as error:
        raise OptionError(f"SOURCE_DATE_EPOCH is {fixed!r}, not seconds since 1970", cause=str(error)) from error
    return moment.isoformat(timespec="seconds")


def describe_gpu(index: int) -> tuple[str, str]:
    """(name, driver version) of a GPU, from NVIDIA's driver; empty if there is none."""
    command = ["nvidia-smi", f"--id={index}", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "", ""
    name, _, driver = answer.strip().splitlines()[0].partition(",") if answer.strip() else ("", "", "")
    return name.strip(), driver.strip()


def processor_vendor() -> str:
    """The processor's maker as it names itself (`AuthenticAMD`); empty if unknown."""
    return _cpuinfo().get("vendor_id", "")


def processor_flags() -> frozenset[str]:
    """The processor's instruction sets, as Linux names them; none if unknown."""
    found = _cpuinfo()
    return frozenset((found.get("flags") or found.get("features") or "").split())


def _cpuinfo() -> dict[str, str]:
    """What Linux tells of the first core; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        found.setdefault(key.strip().lower(), value.strip())
    return found


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def processor_mhz() -> float:
    """The current clock of the fastest core; 0 if unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return 0.0
    return max((float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")), default=0.0)
