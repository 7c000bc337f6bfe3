"""`segexport predict` and `pipeline`: segment images and videos, and save pictures and JSON."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import segexport
from segexport.commands.documents import SegmentedImage
from segexport.errors import ExistsError, OptionError
from segexport.exporter.import_options import ImportOptions
from segexport.predict.model import Model
from segexport.predict.model_session import Opened
from segexport.predict.options import PredictOptions
from segexport.progress import SILENCE, Feedback, Progress, silent
from segexport.task.base import PredictionResult
from segexport.task.registry import task_of
from segexport.video.source import VideoSource, video_source

if TYPE_CHECKING:
    from segexport.video.options import VideoOptions
    from segexport.video.run import VideoResult

PictureKind = Literal["overlay", "color", "mask"]


@dataclass(frozen=True)
class SaveOptions:
    """Options of saving results.

    Attributes:
        output: Folder, or the file of a single video; None: nothing is saved.
        kind: The picture: overlay, color, or mask (a PNG of class ids).
        with_json: Whether to write each result as JSON too.
    """

    output: Path | None = None
    kind: PictureKind = "overlay"
    with_json: bool = False


class SavedResult(NamedTuple):
    """A result and its picture's path; None if nothing was saved."""

    result: PredictionResult | VideoResult
    path: Path | None

    @property
    def line(self) -> str:
        """The result in one readable line."""
        height, width = self.result.image.shape[:2]
        saved = "" if self.path is None else f" -> {self.path}"
        return f"{self.result.input_path}: {width}x{height}; {self.result.summary}{saved}"

    @property
    def document(self) -> SegmentedImage:
        """The result as `--format json` shows it, without the mask."""
        height, width = self.result.image.shape[:2]
        return SegmentedImage(
            input_path=self.result.input_path,
            width=width,
            height=height,
            summary=self.result.summary,
            shares=getattr(self.result, "shares", {}),
            objects=getattr(self.result, "found", ()),
            frames=getattr(self.result, "frames", None),
            saved=None if self.path is None else str(self.path),
        )


def predict(
    model: Path,
    inputs: Sequence[str],
    importing: ImportOptions,
    options: PredictOptions,
    saving: SaveOptions,
    *,
    video: VideoOptions | None = None,
    device: str = "cpu",
    threads: int = 1,
    runtime: str = "",
    feedback: Feedback = SILENCE,
) -> Iterator[SavedResult]:
    """Segments images and videos one by one, and saves each result.

    Args:
        inputs: Image files, folders of images, URLs, video files, cameras (see `video_source`).
        video: Options for videos.
        runtime: As in `segexport.load`.

    Raises:
        SegexportError: The model or an input cannot be read, or an option does not fit the model's task.
    """
    sources = [video_source(name) for name in inputs]
    if _is_video(saving.output) and (len(inputs) > 1 or None in sources):
        raise OptionError(
            f"-o {saving.output}: this is the name of one video",
            cause=f"there are {len(inputs)} inputs" if len(inputs) > 1 else f"{inputs[0]} is not a video",
            hint="give a folder",
        )
    taken: set[str] = set()
    with segexport.load(model, device=device, threads=threads, runtime=runtime, importing=importing) as opened:
        feedback.warn_of(opened.artifact)
        task = task_of(opened.artifact.manifest)
        for is_image, group in itertools.groupby(zip(inputs, sources, strict=True), lambda pair: pair[1] is None):
            if is_image:
                results = task.predictions(opened, [name for name, _ in group], options)
                yield from save(results, saving, progress=feedback.progress, taken=taken)
                continue
            for _, source in group:
                assert source is not None, "grouped so"
                yield _video(opened, source, options, saving, video, taken, feedback)


def save(
    results: Iterable[PredictionResult],
    options: SaveOptions,
    *,
    progress: Progress = silent,
    taken: set[str] | None = None,
) -> Iterator[SavedResult]:
    """Saves results one by one; a repeated name gets a number, so that no picture replaces another.

    Args:
        taken: Used stems, in lower case; new ones are added.
    """
    taken = set() if taken is None else taken
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


def _video(
    model: Opened,
    source: VideoSource,
    options: PredictOptions,
    saving: SaveOptions,
    video: VideoOptions | None,
    taken: set[str],
    feedback: Feedback,
) -> SavedResult:
    if not isinstance(model, Model):
        raise OptionError(f"{source}: a video needs a model that gives the class of each pixel, this one finds objects")
    if options.slice_size is not None:
        raise OptionError(f"{source}: --slice-size is for images")
    from segexport.video.options import VideoOptions
    from segexport.video.run import predict_video, video_name

    video = video or VideoOptions()
    stream = model.stream(
        smooth=video.smooth, flow=video.flow, foreground=video.foreground, target_size=options.target_size
    )
    path = saving.output
    if path is not None and not _is_video(path):
        path = path / _free(video_name(source, saving.kind, video.background), taken)
    if path is not None and isinstance(source, Path) and path.exists() and source.exists() and path.samefile(source):
        raise ExistsError(f"{path}: this is the video itself", hint="save to another folder")
    labels = model.artifact.manifest.labels
    found = predict_video(stream, source, labels, video, path, kind=saving.kind, feedback=feedback)
    if path is not None and saving.with_json:
        found.save_to_json(path.with_suffix(".json"))
    return SavedResult(found, path)


def _is_video(path: Path | None) -> bool:
    """Whether a path is the name of a video."""
    if path is None or not path.suffix:
        return False
    from segexport.video.output import CODECS

    return path.suffix.lower() in CODECS


def _free(name: str, taken: set[str]) -> str:
    """A name whose stem is not taken; case is ignored, as in some file systems."""
    path, number = Path(name), 1
    stem = path.stem
    while stem.lower() in taken:
        number += 1
        stem = f"{path.stem}_{number}"
    taken.add(stem.lower())
    return stem + path.suffix
