"""`segexport predict` and `pipeline`: masks or objects of a model on images, as pictures and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import segexport
from segexport.exporter.import_options import ImportOptions
from segexport.predict.options import PredictOptions
from segexport.progress import SILENCE, Feedback, Progress, silent
from segexport.task.base import PredictionResult
from segexport.task.registry import task_of

PictureKind = Literal["overlay", "color", "mask"]


@dataclass(frozen=True)
class SaveOptions:
    """Where and how results are saved.

    Attributes:
        output: Folder; None: nothing is saved.
        kind: The picture: overlay, color, or mask (a PNG of class ids).
        with_json: Whether to write each result as JSON too.
    """

    output: Path | None = None
    kind: PictureKind = "overlay"
    with_json: bool = False


class SavedResult(NamedTuple):
    """A result and its picture's path; None where nothing was saved."""

    result: PredictionResult
    path: Path | None

    @property
    def line(self) -> str:
        """The result in one line, for people."""
        height, width = self.result.image.shape[:2]
        saved = "" if self.path is None else f" -> {self.path}"
        return f"{self.result.input_path}: {width}x{height}; {self.result.summary}{saved}"


def predict(
    model: Path,
    inputs: Sequence[str],
    importing: ImportOptions,
    options: PredictOptions,
    saving: SaveOptions,
    *,
    device: str = "cpu",
    threads: int = 1,
    feedback: Feedback = SILENCE,
) -> Iterator[SavedResult]:
    """Segments images one by one, and saves each result.

    Args:
        inputs: Image files, folders of images, URLs.

    Raises:
        SegexportError: The model or an image cannot be read, or an option does not fit the model's task.
    """
    with segexport.load(model, device=device, threads=threads, importing=importing) as opened:
        feedback.warn_of(opened.artifact)
        results = task_of(opened.artifact.manifest).predictions(opened, list(inputs), options)
        yield from save(results, saving, progress=feedback.progress)


def save(
    results: Iterable[PredictionResult], options: SaveOptions, *, progress: Progress = silent
) -> Iterator[SavedResult]:
    """Saves results one by one; a name that was used before gets a number, so no picture replaces another."""
    taken: set[str] = set()
    with progress("predicting", None) as bar:
        for result in results:
            path = None
            if options.output is not None:
                path = options.output / _free(result.picture_name(options.kind), taken)
                path = result.save_to_img(path, kind=options.kind)
                if options.with_json:
                    result.save_to_json(path.with_suffix(".json"))
            bar.advance()
            yield SavedResult(result, path)


def _free(name: str, taken: set[str]) -> str:
    """A name whose stem is not taken yet, ignoring case, as some file systems do."""
    path, number = Path(name), 1
    stem = path.stem
    while stem.lower() in taken:
        number += 1
        stem = f"{path.stem}_{number}"
    taken.add(stem.lower())
    return stem + path.suffix
