"""Writes the jobs that a phone runs and reads their results: job.json, result.json and raw masks.

The Java side is `android_demo/core`: `Job` reads the output of `write_job`, `JobRunner` writes the result.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError, field_validator, model_validator

from segexport.artifact import MANIFEST_NAME, ModelArtifact
from segexport.errors import MismatchError, MissingInputError, UnreadableError, WorkerFailed, one_line
from segexport.files.foreign import guarded
from segexport.report.schema import Latency, Percentiles
from segexport.spec import Frozen

JOB_NAME = "job.json"
RESULT_NAME = "result.json"
_JOB_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class JobItem:
    """One input of a job.

    Attributes:
        data: An image file, or a preprocessed float32 tensor (1, channels, height, width).
        runs: Number of timed runs; the mask comes from the last run.
        expected_mask: PNG to compare with; its grey levels are class indices.
    """

    data: Path | np.ndarray
    runs: int = 1
    expected_mask: Path | None = None


class DeviceModel(Frozen):
    """The model that the phone ran."""

    name: str
    format: str
    precision: str
    sha256: str


class DeviceRuntime(Frozen):
    """The runtime on the phone.

    Attributes:
        provider: What computed the model: `cpu`, `xnnpack`, `nnapi`, `qnn`, ...; empty in results of older apps.
        first_ms: Time of the first run.
        operators: Provider -> number of operators that it ran; empty if unknown.
    """

    name: str
    version: str
    threads: int
    load_ms: float
    provider: str = ""
    first_ms: float | None = None
    operators: dict[str, int] = Field(default_factory=dict)


class DeviceItem(Frozen):
    """The result for one input; `mask` names a file of little-endian uint16 (height, width) in the result's folder."""

    input: str
    mask: str
    width: int = Field(gt=0, le=65535)
    height: int = Field(gt=0, le=65535)
    agreement: float | None = Field(default=None, ge=0, le=1)
    preprocess_ms: tuple[float, ...]
    inference_ms: tuple[float, ...] = Field(min_length=1)
    postprocess_ms: tuple[float, ...]

    @field_validator("mask")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if Path(value).name != value:
            raise ValueError(f"the mask must be in the result's folder, this one is not: {value!r}")
        return value


class DeviceFailure(Frozen):
    """The reason why the phone has no result; `kind` is one of the app's `SegmentationException.Kind`."""

    kind: str
    message: str


class DeviceProvider(Frozen):
    """Measurements of another provider, beside the one that decides; if it failed, `error` has the reason."""

    provider: str
    runtime: DeviceRuntime | None = None
    items: tuple[DeviceItem, ...] = ()
    error: DeviceFailure | None = None

    @model_validator(mode="after")
    def _ran_or_failed(self) -> DeviceProvider:
        if self.error is None and (self.runtime is None or not self.items):
            raise ValueError(f"the provider {self.provider} has neither results nor an error")
        return self


class DeviceResult(Frozen):
    """The contents of result.json: a phone's measurements."""

    schema_version: Literal[1]
    device: dict[str, str]
    id: str = ""
    model: DeviceModel | None = None
    runtime: DeviceRuntime | None = None
    items: tuple[DeviceItem, ...] = ()
    providers: tuple[DeviceProvider, ...] = ()
    error: DeviceFailure | None = None

    @property
    def device_name(self) -> str:
        """Manufacturer, model and operating system for display."""
        parts = [self.device.get("manufacturer", ""), self.device.get("model", "")]
        name = " ".join(part for part in parts if part) or "unknown device"
        android = self.device.get("android")
        return f"{name} (Android {android})" if android else name

    @property
    def agreement(self) -> float | None:
        """The smallest fraction of pixels, over the inputs, on which the phone and the expected mask agree."""
        return min((item.agreement for item in self.items if item.agreement is not None), default=None)

    def on(self, provider: DeviceProvider) -> DeviceResult:
        """The result as if this other provider had been the one that decides."""
        return self.model_copy(update={"runtime": provider.runtime, "items": provider.items, "providers": ()})

    def latency(self) -> Latency:
        """The report's times; inference over all inputs, the others as medians."""
        inference = np.array([ms for item in self.items for ms in item.inference_ms])
        p50, p90, p99 = (float(value) for value in np.percentile(inference, (50, 90, 99)))
        return Latency(
            inference_ms=Percentiles(p50=p50, p90=p90, p99=p99),
            samples_ms=tuple(float(value) for value in inference),
            load_ms=self.runtime.load_ms if self.runtime else None,
            first_ms=self.runtime.first_ms if self.runtime else None,
            preprocess_ms=_median([ms for item in self.items for ms in item.preprocess_ms]),
            postprocess_ms=_median([ms for item in self.items for ms in item.postprocess_ms]),
            threads=self.runtime.threads if self.runtime else 1,
            device=self.device_name,
        )


