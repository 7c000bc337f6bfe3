"""Whatever a foreign file provokes in a reader becomes an error with its path."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from segexport.errors import InputError, UnsupportedModelError
from segexport.files.foreign import guarded, reading


@pytest.mark.parametrize(
    "error", [KeyError("x"), RecursionError("deep"), MemoryError(), OverflowError("inf"), AssertionError(), TypeError()]
)
def test_any_exception_becomes_an_error(error):
    @guarded("a deploy file")
    def read(path: Path) -> None:
        raise error

    with pytest.raises(InputError, match=r"^a/deploy.yaml: not a deploy file, or a damaged one") as caught:
        read(Path("a/deploy.yaml"))
    assert caught.value.cause.startswith(type(error).__name__)
    assert caught.value.__cause__ is error


def test_errors_that_say_what_they_mean_pass():
    with pytest.raises(UnsupportedModelError, match="no such operator"), reading("a", "b"):
        raise UnsupportedModelError("no such operator")


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read") as caught, reading(tmp_path, "JSON"):
        tmp_path.read_bytes()
    assert caught.value.cause == "Is a directory"


def test_what_the_user_stops_stays_stopped():
    with pytest.raises(KeyboardInterrupt), reading("a", "b"):
        raise KeyboardInterrupt


def test_a_device_is_not_read_to_its_end():
    with pytest.raises(InputError, match="/dev/zero: not a file") as caught, reading(Path("/dev/zero"), "x"):
        raise AssertionError("opened")
    assert caught.value.cause == "it is a device"


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_named_pipe_and_a_socket_are_not_waited_for(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # a socket's path has about 100 bytes
    if kind == "pipe":
        os.mkfifo("x")
    else:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("x")
    with pytest.raises(InputError, match="x: not a file") as caught, reading(Path("x"), "JSON"):
        raise AssertionError("opened")
    assert caught.value.cause == f"it is a {'named pipe' if kind == 'pipe' else 'socket'}"


def test_what_a_shell_gives_for_a_command_is_read():
    """`<(...)` is a pipe too, and its writer is there."""
    out, into = os.pipe()
    os.write(into, b"a: 1")
    os.close(into)
    with reading(Path(f"/dev/fd/{out}"), "YAML"):
        assert Path(f"/dev/fd/{out}").read_bytes() == b"a: 1"
    os.close(out)


def test_a_name_of_another_encoding(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9")
    path.mkdir()
    with pytest.raises(InputError, match="the name is not UTF-8") as caught, reading(path, "x"):
        raise AssertionError("opened")
    assert "convmv" in caught.value.hint
