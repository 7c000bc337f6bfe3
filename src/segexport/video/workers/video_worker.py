"""Reads or writes one video with OpenCV, whose decoders (FFmpeg) are native code. OpenCV and NumPy only."""

from __future__ import annotations

import os
import signal

os.environ["OPENCV_LOG_LEVEL"] = "ERROR"
# Ctrl-C reaches the whole process group; the parent decides whether to keep a video.
signal.signal(signal.SIGINT, signal.SIG_IGN)

import cv2  # noqa: E402 - reads the variable when it is imported
from worker_host import WorkerFailure  # noqa: E402

cv2.setNumThreads(1)
state: dict = {}


def open_file(arguments, _arrays):
    """Opens a video file; returns the size, rate and number of its frames."""
    reader = cv2.VideoCapture(arguments["path"], cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not reader.isOpened():
        raise WorkerFailure("not a video that FFmpeg can read, or a damaged one")
    return _opened(reader)


def open_camera(arguments, _arrays):
    """Opens a camera by its number or device file."""
    reader = cv2.VideoCapture(arguments["camera"])
    if not reader.isOpened():
        raise WorkerFailure("no such camera, or another program uses it")
    return _opened(reader)


def _opened(reader):
    state["reader"] = reader
    names = {"width": "FRAME_WIDTH", "height": "FRAME_HEIGHT", "fps": "FPS", "frames": "FRAME_COUNT"}
    return {name: float(reader.get(getattr(cv2, f"CAP_PROP_{key}"))) for name, key in names.items()}, []


def read(_arguments, _arrays):
    """Returns the next frame, uint8 (h, w, 3) BGR; none at the end."""
    found, frame = state["reader"].read()
    return {}, [frame] if found and frame is not None and frame.ndim == 3 else []


def create(arguments, _arrays):
    """Creates a video file."""
    size = arguments["width"], arguments["height"]
    code = cv2.VideoWriter.fourcc(*arguments["codec"])
    writer = cv2.VideoWriter(arguments["path"], cv2.CAP_FFMPEG, code, arguments["fps"], size)
    if not writer.isOpened():
        raise WorkerFailure(f"OpenCV here cannot write {arguments['codec']} of {size[0]}x{size[1]}")
    state["writer"] = writer
    return {}, []


def write(_arguments, arrays):
    """Appends a frame, uint8 (h, w, 3) BGR."""
    state["writer"].write(arrays[0])
    return {}, []


def finish(_arguments, _arrays):
    """Closes the file."""
    state.pop("writer").release()
    return {}, []


COMMANDS = {
    "open_file": open_file,
    "open_camera": open_camera,
    "read": read,
    "create": create,
    "write": write,
    "finish": finish,
}
