"""Runs inside a worker process: loads one worker file and answers its parent's calls. Standard library and NumPy only.

`<python> -I worker_host.py WORKER.py PARENT [--die-with-parent]` reads calls from standard input and writes answers to
what was standard output. File descriptor 1 itself is pointed at standard error first, because native libraries print
there whenever they like.

A worker file defines `COMMANDS: dict[str, function]`. A function takes `(arguments: dict, arrays: list[ndarray])` and
returns `(answer: dict, arrays: list[ndarray])`. What the caller can mend is raised as `Failure`.

A message is `<4sI`: a magic word and the bytes of its JSON header; the header; then each array's raw bytes. The header
lists the arrays' dtypes and shapes under "arrays".
"""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import json
import os
import signal
import struct
import sys
import threading
import time
import traceback

import numpy as np

_PREFIX = struct.Struct("<4sI")
_MAGIC = b"segx"
_MAX_HEADER_BYTES = 1 << 26
_PR_SET_PDEATHSIG = 1


class Failure(Exception):
    """The worker cannot do the job, and can say why: what, cause, hint."""

    def __init__(self, what: str, cause: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.cause, self.hint = what, cause, hint


def encode(header: dict, arrays: list[np.ndarray]) -> list[bytes | memoryview]:
    """A message as buffers, ready to be written one after the other; the arrays are not copied."""
    arrays = [np.asarray(array, order="C") for array in arrays]
    layout = [{"dtype": array.dtype.str, "shape": array.shape} for array in arrays]
    text = json.dumps({**header, "arrays": layout}).encode()
    return [
        _PREFIX.pack(_MAGIC, len(text)) + text,
        *(memoryview(a.reshape(-1).view(np.uint8)) for a in arrays if a.nbytes),
    ]


def decode(read) -> tuple[dict, list[np.ndarray]] | None:
    """The next message, or None at the end of the stream. `read(n)` returns a writable buffer of n bytes, or None.

    Raises:
        ValueError, KeyError, TypeError: What comes is no message.
    """
    prefix = read(_PREFIX.size)
    if prefix is None:
        return None
    magic, length = _PREFIX.unpack(prefix)
    if magic != _MAGIC or length > _MAX_HEADER_BYTES:
        raise ValueError(f"not a message: {bytes(prefix)!r}")
    text = read(length)
    if text is None:
        return None
    header = json.loads(bytes(text))
    arrays = []
    for entry in header.pop("arrays"):
        dtype = np.dtype(entry["dtype"])
        count = int(np.prod(entry["shape"], dtype=np.int64))
        data = read(count * dtype.itemsize) if count else bytearray()
        if data is None:
            return None
        arrays.append(np.frombuffer(data, dtype).reshape(entry["shape"]))
    return header, arrays


def _reader(stream):
    def read(count: int):
        buffer = bytearray(count)
        view, filled = memoryview(buffer), 0
        while filled < count:
            got = stream.readinto(view[filled:])
            if not got:
                return None
            filled += got
        return buffer

    return read


def _exit_with_parent(parent: int, at_once: bool) -> None:
    """A worker whose parent was killed must not live on: the parent's id changes when it dies.

    A native call may keep Python from noticing; where `at_once` allows it, Linux is asked to end us itself.
    """
    if at_once and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _load(path: str):
    sys.path.insert(0, os.path.dirname(path))  # -I leaves the script's folder out; siblings may be imported
    sys.modules["worker_host"] = sys.modules[__name__]
    spec = importlib.util.spec_from_file_location("worker", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.COMMANDS


def _answer(commands: dict, header: dict, arrays: list[np.ndarray]) -> tuple[dict, list[np.ndarray]]:
    try:
        answer, results = commands[header["command"]](header["arguments"], arrays)
        return {"ok": True, **answer}, results
    except Failure as failure:
        return {"ok": False, "what": failure.what, "cause": failure.cause, "hint": failure.hint}, []
    except BaseException as error:
        traceback.print_exc()
        kind = type(error).__name__
        if isinstance(error, ModuleNotFoundError):
            return {"ok": False, "missing": error.name, "what": str(error), "cause": "", "hint": ""}, []
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return {"ok": False, "full": [error.errno, error.strerror, error.filename]}, []
        text = " ".join(str(error).split())[:600]
        return {"ok": False, "what": f"{kind}: {text}", "cause": "", "hint": ""}, []


def main() -> None:
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _exit_with_parent(int(sys.argv[2]), "--die-with-parent" in sys.argv[3:])
    commands, broken = {}, None
    try:
        commands = _load(sys.argv[1])
    except BaseException as error:
        traceback.print_exc()
        broken = error
    read = _reader(requests)
    while (message := decode(read)) is not None:
        if broken is not None:
            missing = broken.name if isinstance(broken, ModuleNotFoundError) else None
            what = f"{type(broken).__name__}: {broken}"
            answer, results = {"ok": False, "missing": missing, "what": what, "cause": "", "hint": ""}, []
        else:
            answer, results = _answer(commands, *message)
        for buffer in encode(answer, results):
            view = memoryview(buffer)
            while len(view):
                view = view[answers.write(view) :]
    sys.stdout.flush()
    os._exit(0)  # native libraries have been seen to abort in their own exit handlers


if __name__ == "__main__":
    main()
