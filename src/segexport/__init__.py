"""segexport: from a trained PaddlePaddle segmentation model to a phone, with proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segexport.predict.model import Model
    from segexport.predict.model_pipeline import SegmentationPipeline

__version__ = "0.1.0"


def load(path: str, *, device: str = "cpu", threads: int = 1, **options: Any) -> Model:
    """Opens a model for `predict` and `evaluate`: an artifact, an export, or a PaddleSeg or PaddleX folder.

    Args:
        path: Folder or file.
        device: `cpu` or `gpu:N`.
        threads: Threads of one inference.
        options: `target_size`, the default of `predict`.

    Raises:
        SegexportError: It cannot be read or run.
    """
    from pathlib import Path

    from segexport.exporter.from_paddle import ImportOptions, import_model
    from segexport.predict.model import Model
    from segexport.store import Store

    return Model(import_model(Path(path), ImportOptions(), Store()), device=device, threads=threads, **options)


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
