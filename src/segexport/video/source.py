"""Reads frames of a video file or a camera, decoded ahead in a separate process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segexport.data.images import MAX_PIXELS, MAX_SIDE_PIXELS
from segexport.errors import (
    MissingInputError,
    OptionError,
    SegexportError,
    TooLargeError,
    UnreadableError,
    WorkerError,
    WorkerFailed,
)
from segexport.files.foreign import reading
from segexport.process.worker import Worker

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"}
    | {".flv", ".wmv", ".ogv"}
)
WORKER = Path(__file__).parent / "workers" / "video_worker.py"
FRAME_TIMEOUT_S = 60.0
_USUAL_FPS = 25.0  # if a source states none, or an impossible value
_FASTEST_FPS = 480.0
_MISSING = 0.95  # smallest fraction of the container's number of frames, which some containers estimate


@dataclass(frozen=True)
class Camera:
    """A camera: its number, or its device file."""

    name: int | str

    def __str__(self) -> str:
        return f"camera {self.name}" if isinstance(self.name, int) else self.name


VideoSource = Path | Camera


def video_source(text: str) -> VideoSource | None:
    """Returns the video file or camera that an input names; None for any other input.

    A camera is `0`, `camera:0` or `/dev/video0`.

    Raises:
        InputError: The input is a video at a URL.
    """
    number = text.removeprefix("camera:")
    if number.isdecimal() and (number != text or not Path(text).exists()):
        return Camera(int(number))
    if text.startswith("/dev/video"):
        return Camera(text)
    if Path(text).suffix.lower() not in VIDEO_SUFFIXES or Path(text).is_dir():
        return None
    if "://" in text:
        raise OptionError(f"{text}: a video at a URL", hint="download it and give the file")
    return Path(text)


class VideoReader:
    """Reads frames in order, in constant memory. Use it in a `with` block, or call `close`.

    The next frames are decoded while the caller processes one.

    Args:
        source: The file or the camera.

    Attributes:
        fps: Frames per second; 25 if the source states none, or an impossible value.
        frames: Number of frames in the container's header; None if unknown, as for a camera.
        damage: FFmpeg's messages on damaged data; complete at the end.

    Raises:
        InputError: The file or camera does not exist, or is not a video.
        TooLargeError: The frames exceed the size limit of images.
    """

    def __init__(self, source: VideoSource) -> None:
        self.source = source
        if isinstance(source, Path):
            with reading(source, "a video"):
                _require_video(source)
        self._worker = Worker(WORKER, needs="cv2", name="video decoder", shared=True)
        try:
            found = self._opened()
        except BaseException:
            self._worker.close()
            raise
        fps, frames = found["fps"], found["frames"]
        stated = 1 <= fps <= _FASTEST_FPS
        self.fps = fps if stated else _USUAL_FPS
        self.frames = int(frames) if stated and 0 < frames < 1e9 and isinstance(source, Path) else None
        self.damage = ""

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yields uint8 (h, w, 3) BGR.

        Raises:
            InputError: There is no frame, a frame has another size, or the file ends early.
        """
        count, waiting, size = 0, 0, ()
        try:
            while True:
                while waiting < self._worker.ahead:
                    self._worker.send("read", timeout_s=FRAME_TIMEOUT_S)
                    waiting += 1
                _, arrays = self._worker.receive(timeout_s=FRAME_TIMEOUT_S)
                waiting -= 1
                if not arrays:
                    break
                frame = arrays[0]
                if size and frame.shape != size:
                    raise UnreadableError(
                        f"{self.source}: frame {count + 1} is {frame.shape[1]}x{frame.shape[0]}, "
                        f"those before are {size[1]}x{size[0]}",
                        hint="cut the video where its size changes",
                    )
                size, count = frame.shape, count + 1
                yield frame
        except WorkerError as error:
            raise _unreadable(self.source, error, f"after {count} frames") from error
        finally:
            if waiting and self._worker.alive:  # after a break: the process would send an old frame next
                self._worker.close()
        self._at_end(count)

    def close(self) -> None:
        """Stops the decoder."""
        self._worker.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> dict[str, float]:
        try:
            if isinstance(self.source, Camera):
                found, _ = self._worker.call("open_camera", {"camera": self.source.name}, timeout_s=FRAME_TIMEOUT_S)
            else:
                path = str(self.source.resolve())
                found, _ = self._worker.call("open_file", {"path": path}, timeout_s=FRAME_TIMEOUT_S)
        except WorkerError as error:
            raise _unreadable(self.source, error) from error
        width, height = found["width"], found["height"]
        if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE_PIXELS:
            raise TooLargeError(
                f"{self.source}: frames of {width:g}x{height:g} pixels",
                cause=f"the limits are {MAX_PIXELS / 1e6:g} million pixels and {MAX_SIDE_PIXELS} pixels on a side",
            )
        return found

    def _at_end(self, count: int) -> None:
        self.damage = _damage(self._worker.log())
        if isinstance(self.source, Camera):
            if not count:
                raise UnreadableError(f"{self.source}: it gave no frame")
            return
        if not count:
            raise UnreadableError(
                f"{self.source}: no frame can be decoded",
                cause=self.damage or "it is damaged or has no pictures",
            )
        if self.frames is not None and count < _MISSING * self.frames:
            raise UnreadableError(
                f"{self.source}: the video ends after {count} of {self.frames} frames",
                cause=self.damage or "the file was cut off or is damaged there",
                hint=f"--frames {count} takes the part that can be read",
            )


def _unreadable(source: VideoSource, error: WorkerError, where: str = "") -> SegexportError:
    what = error.what if isinstance(error, WorkerFailed) else "cannot be decoded"
    if isinstance(source, Camera) and isinstance(error, WorkerFailed):
        return UnreadableError(f"{source}: {error.what}", hint="camera:1 is the second one; a video file works too")
    cause = _damage(error.cause) if isinstance(error, WorkerFailed) else f"{error.what} {error.cause}".strip()
    return UnreadableError(" ".join(filter(None, (f"{source}:", what, where))), cause=cause)


def _damage(log: str) -> str:
    """The first of FFmpeg's messages in a log, and the number of others."""
    parts = re.split(r"\n| \| |(?= \[\w)", log)
    lines = [line.strip() for line in parts if line.strip().startswith("[")]
    if not lines:
        return ""
    first = re.sub(r"^\[ERROR:\S+ global \S+ ", "", re.sub(r" @ 0x[0-9a-f]+\]", "]", lines[0]))
    return first if len(lines) == 1 else f"{first}, and {len(lines) - 1} more such messages"


def _require_video(path: Path) -> None:
    """Raises InputError unless the first bytes are those of a container: a playlist would open other files."""
    if not path.exists():
        raise MissingInputError(f"{path}: no such file")
    with path.open("rb") as stream:
        head = stream.read(400)
    if not _is_container(head):
        kind = "empty" if not head else "text" if head.isascii() and b"\0" not in head else "of an unknown kind"
        raise UnreadableError(
            f"{path}: not a video", cause=f"the file is {kind}; MP4, AVI, Matroska, MPEG and FLV are read"
        )


def _is_container(head: bytes) -> bool:
    starts = (b"\x1a\x45\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3", b"FLV", b"OggS", b"\x30\x26\xb2\x75")
    return (
        head.startswith(starts)
        or head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or any(head[at : at + 1] == b"G" == head[at + step : at + step + 1] for at, step in ((0, 188), (4, 192)))
    )
