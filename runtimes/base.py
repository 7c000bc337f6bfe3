"""Defines the Runtime protocol, and the base class of runtimes that run models in a worker process."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from segexport.errors import EnvironmentMissingError, InputError, WorkerError
from segexport.process import pythons
from segexport.process.interpreter import interpreter_for
from segexport.process.worker import Worker
from segexport.runtimes import ahead

if TYPE_CHECKING:  # imported after a process was started, because the import takes as long as the start
    import numpy as np

    from segexport.artifact import ModelArtifact
    from segexport.files.model_format import Format
    from segexport.measure.audit import Ran
    from segexport.runtimes.objects import Objects
    from segexport.spec import TensorSpec

WORKERS = Path(__file__).parent / "workers"
_TIMES_SLOWER = 4
"""Factor by which the machine may slow down before a call with several runs times out."""


@dataclass(frozen=True)
class RunOptions:
    """Options of a session.

    Attributes:
        device: `cpu`, `gpu:0`, ...; opening fails if the device is not available, there is no fallback.
        threads: Threads for one inference.
        timeout_s: Longest wait for one result.
        options: Runtime-specific options, by name.
        runtime: Name of the runtime; empty: the format's first runtime.
    """

    device: str = "cpu"
    threads: int = 1
    timeout_s: float = 300.0
    options: dict[str, object] = field(default_factory=dict)
    runtime: str = ""


@dataclass(frozen=True)
class Availability:
    """Whether a runtime works on this machine, and the reason if not."""

    ok: bool
    version: str = ""
    devices: tuple[str, ...] = ()
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Prediction:
    """The output of a model for one image.

    Attributes:
        mask: (H, W) uint8, or uint16 above 256 classes: the class of each pixel. Empty for instance segmentation.
            (batch, H, W) for a batch of several images, also in `margin`.
        margin: (H, W) float32, the difference between the two best scores, if requested.
        finite: False when an output contains NaN or infinity.
        inference_ms, postprocess_ms: Time in the runtime, and time from its output to `mask`.
        decided: (H, W) bool, true where the model was confident, from a recording that kept this instead of `margin`.
        objects: Objects of instance segmentation, in pixels of the original image.
    """

    mask: np.ndarray
    margin: np.ndarray | None
    finite: bool
    inference_ms: float
    postprocess_ms: float
    decided: np.ndarray | None = None
    objects: Objects | None = None

    def same_as(self, other: Prediction) -> bool:
        """Whether mask or objects are bitwise equal."""
        if self.objects is not None and other.objects is not None:
            return self.objects.same_as(other.objects)
        import numpy as np

        return np.array_equal(self.mask, other.mask)


@dataclass(frozen=True)
class SessionInfo:
    """Runtime, device and settings in use, as the runtime reports after loading the model.

    Attributes:
        not_run: The substitute that runs instead of the artifact's file, and the reason; empty if the file itself runs.
    """

    runtime: str
    version: str
    provider: str
    device: str
    threads: int
    load_ms: float
    notes: tuple[str, ...] = ()
    not_run: str = ""


class Session(Protocol):
    """A loaded model. Up to `ahead` runs can be submitted before the first result is read."""

    @property
    def info(self) -> SessionInfo: ...
    @property
    def ahead(self) -> int: ...

    def infer(self, tensors: Sequence[np.ndarray], *, margin: bool = False) -> Prediction: ...
    def submit(self, tensors: Sequence[np.ndarray], *, margin: bool = False) -> None: ...
    def result(self) -> Prediction: ...
    def outputs(self, tensors: Sequence[np.ndarray]) -> list[np.ndarray]: ...
    def bench(self, tensors: Sequence[np.ndarray], runs: int) -> np.ndarray: ...
    def operators(self, tensors: Sequence[np.ndarray]) -> list[list[str]]: ...
    def peak_rss_bytes(self) -> int: ...
    def close(self) -> None: ...
    def __enter__(self) -> Session: ...
    def __exit__(self, *_: object) -> None: ...


@runtime_checkable
class Runtime(Protocol):
    """Runs artifacts of some formats. Its entry point in the group `segexport.runtimes` has the runtime's name.

    Attributes:
        name: Name on the command line and in reports.
        title: Display name.
        runs: Formats that it runs.
        profiles: Whether its sessions report which operators ran when opened with the option `profile`, a path prefix
            for the files that the runtime writes.
    """

    name: str
    title: str
    runs: tuple[Format, ...]
    profiles: bool = False

    def probe(self) -> Availability: ...
    def open(self, artifact: ModelArtifact, options: RunOptions) -> Session: ...

    def version(self) -> str:
        """Returns the installed version; empty if the runtime is missing or broken."""
        return self.probe().version

    def no_fp16(self, ran: Sequence[Ran]) -> str:
        """Explains why a correct fp16 export did not run in fp16; empty if the export itself is the cause."""
        return ""


class WorkerRuntime(Runtime):
    """A runtime that runs models in a worker process; `workers/onnxruntime_worker.py` is a good example.

    Attributes:
        worker: Worker file in `workers/`, or the full path for a worker of another package.
        needs: Modules that the worker's Python must provide.
    """

    worker: ClassVar[str | Path]
    needs: ClassVar[str | tuple[str, ...]]

    def probe(self) -> Availability:
        return probe_worker(self.worker, self.needs)

    def version(self) -> str:
        """Reads the version from the installed package without starting a process."""
        module, *more = (self.needs,) if isinstance(self.needs, str) else self.needs
        try:
            return pythons.versions(interpreter_for(module, *more), module)[module]
        except EnvironmentMissingError:
            return ""

    def open(self, artifact: ModelArtifact, options: RunOptions) -> WorkerSession:
        return open_worker_session(self.name, self.worker, self.needs, artifact, options, self.files(artifact))

    def start(self, threads: int) -> Worker:
        """Starts a worker that has opened nothing yet."""
        return start_worker(self.name, self.worker, self.needs, threads)

    def files(self, artifact: ModelArtifact) -> dict[str, Path]:
        """Returns the files that the worker opens, by role.

        Raises:
            SegexportError: The artifact cannot be run on this machine.
        """
        return {"model": artifact.file("model")}


class WorkerSession:
    """A session with the model in a worker process; all runtimes here use it.

    Args:
        worker: Process whose worker file has the commands `open`, `infer`, `outputs` and `bench`.
        artifact: The model; its manifest states which output is the mask and its layout.
        options: Passed to the worker.
        files: The model's files by the runtime's own role names.

    Attributes:
        timeout_s: Longest wait for one result; can be changed.
    """

    def __init__(
        self, runtime: str, worker: Worker, artifact: ModelArtifact, options: RunOptions, files: dict[str, Path]
    ) -> None:
        self._worker, self.timeout_s = worker, options.timeout_s
        self._inputs = artifact.manifest.inputs
        self._slowest_ms = 0.0  # of the benchmarked runs
        arguments = {
            "files": {role: str(path) for role, path in files.items()},
            "device": options.device,
            "threads": options.threads,
            "inputs": [spec.name for spec in artifact.manifest.inputs],
            "outputs": [spec.model_dump() for spec in artifact.manifest.outputs],
            "options": options.options,
        }
        try:
            answer, _ = worker.call("open", arguments, timeout_s=options.timeout_s)
        except Exception:
            worker.close()
            raise
        self.info = SessionInfo(
            runtime=runtime,
            version=answer["version"],
            provider=answer["provider"],
            device=answer["device"],
            threads=options.threads,
            load_ms=answer["load_ms"],
            notes=tuple(answer.get("notes", ())),
        )

    def infer(self, tensors: Sequence[np.ndarray], *, margin: bool = False) -> Prediction:
        """Runs the model on one image's tensors and waits."""
        self.submit(tensors, margin=margin)
        return self.result()

    def submit(self, tensors: Sequence[np.ndarray], *, margin: bool = False) -> None:
        """Starts a run without waiting; `result` returns its prediction.

        Up to `ahead` runs can be started before the first result is read; results arrive in submission order.
        """
        given = as_taken(self._inputs, tensors)
        self._worker.send("infer", {"margin": margin}, given, timeout_s=self.timeout_s)

    def result(self) -> Prediction:
        answer, arrays = self._worker.receive(timeout_s=self.timeout_s)
        if size := answer.get("objects_size"):
            return _objects(answer, arrays, tuple(size))
        return Prediction(
            mask=arrays[0],
            margin=arrays[1] if len(arrays) > 1 else None,
            finite=answer["finite"],
            inference_ms=answer["inference_ms"],
            postprocess_ms=answer["postprocess_ms"],
        )

    def outputs(self, tensors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the model's raw outputs in manifest order."""
        given = as_taken(self._inputs, tensors)
        _, arrays = self._worker.call("outputs", {}, given, timeout_s=self.timeout_s)
        return arrays

    def bench(self, tensors: Sequence[np.ndarray], runs: int) -> np.ndarray:
        """Milliseconds of `runs` inferences on the same input, (runs,) float64, timed inside the worker.

        Each call to the worker requests only as many runs as safely fit the timeout, so that slow runs do not time out.
        """
        import numpy as np

        given = as_taken(self._inputs, tensors)
        parts: list[np.ndarray] = []
        while (left := runs - sum(len(part) for part in parts)) > 0:
            at_once = 1  # no time measured yet
            if self._slowest_ms:
                at_once = min(left, max(1, int(self.timeout_s * 1e3 / (_TIMES_SLOWER * self._slowest_ms))))
            _, arrays = self._worker.call("bench", {"runs": at_once}, given, timeout_s=self.timeout_s)
            self._slowest_ms = max(self._slowest_ms, float(arrays[0].max()))
            parts.append(arrays[0])
        return np.concatenate(parts)

    def operators(self, tensors: Sequence[np.ndarray]) -> list[list[str]]:
        """Returns [type, dtype, provider, node] per operator that ran; requires the option `profile` at open."""
        given = as_taken(self._inputs, tensors)
        answer, _ = self._worker.call("operators", {}, given, timeout_s=self.timeout_s)
        return answer["operators"]

    def peak_rss_bytes(self) -> int:
        return self._worker.peak_rss_bytes()

    @property
    def ahead(self) -> int:
        return self._worker.ahead

    @property
    def pid(self) -> int:
        return self._worker.pid

    @property
    def alive(self) -> bool:
        """Whether the worker process is running."""
        return self._worker.alive

    def close(self) -> None:
        self._worker.close()

    def __enter__(self) -> WorkerSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _objects(answer: dict, arrays: list[np.ndarray], size: tuple[int, int]) -> Prediction:
    import numpy as np

    from segexport.runtimes.objects import Objects

    rows, bits = arrays
    return Prediction(
        mask=np.zeros((0, 0), np.uint8),
        margin=None,
        finite=answer["finite"],
        inference_ms=answer["inference_ms"],
        postprocess_ms=answer["postprocess_ms"],
        objects=Objects(rows[:, 0].astype(np.int64), rows[:, 1], rows[:, 2:], bits, size),
    )


def open_worker_session(
    runtime: str,
    script: str | Path,
    needs: str | tuple[str, ...],
    artifact: ModelArtifact,
    options: RunOptions,
    files: dict[str, Path],
) -> WorkerSession:
    """Starts `workers/<script>` and opens the artifact in it."""
    worker = ahead.taken(runtime, options.threads) or start_worker(runtime, script, needs, options.threads)
    return WorkerSession(runtime, worker, artifact, options, files)


def start_worker(runtime: str, script: str | Path, needs: str | tuple[str, ...], threads: int) -> Worker:
    """Starts `workers/<script>`."""
    return Worker(WORKERS / script, needs=needs, threads=threads, name=runtime, shared=True)


def probe_worker(script: str | Path, needs: str | tuple[str, ...]) -> Availability:
    """Starts the worker and queries its packages; a failure becomes the reason of the result."""
    from segexport.errors import SegexportError

    try:
        with Worker(WORKERS / script, needs=needs) as worker:
            answer, _ = worker.call("probe", timeout_s=120)
    except WorkerError as error:
        return Availability(False, reason=error.what, hint=error.hint or error.cause)
    except SegexportError as error:
        return Availability(False, reason=error.what, hint=error.hint)
    return Availability(True, version=answer["version"], devices=tuple(answer["devices"]))


def on_arm() -> bool:
    """Whether this machine's processor is a 64-bit ARM."""
    return platform.machine() in ("aarch64", "arm64")


def as_taken(specs: Sequence[TensorSpec], tensors: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns the tensors, images as [N, C, H, W], in the layouts of the manifest's inputs.

    Raises:
        InputError: The tensors do not match the inputs.
    """
    import numpy as np

    check_tensors(specs, tensors)
    return [
        np.ascontiguousarray(tensor.transpose(0, 2, 3, 1)) if spec.layout == "NHWC" else tensor
        for spec, tensor in zip(specs, tensors, strict=True)
    ]


def check_tensors(specs: Sequence[TensorSpec], tensors: Sequence[np.ndarray]) -> None:
    """Raises InputError if the tensors, images as [N, C, H, W], do not match the manifest's inputs."""
    if len(specs) != len(tensors):
        raise InputError(f"the model takes {len(specs)} inputs, got {len(tensors)}")
    for spec, tensor in zip((one.channels_first for one in specs), tensors, strict=True):
        fits = len(spec.shape) == tensor.ndim and all(
            want in (-1, have) for want, have in zip(spec.shape, tensor.shape, strict=False)
        )
        if not fits or str(tensor.dtype) != spec.dtype:
            raise InputError(
                f"input {spec.name!r} takes {spec.dtype} {list(spec.shape)}, got {tensor.dtype} {list(tensor.shape)}",
                cause="the preprocessing gives another size than the model was exported for" if not fits else "",
                hint="give the size with `segexport import MODEL --input-size WIDTHxHEIGHT`" if not fits else "",
            )
