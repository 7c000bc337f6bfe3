"""Checks that every weight file of an ONNX artifact belongs to the artifact."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from segexport.artifact import MANIFEST_NAME, Manifest
from segexport.errors import AlteredError
from segexport.files.external_data import external_data, require_inside


def require_listed(root: Path, manifest: Manifest) -> None:
    """Raises InputError if a weight file is outside the artifact's folder or missing from the manifest."""
    listed = {str(PurePosixPath(entry.path)) for entry in manifest.files}
    for entry in manifest.files:
        for location in external_data(root / entry.path) if entry.role == "model" else ():
            inside = require_inside(root / entry.path, location)
            path = str(PurePosixPath(entry.path).parent / inside)
            if path not in listed:
                raise AlteredError(
                    f"{root / path}: {entry.path} takes weights from it, and {MANIFEST_NAME} does not list it",
                    cause="so it may not be the file that the model was made with",
                    hint="check the bare .onnx file instead: its weights are then taken along",
                )
