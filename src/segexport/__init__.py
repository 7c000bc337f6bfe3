"""segexport: from a trained PaddlePaddle segmentation model to a phone, with proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segexport.model import Model

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
    from segexport.model import Model
    from segexport.store import Store

    return Model(import_model(Path(path), ImportOptions(), Store()), device=device, threads=threads, **options)
