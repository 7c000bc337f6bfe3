"""Counts the instructions of one inference: a cost that does not depend on the machine's load. It is not a speed.

ONNX Runtime's arm64 library runs under QEMU, which counts the executed instructions; two named cores select different
kernels, like phones of their class. The count is read after N and after 2N runs of a process, and the difference
divided by N is one inference: start-up, loading and the first runs cancel. On this machine's processor, the kernel's
counter is used in the same way.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.errors import EnvironmentMissingError, WorkerFailed, WorkerTimeout
from segexport.measure.noise import noise
from segexport.process import pythons
from segexport.process.interpreter import interpreter_for
from segexport.report.schema import InstructionCount
from segexport.runtimes.base import WORKERS
from segexport.spec import Format

CORES = ("cortex-a76", "cortex-a53")
"""QEMU's names of the processors: with int8 dot products, and without."""
PACKAGES = (
    "qemu-user, libcapstone4 and liburing2; for arm64 libc6, libgcc-s1, libstdc++6, zlib1g, libexpat1, "
    "python3.11-minimal, libpython3.11-minimal and libpython3.11-stdlib"
)
"""Debian 12's packages; a test compares them with the lock of the download."""
NO_SPEED = "a count, not a speed"
_RUNS = 2  # N
_ADDR_NO_RANDOMIZE = 0x0040000  # personality(2)
_NO_COUNTER = 3  # exit code of counted_runs.py
_NO_LIBRARY = 127  # exit code of a program whose libraries are not installed
_PLUGIN = Path(__file__).with_name("count_instructions.c")
_SCRIPT = WORKERS / "counted_runs.py"


@dataclass(frozen=True)
class Instructions:
    """The instructions of one inference on one thread, by processor.

    Attributes:
        counts: Processor -> count.
        skipped: Processor -> reason why there is no count.
    """

    counts: dict[str, InstructionCount] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def count_instructions(artifact: ModelArtifact, *, timeout_s: float = 1800.0) -> Instructions:
    """Counts one inference of an ONNX export on each of `CORES` and on this machine's processor.

    Raises:
        WorkerFailed: The model does not run on a processor.
        WorkerTimeout: It took longer than `timeout_s` on one processor.
    """
    found = Instructions()
    counters = {**{core: functools.partial(_emulated, core) for core in CORES}, here(): _counted_here}
    with tempfile.TemporaryDirectory() as folder:
        for processor, counter in counters.items():
            if artifact.manifest.format != Format.ONNX:
                found.skipped[processor] = f"ONNX Runtime does not run {artifact.manifest.format}"
                continue
            arguments = [artifact.file("model").resolve(), *_inputs(artifact, Path(folder))]
            try:
                run, by = counter(Path(folder), timeout_s)
                after_n, after_2n = run(arguments)
                one = round((after_2n - after_n) / _RUNS)
                found.counts[processor] = InstructionCount(instructions=one, counted_by=by)
            except EnvironmentMissingError as error:
                found.skipped[processor] = error.what
    return found


def here() -> str:
    """The name of this machine's processor in the counts."""
    return platform.machine()


