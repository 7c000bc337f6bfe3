"""Processes a whole video: reading, segmenting, smoothing, drawing, writing, each in its own process or thread."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from segexport.files.atomic import write_file
from segexport.progress import SILENCE, Feedback
from segexport.spec import Label
from segexport.video.background import background_named
from segexport.video.options import VideoOptions
from segexport.video.output import CODECS, add_sound, whole_frames, whole_video
from segexport.video.source import Camera, VideoReader, VideoSource
from segexport.video.stream import MaskStream, NetworkFrame, VideoFrame


@dataclass
class VideoResult:
    """The result of a video.

    Attributes:
        input_path: The file, or the camera's name.
        path: Path of the output; None: none was written.
        image: uint8 (H, W, 3) RGB, the last frame.
        fps: Frames per second.
        frames: Number of segmented frames.
        seconds: Time of the whole prediction.
        labels: The classes.
        pixels: (classes,) int64, pixels of each class over all frames.
    """

    input_path: str
    path: Path | None
    fps: float
    labels: tuple[Label, ...]
    image: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))
    frames: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.pixels = np.zeros(max(label.id for label in self.labels) + 1, np.int64)

    def __repr__(self) -> str:
        return f"<VideoResult {self.input_path}: {self.summary}>"

    @property
    def shares(self) -> dict[str, float]:
        """Class name -> fraction of all frames' pixels, for the classes that occur."""
        total = max(int(self.pixels.sum()), 1)
        return {x.name: float(self.pixels[x.id] / total) for x in self.labels if self.pixels[x.id]}

    @property
    def summary(self) -> str:
        """Number of frames, time per frame, and the fraction of each class, as text."""
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.shares.items())
        return f"{self.frames} frames, {self.seconds * 1e3 / max(self.frames, 1):.0f} ms each; {shares}"

    def save_to_json(self, save_path: str | Path) -> Path:
        """Writes path, frames, rate, size and the classes' fractions to a file."""
        height, width = self.image.shape[:2]
        content = {
            "input_path": self.input_path,
            "frames": self.frames,
            "fps": self.fps,
            "size": [width, height],
            "label_list": [label.name for label in self.labels],
            "shares": self.shares,
        }
        return write_file(Path(save_path), json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def video_name(source: VideoSource, kind: str, background: str | None) -> str:
    """The name of a video's result in a folder; without a suffix, it is a folder of PNG files.

    Class ids and opacity are written as PNG: video codecs change class ids and do not store opacity.
    """
    stem = source.stem if isinstance(source, Path) else str(source).replace(" ", "").replace("/", "_").strip("_")
    if background == "cutout" or (background is None and kind == "mask"):
        return stem
    suffix = source.suffix.lower() if isinstance(source, Path) else ""
    return stem + (suffix if suffix in CODECS else ".mp4")


def predict_video(
    stream: MaskStream,
    source: VideoSource,
    labels: tuple[Label, ...],
    options: VideoOptions,
    output: Path | None,
    *,
    kind: str = "overlay",
    feedback: Feedback = SILENCE,
) -> VideoResult:
    """Segments a video; memory does not depend on its length.

    Ctrl-C discards the output of a file. For a camera, it ends the recording and keeps the output.

    Args:
        stream: A model's stream; it is reset.
        labels: The model's classes.
        output: A video file, or a folder for PNG files (see `video_name`); None: no output.
        kind: As in `VideoFrame.picture`, if there is no background.

    Raises:
        SegexportError: The video cannot be read, the result cannot be written, or the model does not run.
    """
    shown = _showing(options.background, kind)
    stream.reset()
    with VideoReader(source) as reader:
        found = VideoResult(str(source), output, reader.fps, labels)
        total = reader.frames if options.frames is None else min(options.frames, reader.frames or options.frames)
        writing = nullcontext() if output is None else _sink(output, reader.fps)
        started = time.monotonic()
        with feedback.progress("predicting", total) as bar, writing as sink:
            frames = iter(reader) if options.frames is None else itertools.islice(reader, options.frames)
            try:
                with closing(frames_ahead(stream, frames)) as segmented:
                    for frame in segmented:
                        found.image, found.frames = frame.image, found.frames + 1
                        found.pixels += np.bincount(frame.mask.ravel(), minlength=len(found.pixels))
                        if sink is not None:
                            sink.write(shown(frame))
                        bar.advance()
            except KeyboardInterrupt:
                if not (isinstance(source, Camera) and found.frames):
                    raise
        found.seconds = time.monotonic() - started
        if reader.damage:
            feedback.warn(f"{source}: damaged, as FFmpeg reports: {reader.damage}")
    if (
        output is not None
        and isinstance(source, Path)
        and output.suffix
        and (why_not := add_sound(output, source, found.frames / found.fps))
    ):
        feedback.say(f"{output}: {why_not}")
    return found


def frames_ahead(stream: MaskStream, frames: Iterable[np.ndarray]) -> Generator[VideoFrame]:
    """Yields the frames in order; the network runs on the next one while the caller processes this one."""
    with ThreadPoolExecutor(1, thread_name_prefix="network") as network:
        before: Future[NetworkFrame] | None = None
        for frame in frames:
            following = network.submit(stream.look, frame)
            if before is not None:
                yield stream.smoothed(before.result())
            before = following
        if before is not None:
            yield stream.smoothed(before.result())


def _showing(background: str | None, kind: str) -> Callable[[VideoFrame], np.ndarray]:
    """Returns the function that draws a frame for writing, in OpenCV's channel order."""
    if background is None and kind == "mask":
        return lambda frame: frame.mask
    if background is None:
        return lambda frame: np.ascontiguousarray(frame.picture(kind)[..., ::-1])
    behind = background_named(background)
    return lambda frame: behind(cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR), frame.alpha)


def _sink(output: Path, fps: float):
    return whole_video(output, fps) if output.suffix else whole_frames(output)
