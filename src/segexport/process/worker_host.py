"""Runs inside a worker process: loads one worker file and answers its parent's calls. Standard library and NumPy only.

`<python> -I worker_host.py WORKER.py PARENT [--die-with-parent] [--shared FD,FD,FD,FD] [--package FOLDER]` reads calls
from standard input and writes answers to the original standard output. File descriptor 1 is first redirected to
standard error, because native libraries print to it at any time.

A worker file defines `COMMANDS: dict[str, function]`. A function takes `(arguments: dict, arrays: list[ndarray])` and
returns `(answer: dict, arrays: list[ndarray])`. An error that the caller can fix is raised as `WorkerFailure`.

A message is `<4sI`: a magic word and the bytes of its JSON header; the header; then each array's raw bytes. The header
lists the arrays' dtypes and shapes under "arrays". With `--shared`, the arrays of a large message are in memory that
both processes share, at the offset in the header: two slots for calls and two for answers, used in turn, so that the
next call can be written while one runs. A command's input arrays are valid until it has answered.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import json
import mmap
import os
import re
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
_SHARED_FROM_BYTES = 1 << 15  # for smaller messages the pipe is as fast
_ALIGNED_BYTES, _GROWN_BYTES = 64, 1 << 20


class WorkerFailure(Exception):
    """The worker cannot do the job; it reports what, cause and hint."""

    def __init__(self, what: str, cause: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.cause, self.hint = what, cause, hint


EXHAUSTED = re.compile(
    r"bad_alloc|[Cc]annot allocate memory|MemoryError|ResourceExhausted|[Ff]ailed to allocate memory"
)
"""Messages of libraries that ran out of memory."""


def exhausted(error: BaseException | None) -> bool:
    """Whether an error or its cause is a lack of memory, which says nothing about the job."""
    while error is not None:
        if isinstance(error, MemoryError) or EXHAUSTED.search(f"{type(error).__name__}: {error}"):
            return True
        error = error.__cause__ or error.__context__
    return False


class SharedSlot:
    """Shared memory of two processes for the arrays of one message: an anonymous file that ends with both processes."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map: mmap.mmap | None = None

    def put(self, arrays: list[np.ndarray]) -> list[int]:
        """Copies the arrays; returns the offset of each."""
        places, end = [], 0
        for array in arrays:
            places.append(end)
            end += -(-array.nbytes // _ALIGNED_BYTES) * _ALIGNED_BYTES
        if end > os.fstat(self.descriptor).st_size:
            os.ftruncate(self.descriptor, -(-end // _GROWN_BYTES) * _GROWN_BYTES)
        for place, array in zip(places, arrays, strict=True):
            np.copyto(self.view(place, array.dtype, array.shape), array)
        return places

    def view(self, place: int, dtype: np.dtype, shape: list[int]) -> np.ndarray:
        """The array at an offset, without a copy.

        Raises:
            ValueError: It would be outside of the memory.
        """
        count = int(np.prod(shape, dtype=np.int64))
        end, size = place + count * dtype.itemsize, os.fstat(self.descriptor).st_size
        if place < 0 or count < 0 or end > size:
            raise ValueError(f"bytes {place} to {end} of {size}")
        if self._map is None or len(self._map) < end:
            self._map = mmap.mmap(self.descriptor, size)  # the old map exists as long as its arrays
        return np.frombuffer(self._map, dtype, count, place).reshape(shape)


def encode(header: dict, arrays: list[np.ndarray], slot: SharedSlot | None = None) -> list[bytes | memoryview]:
    """A message as buffers to write in order; arrays are copied into a slot or not copied."""
    arrays = [np.asarray(array, order="C") for array in arrays]
    layout = [{"dtype": array.dtype.str, "shape": array.shape} for array in arrays]
    shared = slot is not None and sum(array.nbytes for array in arrays) >= _SHARED_FROM_BYTES
    if shared:
        layout = [{**entry, "at": at} for entry, at in zip(layout, slot.put(arrays), strict=True)]
    text = json.dumps({**header, "arrays": layout}).encode()
    inline = () if shared else arrays
    return [
        _PREFIX.pack(_MAGIC, len(text)) + text,
        *(memoryview(a.reshape(-1).view(np.uint8)) for a in inline if a.nbytes),
    ]


def decode(read, slots: list[SharedSlot] | tuple = ()) -> tuple[dict, list[np.ndarray]] | None:
    """The next message, or None at the end of the stream. `read(n)` returns a writable buffer of n bytes, or None.

    Its header's `slot` is the index in `slots` of the memory with the arrays that are not in the stream.

    Raises:
        ValueError, KeyError, TypeError: The stream does not contain a message.
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
        if "at" in entry:
            arrays.append(slots[header["slot"]].view(entry["at"], dtype, entry["shape"]))
            continue
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
    """Ends this worker after its parent was killed, which changes the parent's id.

    A native call may keep Python from noticing; with `at_once`, Linux sends a signal.
    """
    if at_once and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it had already died
        os._exit(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _make_importable(folder: str) -> None:
    """Makes a package importable from its folder, but not its neighbours, which belong to another Python."""
    name = os.path.basename(folder)
    spec = importlib.util.spec_from_file_location(
        name, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def _load(path: str):
    sys.path.insert(0, os.path.dirname(path))  # -I omits the script's folder; workers import siblings
    sys.modules["worker_host"] = sys.modules[__name__]
    # OpenVINO and NNCF send statistics about their use as soon as they are imported; without this module they cannot.
    sys.modules["openvino_telemetry"] = None
    spec = importlib.util.spec_from_file_location("worker", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.COMMANDS


def _answer(commands: dict, header: dict, arrays: list[np.ndarray]) -> tuple[dict, list[np.ndarray]]:
    try:
        answer, results = commands[header["command"]](header["arguments"], arrays)
        return {"ok": True, **answer}, results
    except WorkerFailure as failure:
        if exhausted(failure):
            return _no_memory(failure), []
        return {"ok": False, "what": failure.what, "cause": failure.cause, "hint": failure.hint}, []
    except BaseException as error:
        traceback.print_exc()
        kind = type(error).__name__
        if isinstance(error, ModuleNotFoundError):
            return {"ok": False, "missing": error.name, "what": str(error), "cause": "", "hint": ""}, []
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return {"ok": False, "full": [error.errno, error.strerror, error.filename]}, []
        if exhausted(error):
            return _no_memory(error), []
        text = " ".join(str(error).split())[:600]
        return {"ok": False, "what": f"{kind}: {text}", "cause": "", "hint": ""}, []


def _option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else ""


def _no_memory(error: BaseException) -> dict:
    return {"ok": False, "exhausted": True, "what": " ".join(f"{type(error).__name__}: {error}".split())[:600]}


def _shared_slots() -> tuple[list[SharedSlot], list[SharedSlot]]:
    """Splits the slots into those for calls and those for answers."""
    if not _option("--shared"):
        return [], []
    descriptors = [int(text) for text in _option("--shared").split(",")]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    slots = [SharedSlot(descriptor) for descriptor in descriptors]
    return slots[:2], slots[2:]


def main() -> None:
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _exit_with_parent(int(sys.argv[2]), "--die-with-parent" in sys.argv[3:])
    calls, results_of = _shared_slots()
    commands, broken = {}, None
    try:
        if _option("--package"):
            _make_importable(_option("--package"))
        commands = _load(sys.argv[1])
    except BaseException as error:
        traceback.print_exc()
        broken = error
    read = _reader(requests)
    while (message := decode(read, calls)) is not None:
        slot = message[0].pop("slot", 0)
        if broken is not None:
            missing = broken.name if isinstance(broken, ModuleNotFoundError) else None
            what = f"{type(broken).__name__}: {broken}"
            answer, results = {"ok": False, "missing": missing, "what": what, "cause": "", "hint": ""}, []
        else:
            answer, results = _answer(commands, *message)
        for buffer in encode({**answer, "slot": slot}, results, results_of[slot] if results_of else None):
            view = memoryview(buffer)
            while len(view):
                view = view[answers.write(view) :]
    sys.stdout.flush()
    os._exit(0)  # some native libraries abort in their exit handlers


if __name__ == "__main__":
    main()
