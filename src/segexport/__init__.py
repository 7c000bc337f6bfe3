"""segexport: from a trained PaddlePaddle segmentation model to a phone, with proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segexport.exporter.from_paddle import ImportOptions
    from segexport.predict.model import Model
    from segexport.predict.model_pipeline import SegmentationPipeline
    from segexport.predict.target_size import TargetSize
    from segexport.task.instance.model import InstanceModel

__version__ = "0.1.0"


def load(
    path: str,
    *,
    device: str = "cpu",
    threads: int = 1,
    target_size: TargetSize = None,
    importing: ImportOptions | None = None,
) -> Model | InstanceModel:
    """Opens a model for `predict` and `evaluate`: an artifact, an export, or a PaddleSeg or PaddleX folder.

    A model that finds objects is an `InstanceModel`, any other a `Model`.

    Args:
        path: Folder or file.
        device: `cpu` or `gpu:N`.
        threads: Threads of one inference.
        target_size: The default of `predict`, where a model takes any size.
        importing: What an export does not say of itself, or says wrong: `labels`, `preprocess`, ...

    Raises:
        SegexportError: It cannot be read or run.
    """
    from pathlib import Path

    from segexport.errors import InputError
    from segexport.exporter.from_paddle import ImportOptions, import_model
    from segexport.files.store import Store
    from segexport.task.registry import task_of

    importing = importing or ImportOptions()
    artifact = import_model(Path(path), importing, Store())
    told = importing.model_dump(exclude={"fallback_labels", "ignore_index"}, exclude_none=True)
    if told and artifact.path == Path(path):
        named = ", ".join(f"--{name.replace('_', '-')}" for name in told)
        raise InputError(
            f"{path}: {named} cannot be said of an artifact",
            cause="it says all about itself",
            hint=f"segexport import EXPORT {named.split(',')[0]} ... -o DIR makes a new one",
        )
    task = task_of(artifact.manifest)
    return task.open_model(artifact, device=device, threads=threads, target_size=target_size)


def create_pipeline(pipeline: str, **options: Any) -> SegmentationPipeline:
    """Opens a pipeline's YAML file for `predict`; `segexport pipeline --get-config semantic_segmentation` writes one.

    Args:
        pipeline: Path of the file; or the pipeline's name, with `model`.
        options: `model`, `device`, `batch_size` and `target_size`, over what the file says; `threads`.

    Raises:
        SegexportError: The file says what it should not, or its model cannot be read or run.
    """
    from segexport.predict.model_pipeline import create_pipeline

    return create_pipeline(pipeline, **options)
