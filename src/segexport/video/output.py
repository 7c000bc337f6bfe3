"""Writes a video whole or not at all, with the original's sound if ffmpeg is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np

from segexport.errors import InputError, OptionError, StorageError, UnreadableError, WorkerError
from segexport.files.atomic import whole_file, whole_folder
from segexport.files.disk import require_room
from segexport.process.worker import Worker
from segexport.video.source import FRAME_TIMEOUT_S, WORKER, VideoReader

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG", ".webm": "VP80"}
_SOUND_TIMEOUT_S = 600.0
_SOUND_CODEC = {".webm": "libvorbis", ".avi": "libmp3lame"}


class VideoWriter:
    """Encodes frames in a separate process while the next ones are computed.

    Args:
        path: A new file with one of the suffixes of `CODECS`.
        fps: Frames per second.

    Raises:
        InputError: OpenCV cannot write such a video here.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, fps
        self._worker = Worker(WORKER, needs="cv2", name="video encoder", shared=True)
        self._waiting = 0
        self.count = 0

    def write(self, frame: np.ndarray) -> None:
        """Appends a frame, uint8 (h, w, 3) BGR, of the first one's size."""
        try:
            if not self.count:
                height, width = frame.shape[:2]
                made = {"path": str(self._path.resolve()), "codec": CODECS[self._path.suffix.lower()], "fps": self._fps}
                self._worker.call("create", {**made, "width": width, "height": height}, timeout_s=FRAME_TIMEOUT_S)
            if self._waiting == self._worker.ahead:
                self._worker.receive(timeout_s=FRAME_TIMEOUT_S)
                self._waiting -= 1
            self._worker.send("write", {}, [frame], timeout_s=FRAME_TIMEOUT_S)
        except WorkerError as error:
            raise self._failed(error) from error
        self._waiting += 1
        self.count += 1

    def finish(self) -> None:
        """Finishes the file and reads it back, because an encoder does not report a full disk.

        Raises:
            StorageError: Frames are missing in the file.
        """
        try:
            while self._waiting:
                self._worker.receive(timeout_s=FRAME_TIMEOUT_S)
                self._waiting -= 1
            self._worker.call("finish", timeout_s=FRAME_TIMEOUT_S)
            with VideoReader(self._path) as written:
                found = written.frames or 0
        except (WorkerError, InputError) as error:
            raise self._failed(error) from error
        if found < self.count:
            raise self._failed(UnreadableError(f"{found} of {self.count} frames are in the file"))

    def close(self) -> None:
        """Ends the encoder."""
        self._worker.close()

    def _failed(self, error: InputError | WorkerError) -> Exception:
        require_room(self._path.parent, error)
        return StorageError(f"{self._path.parent}: the video cannot be written", cause=error.what)


@contextmanager
def whole_video(path: Path, fps: float) -> Iterator[VideoWriter]:
    """A writer whose file is moved to `path` if the block succeeds and has written a frame.

    Raises:
        InputError: The format of the suffix cannot be written, or `path` is a folder.
        StorageError: The disk is full, or the path cannot be written.
    """
    if path.suffix.lower() not in CODECS:
        raise OptionError(f"{path}: this format cannot be written", hint=f"use one of {', '.join(sorted(CODECS))}")
    with whole_file(path, keep_suffix=True) as work:
        writer = VideoWriter(work, fps)
        try:
            yield writer
            writer.finish()
        finally:
            writer.close()


class FrameFolder:
    """Writes frames as numbered PNG files: `000000.png`, ..."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.count = 0

    def write(self, frame: np.ndarray) -> None:
        """Writes a frame, uint8 (h, w, 4) BGRA or (h, w, 3) BGR."""
        done, data = cv2.imencode(".png", frame, [cv2.IMWRITE_PNG_COMPRESSION, 3])
        assert done, "OpenCV encodes every array of 8-bit colours"
        (self._folder / f"{self.count:06d}.png").write_bytes(data.tobytes())
        self.count += 1


@contextmanager
def whole_frames(folder: Path) -> Iterator[FrameFolder]:
    """A writer whose folder is moved to `folder` if the block succeeds.

    Raises:
        StorageError: The disk is full, or the path cannot be written.
    """
    with whole_folder(folder) as work:
        yield FrameFolder(work)


def add_sound(path: Path, original: Path, seconds: float) -> str:
    """Adds the original's sound to a video. The frames are copied, not encoded again.

    Args:
        seconds: Length of the video; longer sound is cut.

    Returns:
        The reason why there is no sound; empty if it was added, or the original has none.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        return "ffmpeg is not installed, so the video has no sound"
    codec = _SOUND_CODEC.get(path.suffix.lower(), "aac")
    cause = ""
    for way in ("copy", codec):
        with suppress(_NoSound), whole_file(path, keep_suffix=True) as work:
            command = [program, "-nostdin", "-v", "error", "-y", "-i", path, "-i", original, "-map", "0:v:0"]
            command += ["-map", "1:a?", "-c:v", "copy", "-c:a", way, "-t", f"{seconds:.6f}", work]
            if cause := _run([str(part) for part in command]):
                raise _NoSound  # the video stays as it is
            return ""
    return f"ffmpeg could not add the sound: {cause}"


class _NoSound(Exception):
    pass


def _run(command: list[str]) -> str:
    """Runs ffmpeg; returns its last message if it fails, else an empty text."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SOUND_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not done in {_SOUND_TIMEOUT_S:g} s"
    except OSError as error:
        return str(error)
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return "" if done.returncode == 0 else (lines[-1] if lines else f"exit code {done.returncode}")
