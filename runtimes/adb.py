"""Runs a model in the demo app on a phone connected over USB; adb transfers inputs and results.

Both sides can write to the app's folder on the phone without a permission. The session pushes a job into it, starts the
app with the job's name, and pulls the result when result.json exists (the app renames the file when it is complete).
"""

from __future__ import annotations

import os
import shlex
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.errors import EnvironmentMissingError, SegexportError, WorkerCrashed, WorkerFailed, WorkerTimeout
from segexport.runtimes.adb_client import AdbClient
from segexport.runtimes.base import Availability, Prediction, RunOptions, Runtime, SessionInfo, check_tensors
from segexport.runtimes.device_job import (
    RESULT_NAME,
    DeviceResult,
    JobItem,
    read_mask,
    read_result,
    require_same_model,
    write_items,
    write_job,
)
from segexport.spec import Format

PACKAGE = "dev.segexport.demo"
ACTIVITY = f"{PACKAGE}/{PACKAGE}.SelfTestActivity"
JOBS = f"/sdcard/Android/data/{PACKAGE}/files/jobs"
_POLL_S = 0.25
_INSTALL_HINT = "android_demo/ci/build_apk.sh full && adb install -r android_demo/build/ci/segexport-full.apk"


class Adb(Runtime):
    """Runs ONNX and Paddle-Lite exports on a connected phone, in the demo app.

    Args:
        format: Format of the exports to run.
        serial: Phone serial from `adb devices`; required if several are connected ($ANDROID_SERIAL works too).
        executable: Path or name of adb.
    """

    name = "adb"
    title = "The phone"

    def __init__(self, format: Format = Format.ONNX, *, serial: str = "", executable: str = "adb") -> None:
        self.runs = (format,)
        self._adb = AdbClient(executable, serial or os.environ.get("ANDROID_SERIAL", ""))

    def probe(self) -> Availability:
        """Checks whether a phone with the app is connected; gives the reason if not."""
        try:
            phone = self._adb.select()
            self._require_app()
        except SegexportError as error:
            return Availability(False, reason=error.what, hint=error.hint or error.cause)
        return Availability(True, version=self._adb.version(), devices=(phone,))

    def open(self, artifact: ModelArtifact, options: RunOptions) -> AdbSession:
        """Pushes the model to the phone. `options.options["provider"]`: what computes it there; default: the CPU.

        Raises:
            EnvironmentMissingError: adb or the phone is missing, the phone does not allow debugging, or lacks the app.
            StorageError: The phone's storage is full.
        """
        self._adb.select()
        self._require_app()
        return AdbSession(self._adb, artifact, options)

    def _require_app(self) -> None:
        if f"package:{PACKAGE}" not in self._adb.shell(f"pm list packages {PACKAGE}").split():
            raise EnvironmentMissingError(
                f"{self._adb.serial}: the app {PACKAGE} is not installed on this phone", hint=_INSTALL_HINT
            )


