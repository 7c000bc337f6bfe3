"""`segexport predict` and `pipeline`: a model's masks or objects, as pictures and JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from segexport.errors import InputError
from segexport.predict.model import Model
from segexport.predict.prediction import SegmentationResult
from segexport.progress import Progress, silent
from segexport.task.instance.model import InstanceModel
from segexport.task.instance.result import DRAW_THRESHOLD, InstanceResult


def runner(model: Model | InstanceModel, score_threshold: float | None) -> Callable[..., Iterator[Any]]:
    """What runs the model on inputs, with the options of `predict`.

    Raises:
        InputError: An option that the model's task does not have.
    """
    if model.artifact.manifest.task == "semantic":
        if score_threshold is not None:
            raise InputError("--score-threshold", cause="this model gives the class of each pixel, and no objects")
        return model.predict

    def run(inputs: Any, *, target_size: Any, slice_size: Any, score_map: bool, batch_size: int = 1) -> Iterator[Any]:
        if target_size is not None or slice_size is not None:
            option = "--target-size" if target_size is not None else "--slice-size"
            raise InputError(option, cause="this model finds objects; images get the size that it was exported for")
        return model.each(inputs, score_threshold=DRAW_THRESHOLD if score_threshold is None else score_threshold)

    return run


def save(
    results: Iterable[SegmentationResult | InstanceResult],
    output: Path | None,
    *,
    kind: str,
    with_json: bool,
    progress: Progress = silent,
) -> Iterator[str]:
    """Writes each result into a folder (None: nowhere) and gives a line about it.

    A name that came before gets a number, so that no picture replaces another one of the same call.
    """
    taken: set[str] = set()
    with progress("predicting", None) as bar:
        for result in results:
            height, width = result.image.shape[:2]
            line = f"{result.input_path}: {width}x{height}; {result.summary}"
            if output is not None:
                path = output / _free(result.picture_name(kind), taken)
                line += f" -> {result.save_to_img(path, kind=kind)}"
                if with_json:
                    result.save_to_json(path.with_suffix(".json"))
            bar.advance()
            yield line


def _free(name: str, taken: set[str]) -> str:
    """A name whose stem is not taken yet; a file system may not tell upper from lower case."""
    path, number = Path(name), 1
    stem = path.stem
    while stem.lower() in taken:
        number += 1
        stem = f"{path.stem}_{number}"
    taken.add(stem.lower())
    return stem + path.suffix
