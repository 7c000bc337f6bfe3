"""`segexport diagnose`: finds the first operator of an export whose result differs from the original's."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from segexport.artifact import read_artifact
from segexport.data.images import decode_image
from segexport.diagnose.diagnose import diagnose as find_fault
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.output_folder import new_folder, require_free
from segexport.files.store import Store
from segexport.progress import SILENCE, Feedback
from segexport.task.registry import require_feature

if TYPE_CHECKING:
    from segexport.diagnose.schema import Diagnosis


def diagnose(
    path: Path,
    output: Path | None,
    *,
    reference: Path,
    image: Path,
    importing: ImportOptions | None = None,
    threads: int = 1,
    feedback: Feedback = SILENCE,
) -> Diagnosis:
    """Finds the operator that broke an export; writes the report and a minimal model with the fault into `output`.

    Args:
        importing: Information that the reference's files lack, such as the configuration of a checkpoint.
    """
    if output is not None:
        require_free(output)
    export = read_artifact(path)
    pixels = decode_image(image, pixels=export.manifest.preprocess.pixels)
    require_feature(export, "diagnose", "diagnose")
    names = tuple(label.name for label in export.manifest.labels)
    options = (importing or ImportOptions()).model_copy(update={"fallback_labels": names})
    store = Store()
    own = import_model(reference, options, store)
    height, width = export.manifest.inputs[0].channels_first.shape[2:]
    if -1 in own.manifest.inputs[0].shape[2:] and -1 not in (width, height) and own.path != reference:
        own = import_model(reference, options.model_copy(update={"input_size": (width, height)}), store)
    feedback.warn_of(own, export)
    with nullcontext() if output is None else new_folder(output) as folder:
        return find_fault(
            export,
            own,
            pixels,
            image_name=image.name,
            out=folder,
            threads=threads,
            progress=feedback.progress,
        )
