"""Compress, export and check PaddlePaddle segmentation models.

>>> import segexport
>>> made = segexport.export("export", "my-int8", to="onnx", precision="int8", calibration="data")  # doctest: +SKIP
>>> segexport.check("my-int8", reference="export", data="data").verdict  # doctest: +SKIP
<Verdict.PASS: 'PASS'>

The names in `__all__` are stable: they change in a major version only, after a deprecation in a minor version.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from segexport.commands.api import (
        bench,
        check,
        compress,
        count_instructions,
        diagnose,
        doctor,
        evaluate,
        export,
        finetune,
        import_model,
        inspect,
        predict,
        recommend,
        recommend_network,
        record_reference,
        run,
        train,
    )
    from segexport.errors import SegexportError
    from segexport.exporter.import_options import ImportOptions
    from segexport.predict.model import Model
    from segexport.predict.model_pipeline import SegmentationPipeline
    from segexport.predict.target_size import TargetSize
    from segexport.spec import Tiles
    from segexport.task.instance.model import InstanceModel

__version__ = "0.2.0"

__all__ = [
    "ImportOptions",
    "SegexportError",
    "Tiles",
    "bench",
    "check",
    "compress",
    "count_instructions",
    "create_pipeline",
    "diagnose",
    "doctor",
    "evaluate",
    "export",
    "finetune",
    "import_model",
    "inspect",
    "load",
    "predict",
    "recommend",
    "recommend_network",
    "record_reference",
    "run",
    "train",
]
_API = "segexport.commands.api"
_ELSEWHERE = {
    "ImportOptions": "segexport.exporter.import_options",
    "SegexportError": "segexport.errors",
    "Tiles": "segexport.spec",
}


def __getattr__(name: str) -> Any:
    """Imports a name on first use, so that importing the package is fast."""
    if name in ("det", "seg"):  # packages, as in PaddleX
        return importlib.import_module(f"segexport.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_ELSEWHERE.get(name, _API)), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _CallableRoom(ModuleType):
    """A package with the name of an API function; a call of it calls the function."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        function = self.__name__.rpartition(".")[2]
        return getattr(importlib.import_module(_API), function)(*arguments, **options)


def make_callable(package: str) -> None:
    """Makes a package callable as the API function of the same name, which it hides after its import."""
    sys.modules[package].__class__ = _CallableRoom


def load(
    path: str | Path,
    *,
    device: str = "cpu",
    threads: int = 1,
    runtime: str = "",
    target_size: TargetSize = None,
    importing: ImportOptions | None = None,
) -> Model | InstanceModel:
    """Opens a model for `predict` and `evaluate`: an artifact, an export, or a PaddleSeg or PaddleX folder.

    A model for instance segmentation opens as an `InstanceModel`, any other as a `Model`.

    Args:
        path: Folder or file.
        device: `cpu` or `gpu:N`.
        threads: Threads of one inference.
        runtime: Name of the runtime, as in `segexport doctor`, or `fastest`: the fastest one, measured once on this
            machine and kept. Default: the first runtime of the model's format.
        target_size: Default input size of `predict`, for a model with dynamic input size.
        importing: Settings that are missing or wrong in the model's files: `labels`, `preprocess`, ...; `tiles`
            and `postprocess`, which replace those of an artifact.

    Raises:
        SegexportError: The model cannot be read or run.

    Example:
        >>> with segexport.load("my-int8") as model:  # doctest: +SKIP
        ...     for result in model.predict("street.png"):
        ...         result.save_to_img("out")
    """
    from pathlib import Path

    from segexport.artifact import read_artifact
    from segexport.errors import OptionError
    from segexport.exporter.import_options import ImportOptions
    from segexport.importers.model_files import find_model
    from segexport.task.registry import task_of

    importing = importing or ImportOptions()
    files = find_model(Path(path)) if importing.config is None else None
    is_artifact = files is not None and files.kind == "artifact"
    told = importing.model_dump(exclude={"fallback_labels", "ignore_index", "tiles", "postprocess"}, exclude_none=True)
    if told and is_artifact:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in told)
        raise OptionError(
            f"{path}: {named} cannot be given for an artifact",
            cause="its manifest states everything",
            hint=f"segexport import EXPORT {named.split(',')[0]} ... -o DIR makes a new one",
        )
    if files is not None and is_artifact:
        artifact = read_artifact(files.folder).with_tiles(importing.tiles).with_postprocess(importing.postprocess)
    else:  # an import reads programs, which takes half as long as a prediction
        from segexport.exporter.from_paddle import import_model
        from segexport.files.store import Store

        artifact = import_model(Path(path), importing, Store())
    task = task_of(artifact.manifest)
    return task.open_model(artifact, device=device, threads=threads, runtime=runtime, target_size=target_size)


def create_pipeline(pipeline: str, **options: Any) -> SegmentationPipeline:
    """Opens a pipeline's YAML file for `predict`; `segexport pipeline --get-config semantic_segmentation` writes one.

    Args:
        pipeline: Path of the file, or the name of a pipeline, with `model`.
        options: `model`, `device`, `runtime`, `batch_size` and `target_size`, which override the file; `threads`;
            `enable_hpi=True` is PaddleX's name for `runtime="fastest"`.

    Raises:
        SegexportError: The file is not valid, or its model cannot be read or run.

    Example:
        >>> pipeline = segexport.create_pipeline("pipeline.yaml")  # doctest: +SKIP
    """
    from segexport.predict.model_pipeline import create_pipeline

    return create_pipeline(pipeline, **options)
