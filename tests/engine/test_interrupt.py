"""Ctrl-C that Python lost in a destructor."""

from __future__ import annotations

import signal

import pytest

from segexport.engine.interrupt import remembered_interrupt


class Closing:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def usual_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_was_lost_is_remembered():
    with remembered_interrupt() as interrupted:
        assert not interrupted()
        closing = Closing()
        del closing  # raises, and Python drops it
        assert interrupted()


def test_an_interrupt_raises_as_before():
    with pytest.raises(KeyboardInterrupt), remembered_interrupt():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_interrupt_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with remembered_interrupt() as interrupted:
        signal.raise_signal(signal.SIGINT)
        assert not interrupted()
