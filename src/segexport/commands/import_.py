"""`segexport import`: a PaddleSeg or PaddleX export becomes a self-describing artifact."""

from __future__ import annotations

from pathlib import Path

from segexport.artifact import ModelArtifact
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.output_folder import place_artifact, require_free
from segexport.files.store import Store


def import_to(model: Path, output: Path, options: ImportOptions) -> ModelArtifact:
    """Imports a model into a folder of its own."""
    require_free(output)
    return place_artifact(import_model(model, options, Store()), output)