def write_job(
    folder: Path,
    artifact: ModelArtifact,
    items: Sequence[JobItem],
    *,
    job_id: str,
    threads: int = 1,
    warmup: int = 0,
    providers: Sequence[str] = (),
) -> list[Path]:
    """Writes a folder that the app can run: manifest, model, inputs and job.json.

    Args:
        folder: An existing empty folder.
        artifact: An ONNX or Paddle-Lite export.
        items: The inputs, in this order.
        job_id: Returned in the result, to tell an old result from a new one.
        threads: Threads for one inference.
        warmup: Untimed runs of each input before the timed ones.
        providers: What computes the model; the others are measured beside the first. Default: the CPU.

    Returns:
        The written files, job.json last.
    """
    weights = [entry.path for entry in artifact.manifest.files if entry.role in ("model", "params")]
    files = [folder / MANIFEST_NAME, *(folder / path for path in weights)]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.path / file.relative_to(folder), file)
    return files + write_items(folder, items, job_id=job_id, threads=threads, warmup=warmup, providers=providers)


def write_items(
    folder: Path,
    items: Sequence[JobItem],
    *,
    job_id: str,
    threads: int = 1,
    warmup: int = 0,
    providers: Sequence[str] = (),
) -> list[Path]:
    """Writes only the inputs and job.json, for a device that has the model; arguments as in `write_job`."""
    files, entries = [], []
    for index, item in enumerate(items):
        entry: dict[str, object] = {"runs": item.runs}
        if isinstance(item.data, np.ndarray):
            entry |= {"input": f"input-{index}.f32", "tensor_size": list(item.data.shape[2:])}
            files.append(folder / f"input-{index}.f32")
            files[-1].write_bytes(np.ascontiguousarray(item.data, "<f4").tobytes())
        else:
            entry["input"] = f"input-{index}{item.data.suffix}"
            files.append(folder / f"input-{index}{item.data.suffix}")
            shutil.copyfile(item.data, files[-1])
        if item.expected_mask is not None:
            entry["expected_mask"] = f"expected-{index}.png"
            files.append(folder / f"expected-{index}.png")
            shutil.copyfile(item.expected_mask, files[-1])
        entries.append(entry)
    job = {
        "schema_version": _JOB_SCHEMA_VERSION,
        "id": job_id,
        "threads": threads,
        "warmup": warmup,
        "items": entries,
    }
    if providers:  # an older app does not know them
        job["providers"] = list(providers)
    files.append(folder / JOB_NAME)
    files[-1].write_text(json.dumps(job, indent=1) + "\n", encoding="utf-8")
    return files


@guarded("a device result")
def read_result(file: Path) -> DeviceResult:
    """Reads a result.json that a phone wrote.

    Raises:
        InputError: The file is missing, truncated or not a result.
        WorkerFailed: The phone reports an error.
    """
    hint = "run the app's self-test again and copy the file that it names"
    if not file.is_file():
        raise MissingInputError(f"{file}: no such file", hint=hint)
    try:
        result = DeviceResult.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise UnreadableError(f"{file}: not a device result", cause=one_line(error)[:500], hint=hint) from error
    if result.error is not None:
        raise WorkerFailed(
            f"{result.device_name}: the app could not run the model",
            cause=f"{result.error.message} ({result.error.kind})",
        )
    if not result.items or result.model is None or result.runtime is None:
        raise UnreadableError(f"{file}: nothing was run", hint=hint)
    items = [*result.items, *(item for other in result.providers for item in other.items)]
    times = [ms for item in items for ms in (*item.preprocess_ms, *item.inference_ms, *item.postprocess_ms)]
    for runtime in (result.runtime, *(other.runtime for other in result.providers)):
        if runtime is not None:
            times += [runtime.load_ms] if runtime.first_ms is None else [runtime.load_ms, runtime.first_ms]
    if not all(math.isfinite(ms) and ms >= 0 for ms in times):
        raise UnreadableError(f"{file}: it contains invalid times", hint=hint)
    return result


def require_same_model(result: DeviceResult, artifact: ModelArtifact) -> None:
    """Raises InputError if the phone ran a model other than this export."""
    (ours,) = (entry for entry in artifact.manifest.files if entry.role == "model")
    theirs = result.model.sha256 if result.model else ""
    if theirs != ours.sha256:
        raise MismatchError(
            f"{result.device_name} ran another model than {artifact.path}",
            cause=f"sha256 of its model: {theirs[:12] or 'unknown'}..., of the export: {ours.sha256[:12]}...",
            hint="put the export into the app again and repeat the self-test",
        )


def read_mask(folder: Path, item: DeviceItem) -> np.ndarray:
    """Reads the mask of one input, (height, width) uint8, or uint16 above 256 classes.

    Raises:
        InputError: The file is missing or its size differs from the result's.
    """
    file = folder / item.mask
    if not file.is_file():
        raise MissingInputError(f"{file}: missing", cause=f"{RESULT_NAME} lists it")
    data = file.read_bytes()
    if len(data) != 2 * item.width * item.height:
        raise UnreadableError(
            f"{file}: {len(data)} bytes are not a mask of {item.width}x{item.height}",
            cause="two bytes per pixel are expected; the file is truncated",
        )
    mask = np.frombuffer(data, "<u2").reshape(item.height, item.width)
    return mask.astype(np.uint8 if mask.max() <= 255 else np.uint16)


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