def tools() -> Path:
    """The folder of QEMU and the arm64 programs, filled by `android_demo/ci/fetch_tools.sh count`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("SEGEXPORT_ANDROID_TOOLS") or cache / "segexport" / "android") / "count"


def tools_here() -> bool:
    """Whether these tools are complete."""
    return (tools() / ".complete").is_file()


_Run = Callable[[Sequence[object]], tuple[int, int]]
"""Takes the model and its inputs; returns the counts after N and after 2N runs."""


def _inputs(artifact: ModelArtifact, folder: Path) -> list[str]:
    """Writes the inputs; returns their names in `folder`, where programs run: its own name differs each time."""
    tensors = noise(artifact)
    names = [f"{index}.npy" for index in range(len(tensors))]
    for name, tensor in zip(names, tensors, strict=True):
        np.save(folder / name, tensor)
    return names


def _emulated(core: str, folder: Path, timeout_s: float) -> tuple[_Run, str]:
    """Returns the function that counts in QEMU; raises EnvironmentMissingError without QEMU."""
    root, plugin, out = tools(), folder / "libcount.so", folder / "count"
    if not tools_here():
        raise EnvironmentMissingError(
            f"no QEMU that counts: it needs Debian's {PACKAGES}, and the wheels onnxruntime and numpy; "
            "android_demo/ci/fetch_tools.sh count fetches them, without root"
        )
    if (compiler := shutil.which("cc")) is None:
        raise EnvironmentMissingError("no C compiler for the counting plugin; Debian: apt install gcc libc6-dev")
    if not plugin.exists():
        _finished([compiler, "-O2", "-shared", "-fPIC", "-o", plugin, _PLUGIN], folder, timeout_s)
    libraries = [root / "lib/aarch64-linux-gnu", root / "usr/lib/aarch64-linux-gnu"]
    guest = {
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "PYTHONHOME": root / "usr",
        "PYTHONPATH": root / "site",
        "PYTHONHASHSEED": "0",
        "PYTHONPYCACHEPREFIX": root.with_name("count-pycache"),  # outside the tools' folder, whose files are verified
        "OPENBLAS_NUM_THREADS": "1",
    }
    settings = [word for name, value in guest.items() for word in ("-E", f"{name}={value}")]
    emulator = [root / "usr/bin/qemu-aarch64", "-cpu", core, "-L", root, *settings]
    python = [root / "usr/bin/python3.11", "-S", _SCRIPT]
    environment = {"LD_LIBRARY_PATH": str(root / "usr/lib/x86_64-linux-gnu")}

    def run(arguments: Sequence[object]) -> tuple[int, int]:
        model, *inputs = arguments
        out.unlink(missing_ok=True)
        counted = [*emulator, "-plugin", f"{plugin},out={out}", *python]
        _finished([*counted, model, _RUNS, *inputs], folder, timeout_s, environment)
        return _counts(out.read_text() if out.exists() else "")

    return run, f"ONNX Runtime {_version(root)} for arm64, QEMU's {core}"


def _version(root: Path) -> str:
    return next(root.glob("site/onnxruntime-*.dist-info")).name.split("-")[1].removesuffix(".dist")


def _counted_here(folder: Path, timeout_s: float) -> tuple[_Run, str]:
    """Returns the function that uses the kernel's counter; it raises EnvironmentMissingError if there is none."""
    python = interpreter_for("onnxruntime")

    def run(arguments: Sequence[object]) -> tuple[int, int]:
        model, *inputs = arguments
        return _counts(_finished([python, "-I", _SCRIPT, "--here", model, _RUNS, *inputs], folder, timeout_s))

    version = pythons.versions(python, "onnxruntime")["onnxruntime"]
    return run, f"ONNX Runtime {version}, the kernel's counter"


def _counts(text: str) -> tuple[int, int]:
    found = [int(word) for word in text.split()]
    if len(found) != 2:
        raise WorkerFailed(f"counting instructions: {len(found)} counts, of which there should be two")
    return found[0], found[1]


def _same_addresses() -> None:
    """Disables address randomization for this process, because some code depends on addresses."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).personality(_ADDR_NO_RANDOMIZE)


def _finished(
    command: Sequence[object], folder: Path, timeout_s: float, environment: dict[str, str] | None = None
) -> str:
    """Runs a program in a folder and returns its output; raises errors as `count_instructions`."""
    words = [str(word) for word in command]
    name = Path(words[0]).name
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            env=environment,
            cwd=folder,
            preexec_fn=_same_addresses,
        )
    except subprocess.TimeoutExpired as error:
        raise WorkerTimeout(f"counting instructions: {name} was not ready after {timeout_s:g} s") from error
    except OSError as error:  # of another processor
        raise EnvironmentMissingError(f"{name} does not run here: {error.strerror}") from error
    said = " | ".join(done.stderr.strip().splitlines()[-3:])[:400]
    if done.returncode in (_NO_COUNTER, _NO_LIBRARY):
        raise EnvironmentMissingError(said)
    if done.returncode != 0:
        raise WorkerFailed(f"counting instructions: {name} ended with {done.returncode}", cause=said)
    return done.stdout
