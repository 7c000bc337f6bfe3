"""Two processes, one folder."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from segexport.errors import InputError
from segexport.files.lock import only_user

WAITS = """
import sys, time
from pathlib import Path
from segexport.files.lock import only_user
with only_user(Path(sys.argv[1]), "this training"):
    print("in", flush=True)
    time.sleep(600)
"""


def test_the_second_is_told_and_a_killed_one_holds_nothing(tmp_path):
    with subprocess.Popen([sys.executable, "-c", WAITS, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "in\n"
        told = "this training is under way in another process"
        with pytest.raises(InputError, match=told) as caught, only_user(tmp_path, "this training"):
            raise AssertionError("two in one folder")
        assert str(tmp_path) in caught.value.cause
        assert "the same command" in caught.value.hint
        other.send_signal(signal.SIGKILL)
    with only_user(tmp_path, "this training"):
        pass
    with only_user(tmp_path, "this training"):
        pass
