"""The Runtime protocol: something that runs one format, in a process of its own, one image after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.errors import EnvironmentMissingError, InputError, WorkerError
from segexport.measure.audit import Ran
from segexport.process import pythons
from segexport.process.interpreter import interpreter_for
from segexport.process.worker import Worker
from segexport.runtimes.objects import Objects
from segexport.spec import Format, TensorSpec

WORKERS = Path(__file__).parent / "workers"
_TIMES_SLOWER = 4
"""A machine may become so much slower before an answer with several runs comes too late."""


@dataclass(frozen=True)
class RunOptions:
    """How a session is to run.

    Attributes:
        device: `cpu`, `gpu:0`, ...; what is asked for is what is used, or it is an error.
        threads: Threads for one inference.
        timeout_s: Longest wait for one answer.
        options: What only one runtime knows, by name.
        runtime: Who runs it, by name; empty: the format's first runtime.
    """

    device: str = "cpu"
    threads: int = 1
    timeout_s: float = 300.0
    options: dict[str, object] = field(default_factory=dict)
    runtime: str = ""


@dataclass(frozen=True)
class Availability:
    """Whether a runtime works here, and the reason when not."""

    ok: bool
    version: str = ""
    devices: tuple[str, ...] = ()
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Prediction:
    """The output of a model for one image.

    Attributes:
        mask: (H, W) uint8, or uint16 above 256 classes: the class of each pixel. Empty where objects are found. Of a
            batch of several images, here and in `margin`: (batch, H, W).
        margin: (H, W) float32, the distance between the two best scores, where it was asked for.
        finite: False when an output contains NaN or infinity.
        inference_ms, postprocess_ms: Time in the runtime, and from its output to `mask`.
        decided: (H, W) bool, where the model was sure, from a recording that kept this instead of `margin`.
        objects: The objects, for instance segmentation; in pixels of the original image.
    """

    mask: np.ndarray
    margin: np.ndarray | None
    finite: bool
    inference_ms: float
    postprocess_ms: float
    decided: np.ndarray | None = None
    objects: Objects | None = None

    def same_as(self, other: Prediction) -> bool:
        """Whether mask or objects are the same to the last bit."""
        if self.objects is not None and other.objects is not None:
            return self.objects.same_as(other.objects)
        return np.array_equal(self.mask, other.mask)


@dataclass(frozen=True)
class SessionInfo:
    """What really runs, as the runtime reports after loading the model."""

    runtime: str
    version: str
    provider: str
    device: str
    threads: int
    load_ms: float
    notes: tuple[str, ...] = ()


class Session(Protocol):
    """A loaded model. Up to `ahead` runs may be submitted before the first result is taken."""

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
    """Runs artifacts of some formats. It is found by its entry point in `segexport.runtimes`, whose name is its own.

    Attributes:
        name: On the command line and in reports.
        title: What people call it.
        runs: The formats.
        profiles: Whether its sessions report which operators ran, when they are opened with the option `profile`, the
            beginning of a path for what the runtime writes.
    """

    name: str
    title: str
    runs: tuple[Format, ...]
    profiles: bool = False

    def probe(self) -> Availability: ...
    def open(self, artifact: ModelArtifact, options: RunOptions) -> Session: ...

    def version(self) -> str:
        """Of what is installed; empty where it is not, or does not work."""
        return self.probe().version

    def no_fp16(self, ran: Sequence[Ran]) -> str:
        """Why nothing of an fp16 export ran in fp16 though the export is right; empty where that is its fault."""
        return ""


class WorkerRuntime(Runtime):
    """A runtime whose models run in a worker file; `workers/onnxruntime_worker.py` is one to read.

    Attributes:
        worker: The file, in `workers/`; of another package, its whole path.
        needs: Modules that the worker's Python must have.
    """

    worker: ClassVar[str | Path]
    needs: ClassVar[str | tuple[str, ...]]

    def probe(self) -> Availability:
        return probe_worker(self.worker, self.needs)

    def version(self) -> str:
        """Read from what is installed; nothing is started."""
        module, *more = (self.needs,) if isinstance(self.needs, str) else self.needs
        try:
            return pythons.versions(interpreter_for(module, *more), module)[module]
        except EnvironmentMissingError:
            return ""

    def open(self, artifact: ModelArtifact, options: RunOptions) -> WorkerSession:
        return open_worker_session(self.name, self.worker, self.needs, artifact, options, self.files(artifact))

    def files(self, artifact: ModelArtifact) -> dict[str, Path]:
        """What the worker opens, by role.

        Raises:
            SegexportError: The artifact cannot be run on this machine.
        """
        return {"model": artifact.file("model")}


class WorkerSession:
    """A session whose model lives in a worker process; every runtime here uses it.

    Args:
        worker: A process whose worker file has the commands `open`, `infer`, `outputs` and `bench`.
        artifact: Its manifest states which output is the mask and in which layout.
        options: Passed on to the worker.
        files: The model's files by role, as this runtime calls them.

    Attributes:
        timeout_s: Longest wait for one answer; may be set anew.
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
        """Starts a run; `result` gives its prediction. In between, the caller is free for other work.

        Up to `ahead` runs may be started before the first result is taken; results come in the order of the runs.
        """
        check_tensors(self._inputs, tensors)
        self._worker.send("infer", {"margin": margin}, tensors, timeout_s=self.timeout_s)

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
        """The model's raw outputs, in the order of the manifest."""
        check_tensors(self._inputs, tensors)
        _, arrays = self._worker.call("outputs", {}, tensors, timeout_s=self.timeout_s)
        return arrays

    def bench(self, tensors: Sequence[np.ndarray], runs: int) -> np.ndarray:
        """Milliseconds of `runs` inferences on the same input, (runs,) float64, timed inside the worker.

        The worker is asked for as many at a time as it surely has the time for, so that many slow runs are no hang.
        """
        check_tensors(self._inputs, tensors)
        parts: list[np.ndarray] = []
        while (left := runs - sum(len(part) for part in parts)) > 0:
            at_once = 1  # nothing is known yet
            if self._slowest_ms:
                at_once = min(left, max(1, int(self.timeout_s * 1e3 / (_TIMES_SLOWER * self._slowest_ms))))
            _, arrays = self._worker.call("bench", {"runs": at_once}, tensors, timeout_s=self.timeout_s)
            self._slowest_ms = max(self._slowest_ms, float(arrays[0].max()))
            parts.append(arrays[0])
        return np.concatenate(parts)

    def operators(self, tensors: Sequence[np.ndarray]) -> list[list[str]]:
        """[type, dtype, provider, node] of each operator that ran; for sessions opened with the option `profile`."""
        check_tensors(self._inputs, tensors)
        answer, _ = self._worker.call("operators", {}, tensors, timeout_s=self.timeout_s)
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
        """Whether the model's process runs still."""
        return self._worker.alive

    def close(self) -> None:
        self._worker.close()

    def __enter__(self) -> WorkerSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _objects(answer: dict, arrays: list[np.ndarray], size: tuple[int, int]) -> Prediction:
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
    worker = Worker(WORKERS / script, needs=needs, threads=options.threads, name=runtime, shared=True)
    return WorkerSession(runtime, worker, artifact, options, files)


