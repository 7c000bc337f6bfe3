"""`segexport predict` and `pipeline`: a model's masks or objects, as pictures and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from segexport.progress import Progress, silent
from segexport.task.base import PredictionResult


def save(
    results: Iterable[PredictionResult],
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
