"""Whatever a foreign file provokes in a reader becomes an error with its path."""

from __future__ import annotations

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