class AdbSession:
    """A model on a phone. Each run restarts the app; times are measured on the phone."""

    ahead = 1  # the phone runs one job at a time

    def __init__(self, adb: AdbClient, artifact: ModelArtifact, options: RunOptions) -> None:
        self._adb, self._artifact, self._options = adb, artifact, options
        self._remote = f"{JOBS}/segexport-{uuid.uuid4().hex[:12]}"
        self._pending: Sequence[np.ndarray] | None = None
        self._pushed = False
        self.info = SessionInfo(
            runtime="adb",
            version="",
            provider=artifact.manifest.format,
            device=adb.phone_name(),
            threads=options.threads,
            load_ms=0.0,
        )
        adb.shell(f"mkdir -p {shlex.quote(self._remote)}")

    def run(self, items: Sequence[JobItem], *, warmup: int = 0) -> tuple[DeviceResult, list[np.ndarray]]:
        """Runs any number of inputs in one app launch.

        Returns:
            The phone's measurements, and the mask of each input at the model's output size.

        Raises:
            WorkerTimeout: No result within `options.timeout_s`; the app was stopped.
            WorkerCrashed: The app exited without a result.
            WorkerFailed: The app reported an error.
            StorageError: The phone's storage is full.
        """
        job_id = uuid.uuid4().hex
        with tempfile.TemporaryDirectory(prefix="segexport-adb-") as name:
            folder = Path(name)
            provider = self._options.options.get("provider")
            providers = (str(provider),) if provider else ()
            arguments = {
                "job_id": job_id,
                "threads": self._options.threads,
                "warmup": warmup,
                "providers": providers,
            }
            if self._pushed:
                files = write_items(folder, items, **arguments)
            else:
                files = write_job(folder, self._artifact, items, **arguments)
            self._adb.shell(f"rm -f {shlex.quote(self._remote)}/{RESULT_NAME}")
            for file in files:
                path = file.relative_to(folder)
                if len(path.parts) > 1:
                    self._adb.shell(f"mkdir -p {shlex.quote(f'{self._remote}/{path.parent.as_posix()}')}")
                self._adb.push(file, f"{self._remote}/{path.as_posix()}")
            self._pushed = True
            self._start()
            self._wait()
            self._adb.pull(f"{self._remote}/{RESULT_NAME}", folder / RESULT_NAME)
            result = read_result(folder / RESULT_NAME)
            if result.id != job_id or len(result.items) != len(items):
                raise WorkerFailed(
                    f"{self.info.device}: the result belongs to another job",
                    cause=f"sent {job_id} with {len(items)} inputs, got {result.id!r} with {len(result.items)}",
                )
            require_same_model(result, self._artifact)
            masks = []
            for item in result.items:
                self._adb.pull(f"{self._remote}/{item.mask}", folder / item.mask)
                masks.append(read_mask(folder, item))
        if result.runtime is not None:
            self.info = replace(
                self.info,
                runtime=f"adb ({result.runtime.name})",
                version=result.runtime.version,
                device=result.device_name,
                load_ms=result.runtime.load_ms,
            )
        return result, masks

    def infer(self, tensors: Sequence[np.ndarray], *, margin: bool = False) -> Prediction:
        """Runs the model on one image's tensors. The phone returns no margin."""
        self.submit(tensors, margin=margin)
        return self.result()

    def submit(self, tensors: Sequence[np.ndarray], *, margin: bool = False) -> None:
        check_tensors(self._artifact.manifest.inputs, tensors)
        self._pending = tensors

    def result(self) -> Prediction:
        tensors, self._pending = self._pending, None
        if tensors is None:
            raise RuntimeError("result() without submit()")
        result, (mask,) = self.run([JobItem(tensors[0])])
        item = result.items[0]
        return Prediction(
            mask=mask,
            margin=None,
            finite=True,  # the app reports NaN and infinity as an error
            inference_ms=item.inference_ms[-1],
            postprocess_ms=item.postprocess_ms[-1],
        )

    def outputs(self, tensors: Sequence[np.ndarray]) -> list[np.ndarray]:
        raise WorkerFailed(f"{self.info.device}: the app returns masks, not the model's raw outputs")

    def bench(self, tensors: Sequence[np.ndarray], runs: int) -> np.ndarray:
        """Milliseconds of `runs` inferences on the same input, (runs,) float64, timed on the phone."""
        check_tensors(self._artifact.manifest.inputs, tensors)
        result, _ = self.run([JobItem(tensors[0], runs=runs)], warmup=2)
        return np.array(result.items[0].inference_ms)

    def operators(self, tensors: Sequence[np.ndarray]) -> list[list[str]]:
        raise WorkerFailed(f"{self.info.device}: the app does not profile single operators")

    def peak_rss_bytes(self) -> int:
        """Returns 0: memory is not measured on a phone."""
        return 0

    def close(self) -> None:
        """Stops the app and removes the pushed files. A disconnected phone is not an error here."""
        try:
            self._adb.shell(f"am force-stop {PACKAGE}; rm -rf {shlex.quote(self._remote)}")
        except SegexportError:
            return

    def __enter__(self) -> AdbSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        name = self._remote.rpartition("/")[2]
        said = self._adb.shell(f"am start -S -W -n {ACTIVITY} --es job {name}", check=False)
        if "Error" in said or "Exception" in said:
            raise EnvironmentMissingError(
                f"{self.info.device}: the app cannot be started",
                cause=" ".join(said.split())[-300:],
                hint=f"it may be an older one: {_INSTALL_HINT}",
            )

    def _wait(self) -> None:
        """Waits for result.json; gives up when two checks in a row find the app's process gone."""
        deadline = time.monotonic() + self._options.timeout_s
        result, missing = shlex.quote(f"{self._remote}/{RESULT_NAME}"), 0
        while time.monotonic() < deadline:
            said = self._adb.shell(f"ls {result} 2>/dev/null; echo; pidof {PACKAGE}; true")
            found, _, process = said.partition("\n")
            if found.strip().endswith(RESULT_NAME):
                return
            missing = 0 if process.strip() else missing + 1
            if missing >= 2:
                raise WorkerCrashed(
                    f"{self.info.device}: the app ended without a result",
                    cause=self._last_words(),
                    hint="adb logcat -d -s segexport AndroidRuntime libc DEBUG",
                )
            time.sleep(_POLL_S)
        self._adb.shell(f"am force-stop {PACKAGE}", check=False)
        raise WorkerTimeout(
            f"{self.info.device}: no answer in {self._options.timeout_s:g} s; the app was stopped",
            hint="unlock the phone and keep its screen on, or allow more time",
        )

    def _last_words(self) -> str:
        log = self._adb.shell("logcat -d -t 200 -s segexport:E AndroidRuntime:E libc:F DEBUG:F", check=False)
        lines = [line for line in log.splitlines() if line and not line.startswith("---")]
        return " | ".join(line.split(": ", 1)[-1].strip() for line in lines[-6:])[:500] or "nothing in its log"
