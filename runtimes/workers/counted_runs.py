"""Runs an ONNX model 2N times on one thread, for an instruction counter that is read after N runs and after all.

    counted_runs.py MODEL N INPUT.npy...           an emulator around it counts; `os.getppid` tells it when to read
    counted_runs.py --here MODEL N INPUT.npy...    the kernel counts; prints both counts

`--here` exits with 3 and a reason if the kernel has no instruction counter.
"""

from __future__ import annotations

import os
import platform
import struct
import sys

import numpy as np
import onnxruntime as ort

NO_COUNTER = 3
_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}  # system call numbers
_HARDWARE, _INSTRUCTIONS = 0, 1  # PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS
_USER_ONLY = 1 << 5 | 1 << 6  # exclude_kernel, exclude_hv
_ATTRIBUTES_BYTES = 128


def main(arguments: list[str]) -> int:
    here = arguments[:1] == ["--here"]
    model, runs, *inputs = arguments[here:]
    counter = None
    if here:
        try:
            counter = open_counter()
        except OSError as error:
            print(f"this kernel has no instruction counter: {error.strerror}", file=sys.stderr)
            return NO_COUNTER
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {given.name: np.load(file) for given, file in zip(session.get_inputs(), inputs, strict=True)}
    names = [answer.name for answer in session.get_outputs()]
    counts = []
    for _ in range(2):
        for _ in range(int(runs)):
            session.run(names, feed)
        counts.append(os.getppid() if counter is None else read_counter(counter))
    if counter is not None:
        print(*counts)
    return 0


def open_counter(kind: int = _HARDWARE, event: int = _INSTRUCTIONS) -> int:
    """Returns a descriptor that counts an event of this thread in user mode from now on; see perf_event_open(2).

    Raises:
        OSError: The kernel or the processor has no such counter, or does not allow it.
    """
    import ctypes  # not at the top: the emulated Python has no libffi

    number = _PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        raise OSError(0, f"not known on {platform.machine()}")
    attributes = bytearray(_ATTRIBUTES_BYTES)
    struct.pack_into("IIQ", attributes, 0, kind, _ATTRIBUTES_BYTES, event)
    struct.pack_into("Q", attributes, 40, _USER_ONLY)
    library = ctypes.CDLL(None, use_errno=True)
    block = (ctypes.c_char * _ATTRIBUTES_BYTES).from_buffer(attributes)
    found = library.syscall(number, block, 0, -1, -1, 0)
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found


def read_counter(counter: int) -> int:
    return struct.unpack("Q", os.read(counter, 8))[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
