"""A target, a step and a runtime of another package, which take time and no processor: what engines are tested with.

A model is a JSON file: `sleep_s` per image, `shift` (which pixels differ from the reference), `ends_worker`, `refused`
(why it cannot be opened), and `marks`, a folder in which each run leaves a file.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from segexport.artifact import Manifest, ModelArtifact, file_entry
from segexport.errors import WorkerFailed
from segexport.exporter.targets.base import ExportTarget
from segexport.measure.audit import Audit, not_audited
from segexport.pipeline.step import Step, StepContext, lineage_entry
from segexport.recipe.export import ExportRecipe
from segexport.runtimes.base import Availability, Prediction, RunOptions, Runtime, SessionInfo
from segexport.spec import Format, Frozen, Precision


class SleepParams(Frozen):
    sleep_s: float = 0.0
    shift: int = 0
    ends_worker: bool = False
    refused: str = ""
    marks: str = ""


class Fall:
    """Sleeps, and writes the model's file."""

    kind, version, needs, uses_data, Params = "fall_asleep", "1", (), False, SleepParams
    accepts, produces = Format.PADDLE, Format("sleepy")

    def __init__(self, params: SleepParams) -> None:
        self.params = params

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        mark(self.params.marks, "step")
        time.sleep(self.params.sleep_s)
        if self.params.ends_worker:
            os.kill(os.getpid(), signal.SIGKILL)
        (out_dir / "model.sleepy").write_text(self.params.model_dump_json())
        files, made = (
            (file_entry(out_dir, "model.sleepy"),),
            (*source.manifest.lineage, lineage_entry(self, context.key)),
        )
        return source.manifest.model_copy(update={"format": self.produces, "files": files, "lineage": made})


class SleepyExport(ExportRecipe, SleepParams):
    to: Literal["sleepy"]
    precision: Literal[Precision.FP32, Precision.FP16, Precision.W8] = Precision.FP32


class Sleepy(ExportTarget):
    name, title, format, Recipe, runtimes = "sleepy", "Sleepy", Format("sleepy"), SleepyExport, ("sleepy",)
    searched = (Precision.FP32, Precision.FP16, Precision.W8)

    def steps(self, recipe: SleepyExport) -> list[Step]:
        """In fp16 it is off, and in w8 it cannot be opened."""
        params = {name: getattr(recipe, name) for name in SleepParams.model_fields}
        changes = {Precision.FP16: {"shift": recipe.shift + 9}, Precision.W8: {"refused": "no bed"}}
        return [Fall(SleepParams(**params | changes.get(recipe.precision, {})))]

    def audit(self, artifact, inputs, options, runtime) -> Audit:
        return not_audited("it sleeps")


class SleepySession:
    """Runs in the process that asks."""

    ahead = 1

    def __init__(self, artifact: ModelArtifact, options: RunOptions) -> None:
        self._model = SleepParams(**json.loads(artifact.file("model").read_text()))
        if self._model.refused:
            raise WorkerFailed(self._model.refused)
        self._classes = artifact.manifest.num_classes
        self.info = SessionInfo("sleepy", "1", "none", "bed", options.threads, 1.0)
        self._waiting: list[np.ndarray] = []

    def infer(self, tensors: Sequence[np.ndarray], *, margin: bool = False) -> Prediction:
        self.submit(tensors)
        return self.result()

    def submit(self, tensors: Sequence[np.ndarray], *, margin: bool = False) -> None:
        self._waiting.append(tensors[0])

    def result(self) -> Prediction:
        tensor, model = self._waiting.pop(0), self._model
        mark(model.marks, "run")
        time.sleep(model.sleep_s)
        if model.ends_worker:
            os.kill(os.getpid(), signal.SIGKILL)
        rows = np.arange(tensor.shape[2])[:, None] + model.shift * (tensor[0, 0] > 0.9)
        mask = (rows * self._classes // tensor.shape[2]).clip(0, self._classes - 1).astype(np.uint8)
        return Prediction(mask, None, True, 1e3 * model.sleep_s, 0.01)

    def bench(self, tensors: Sequence[np.ndarray], runs: int) -> np.ndarray:
        mark(self._model.marks, "bench")
        time.sleep(runs * 1e-3)
        return np.full(runs, 1.0)

    def outputs(self, tensors: Sequence[np.ndarray]) -> list[np.ndarray]:
        mask = self.infer(tensors).mask
        scores = (mask == np.arange(self._classes)[:, None, None]).astype(np.float32)
        scores[0] += self._model.shift
        return [scores[None]]

    def peak_rss_bytes(self) -> int:
        return 0

    def close(self) -> None: ...
    def __enter__(self) -> SleepySession:
        return self

    def __exit__(self, *_: object) -> None: ...


class SleepyRuntime(Runtime):
    name, title, runs, profiles = "sleepy", "Sleepy", (Format("sleepy"),), False

    def probe(self) -> Availability:
        return Availability(True, "1")

    def open(self, artifact: ModelArtifact, options: RunOptions) -> SleepySession:
        return SleepySession(artifact, options)


def mark(folder: str, what: str) -> None:
    """Leaves a file `<what>-<pid>-<time>`."""
    if folder:
        Path(folder, f"{what}-{os.getpid()}-{time.time_ns()}").touch()


def install(folder: Path) -> None:
    """Writes the metadata of a package with this module's target and runtime: `folder` belongs on the path."""
    (package := folder / "sleepy-1.0.dist-info").mkdir(parents=True)
    entries = "[segexport.targets]\nsleepy = sleepy:Sleepy\n[segexport.runtimes]\nsleepy = sleepy:SleepyRuntime\n"
    (package / "entry_points.txt").write_text(entries)


def write_model(folder: Path, like: Manifest, **params: object) -> Path:
    """An artifact that runs in `SleepyRuntime`, of the same model as `like`."""
    from segexport.artifact import write_artifact

    folder.mkdir(parents=True)
    (folder / "model.sleepy").write_text(SleepParams(**params).model_dump_json())
    files = (file_entry(folder, "model.sleepy"),)
    write_artifact(folder, like.model_copy(update={"format": Format("sleepy"), "files": files}))
    return folder
