"""A Python that starts workers in a few milliseconds, by forking a process that has loaded the worker's file.

The sweep starts about ten thousand workers, most of which run shorter than their imports. `quick_workers` sets
$SEGEXPORT_PYTHON to a replacement of the interpreter. For a known worker, the replacement passes its streams to the
serving process and exits like the forked worker, by a signal if necessary; for anything else, it becomes the real
interpreter.
"""

from __future__ import annotations

import array
import ast
import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_MOST_BYTES = 1 << 20  # largest request: arguments and environment


@contextlib.contextmanager
def quick_workers(host: Path, scripts: Sequence[Path]) -> Iterator[None]:
    """Forks workers of these files while the context is open.

    Args:
        host: `worker_host.py`, the program that every worker runs.
        scripts: Worker files whose modules the running interpreter has.
    """
    from segexport.process.interpreter import forget_interpreters  # the replacement runs this file without it

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as servers:
        python = Path(folder) / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{__file__}" "{folder}" "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        for script in scripts:
            command = [sys.executable, "-I", __file__, "--serve", str(_address(folder, script)), str(host), str(script)]
            server = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
            servers.callback(server.wait)
            servers.callback(server.kill)
        while not all(_address(folder, script).exists() for script in scripts):
            time.sleep(0.05)
        before = os.environ.get("SEGEXPORT_PYTHON")
        os.environ["SEGEXPORT_PYTHON"] = str(python)
        forget_interpreters()
        try:
            yield
        finally:
            del os.environ["SEGEXPORT_PYTHON"]
            if before is not None:
                os.environ["SEGEXPORT_PYTHON"] = before
            forget_interpreters()


def _address(folder: str, script: str | Path) -> Path:
    return Path(folder) / f"{Path(script).stem}.socket"


# -- the process that a worker is forked from ----------------------------------------------------------------------


def serve(address: str, host: str, script: str) -> None:
    """Loads the worker and forks it for each connection; ends with its parent."""
    sys.path.insert(0, str(Path(host).parent))
    worker_host = importlib.import_module(Path(host).stem)
    commands = worker_host._load(script)
    for name in _imported(Path(script).read_text()):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    worker_host._load = lambda _path: commands
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address + ".new")
        listener.listen()
        os.rename(address + ".new", address)
        while os.getppid() == parent:
            if select.select([listener], [], [], 1.0)[0]:
                connection, _ = listener.accept()
                if os.fork() == 0:
                    listener.close()
                    _watch(connection, worker_host)
                connection.close()


def _imported(source: str) -> list[str]:
    """The modules that a file imports, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


def _watch(connection: socket.socket, worker_host) -> None:
    """Forks the worker and reports its end; ends it if the requesting process has gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, streams, *_ = socket.recv_fds(connection, _MOST_BYTES, 16)
    asked = json.loads(request)
    watcher = os.getpid()
    if (worker := os.fork()) == 0:
        connection.close()
        for found, wanted in _out_of_the_way(streams, asked["numbers"]):
            os.dup2(found, wanted)
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv = [asked["arguments"][0], asked["arguments"][1], str(watcher), *asked["arguments"][3:]]
        worker_host.main()
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(worker)
    if ended not in select.select([connection, ended], [], [])[0]:
        os.kill(worker, signal.SIGKILL)
    _, status = os.waitpid(worker, 0)
    with contextlib.suppress(OSError):
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _out_of_the_way(streams: list[int], numbers: list[int]) -> list[tuple[int, int]]:
    """Moves descriptors so that none has a number that another one needs; returns each with its target number."""
    high = max(*streams, *numbers) + 1
    return [
        (os.dup2(stream, high + place), number)
        for place, (stream, number) in enumerate(zip(streams, numbers, strict=True))
    ]


# -- the replacement of the interpreter ----------------------------------------------------------------------------


def stand_in(folder: str, python: str, arguments: list[str]) -> None:
    """Exits like the requested worker, or becomes `python`."""
    words = [word for word in arguments if word not in ("-I", "-u")]
    address = _address(folder, words[1]) if len(words) > 2 else Path(folder) / "none"
    if not address.exists():
        os.execv(python, [python, *arguments])
    numbers = [0, 1, 2]
    if "--shared" in words:
        numbers += map(int, words[words.index("--shared") + 1].split(","))
    asked = {"arguments": words, "numbers": numbers, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(address))
        socket.send_fds(connection, [json.dumps(asked).encode()], array.array("i", numbers))
        for number in numbers:
            os.close(number)
        code = int(connection.recv(16) or b"1")
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(*sys.argv[2:5])
    else:
        stand_in(sys.argv[1], sys.argv[2], sys.argv[3:])
