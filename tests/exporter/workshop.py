"""A program of a test from import to verdict, in process: a model folder, steps, a check on a few noise images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from segexport.artifact import ModelArtifact, read_artifact, write_artifact
from segexport.check.compare import check
from segexport.check.request import CheckRequest
from segexport.data.dataset import Dataset
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.program import Program
from segexport.files.store import Store
from segexport.judge.results import Export
from segexport.pipeline.step import Step, StepContext
from segexport.recipe.schema import CheckRecipe
from segexport.references.live import LiveReference
from segexport.report.schema import ExportResult

SIDE = 32
_CONFIG = """\
Deploy:
  model: model.pdmodel
  params: model.pdiparams
  transforms:
  - type: Normalize
    mean: [0.5, 0.5, 0.5]
    std: [0.5, 0.5, 0.5]
"""


class Workshop:
    """Everything is in one folder of the test."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._store = folder, Store(folder / "store")
        images = folder / "images"
        images.mkdir()
        random = np.random.default_rng(2)
        for index in range(16):  # a verdict wants 14
            coarse = random.integers(0, 255, (8, 8, 3)).astype(np.uint8)
            cv2.imwrite(str(images / f"{index}.png"), cv2.resize(coarse, (SIDE, SIDE)))
        self.data = Dataset.open(images, "val")

    def model(self, program: Program, name: str = "net") -> Path:
        """A folder as PaddleSeg's export writes it."""
        folder = self._folder / name
        folder.mkdir()
        program.write(folder)
        (folder / "deploy.yaml").write_text(_CONFIG)
        return folder

    def imported(self, model: Program | Path, name: str = "net", **options: object) -> ModelArtifact:
        folder = self.model(model, name) if isinstance(model, Program) else model
        return import_model(folder, ImportOptions(**options), self._store)

    def made(self, step: Step, source: ModelArtifact) -> ModelArtifact:
        """What a step makes of an artifact."""
        out = self._folder / f"{step.kind}-{len(list(self._folder.iterdir()))}"
        out.mkdir()
        write_artifact(out, step.run(source, out, StepContext(data=self.data)))
        return read_artifact(out)

    def checked(self, reference: ModelArtifact, *exports: ModelArtifact) -> list[ExportResult]:
        """The report's part on each export."""
        subjects = []
        for index, artifact in enumerate(exports):
            manifest = artifact.manifest
            subjects.append(Export(f"export-{index}", manifest.format, manifest.target.precision, artifact))
        options = CheckRecipe(latency_seconds=0, worst_images=0)
        live = LiveReference.of(reference, options)
        return list(check(CheckRequest(live, tuple(subjects), self.data, self._folder, options)).exports)