def probe_worker(script: str | Path, needs: str | tuple[str, ...]) -> Availability:
    """Starts the worker and asks what it has; every failure becomes the reason."""
    from segexport.errors import SegexportError

    try:
        with Worker(WORKERS / script, needs=needs) as worker:
            answer, _ = worker.call("probe", timeout_s=120)
    except WorkerError as error:
        return Availability(False, reason=error.what, hint=error.hint or error.cause)
    except SegexportError as error:
        return Availability(False, reason=error.what, hint=error.hint)
    return Availability(True, version=answer["version"], devices=tuple(answer["devices"]))


def check_tensors(specs: Sequence[TensorSpec], tensors: Sequence[np.ndarray]) -> None:
    """Raises InputError when tensors do not fit the inputs in the manifest."""
    if len(specs) != len(tensors):
        raise InputError(f"the model takes {len(specs)} inputs, got {len(tensors)}")
    for spec, tensor in zip(specs, tensors, strict=True):
        fits = len(spec.shape) == tensor.ndim and all(
            want in (-1, have) for want, have in zip(spec.shape, tensor.shape, strict=False)
        )
        if not fits or str(tensor.dtype) != spec.dtype:
            raise InputError(
                f"input {spec.name!r} takes {spec.dtype} {list(spec.shape)}, got {tensor.dtype} {list(tensor.shape)}",
                cause="the preprocessing gives another size than the model was exported for" if not fits else "",
                hint="give the size with `segexport import MODEL --input-size WIDTHxHEIGHT`" if not fits else "",
            )
