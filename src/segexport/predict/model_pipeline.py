"""PaddleX's pipelines: a YAML file with a model, its device, batch size and input size; `predict` runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

import segexport
from segexport.errors import MissingInputError, OptionError, SegexportError, UnreadableError, one_line
from segexport.files.yaml_reader import read_yaml
from segexport.predict.model import Model, TargetSize
from segexport.predict.model_session import FASTEST
from segexport.predict.prediction import SegmentationResult
from segexport.spec import Frozen
from segexport.task.registry import require_feature

NAMES = ("semantic_segmentation",)

_CONFIG = """\
Global:
  pipeline_name: semantic_segmentation

Pipeline:
  model: model        # an artifact, an export, or a PaddleSeg or PaddleX folder; relative to this file
  device: cpu         # cpu, or gpu:0 if the model's runtime supports it
  runtime: null       # a runtime's name from `segexport doctor`, or fastest. null: the format's first runtime
  batch_size: 1
  target_size: null   # input size of the network. null: the model's; -1: the image's size; 512; [1024, 512] (w, h)
"""


class _Global(Frozen):
    pipeline_name: Literal["semantic_segmentation"] = "semantic_segmentation"
    input: str | None = None


class _Settings(Frozen):
    model: str
    device: str = "cpu"
    runtime: str | None = None
    batch_size: int = Field(default=1, ge=1)
    target_size: int | tuple[int, int] | None = None


class PipelineConfig(Frozen):
    """The file, with PaddleX's keys. `Global.input` is ignored: `predict` takes the inputs."""

    Global: _Global = _Global()
    Pipeline: _Settings


class SegmentationPipeline:
    """A model with its settings. Use it in a `with` block, or call `close`."""

    def __init__(self, model: Model, batch_size: int = 1) -> None:
        self.model, self.batch_size = model, batch_size

    def predict(
        self, input: Any, batch_size: int | None = None, target_size: TargetSize = None, **options: Any
    ) -> Iterator[SegmentationResult]:
        """Segments images like `Model.predict`; the file gives the defaults."""
        size = self.batch_size if batch_size is None else batch_size
        return self.model.predict(input, size, target_size, **options)

    def close(self) -> None:
        """Ends the model's process."""
        self.model.close()

    def __enter__(self) -> SegmentationPipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def config_text(name: str) -> str:
    """The template of a pipeline's YAML.

    Raises:
        InputError: The pipeline is unknown.
    """
    if name not in NAMES:
        raise OptionError(f"there is no pipeline {name!r}", hint=f"there is {', '.join(NAMES)}")
    return _CONFIG


def create_pipeline(
    pipeline: str | Path,
    *,
    model: str | Path | None = None,
    device: str | None = None,
    runtime: str | None = None,
    enable_hpi: bool = False,
    batch_size: int | None = None,
    target_size: TargetSize = None,
    threads: int = 1,
) -> SegmentationPipeline:
    """Opens a pipeline.

    Args:
        pipeline: The path of its YAML file; or a pipeline's name, with `model`.
        model, device, runtime, batch_size, target_size: Override the file.
        enable_hpi: PaddleX's name for `runtime="fastest"`, where no runtime is named.
        threads: Threads of one inference.

    Raises:
        SegexportError: The file is not valid, or its model cannot be read or run.
    """
    if str(pipeline) in NAMES:
        if model is None:
            raise OptionError(
                f"pipeline {str(pipeline)!r}: no model is named",
                cause="segexport comes without models",
                hint=f"segexport pipeline --get-config {pipeline} -o FILE, and name your model in it",
            )
        settings = _Settings(model=str(model))
    else:
        settings = read_config(Path(pipeline)).Pipeline
    named = Path(pipeline).parent / settings.model if model is None else Path(model)
    if runtime is None:
        runtime = settings.runtime or (FASTEST if enable_hpi else "")
    opened = segexport.load(
        str(named),
        device=settings.device if device is None else device,
        runtime=runtime,
        threads=threads,
        target_size=settings.target_size if target_size is None else target_size,
    )
    try:
        require_feature(opened.artifact, "pipeline", "the pipeline semantic_segmentation")
    except SegexportError:
        opened.close()
        raise
    assert isinstance(opened, Model), "instances have no such pipeline"
    return SegmentationPipeline(opened, settings.batch_size if batch_size is None else batch_size)


def read_config(path: Path) -> PipelineConfig:
    """Reads a pipeline's file; raises InputError if it is not valid."""
    if not path.exists():
        raise MissingInputError(
            f"{path}: no such pipeline file",
            hint=f"segexport pipeline --get-config {NAMES[0]} -o {path} writes one",
        )
    try:
        return PipelineConfig.model_validate(read_yaml(path))
    except ValidationError as error:
        raise UnreadableError(f"{path}: not a pipeline's file", cause=one_line(error)) from None
