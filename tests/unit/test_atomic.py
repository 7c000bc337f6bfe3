"""Files and folders appear whole or not at all; no two runs share a working name; what a killed run left goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segexport.errors import InputError, StorageError
from segexport.files.atomic import is_abandoned, whole_file, whole_folder, working_name, write_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_the_block_ends_well(tmp_path):
    with whole_file(tmp_path / "new" / "a.txt") as work:
        work.write_text("x")
        assert not (tmp_path / "new" / "a.txt").exists()
    assert names(tmp_path / "new") == ["a.txt"]


def test_an_error_leaves_the_old_file(tmp_path):
    path = write_file(tmp_path / "a.txt", "old")

    def fail() -> None:
        with whole_file(path) as work:
            work.write_text("half")
            raise InputError("stop")

    with pytest.raises(InputError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_what_must_not_be_replaced_stays(tmp_path):
    path = write_file(tmp_path / "a.txt", b"old")
    with pytest.raises(InputError, match="exists"):
        write_file(path, b"new", replace=False)
    with pytest.raises(InputError, match="is a folder"):
        write_file(tmp_path, b"new")
    assert path.read_bytes() == b"old"


def test_a_name_as_long_as_the_file_system_takes(tmp_path):
    path = tmp_path / ("a" * 251 + ".txt")
    assert write_file(path, "x").read_text() == "x"
    with whole_folder(tmp_path / ("b" * 255)) as work:
        (work / "c").write_text("y")
    assert names(tmp_path) == [path.name, "b" * 255]


def test_every_run_has_a_working_name_of_its_own(tmp_path):
    assert working_name(tmp_path / "a") != working_name(tmp_path / "a")
    with whole_file(tmp_path / "a") as outer, whole_file(tmp_path / "a") as inner:
        outer.write_text("outer")
        inner.write_text("inner")
    assert (tmp_path / "a").read_text() == "outer"


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_an_error_of_a_connection_in_the_block_is_none_of_the_disk(tmp_path, whole):
    with pytest.raises(OSError, match=r"^the stream is closed$"), whole(tmp_path / "out"):
        raise OSError("the stream is closed")
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["whole_file", "whole_folder"])
def test_the_next_run_removes_what_a_killed_one_left(tmp_path, kind):
    source = (
        "import sys, time; from pathlib import Path; from segexport.files import atomic\n"
        f"with atomic.{kind}(Path(sys.argv[1])) as work:\n"
        "    (work / 'half' if work.is_dir() else work).write_text('x')\n"
        "    print('writing', flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", source, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        with whole_file(tmp_path / "out") as work:
            work.write_text("mine")
        assert len(names(tmp_path)) == 2  # it is alive, so its work stays
        process.send_signal(signal.SIGKILL)
    write_file(tmp_path / "out", "again")
    assert names(tmp_path) == ["out"]


def test_the_leftover_of_another_machine_goes_after_a_day(tmp_path):
    machine = working_name(tmp_path / "a").name.partition("unfinished-")[2].partition("-")[0]
    foreign = tmp_path / working_name(tmp_path / "a").name.replace(machine, "00000000")
    foreign.write_text("x")
    assert not is_abandoned(foreign)
    then = time.time() - 2 * 86400
    os.utime(foreign, (then, then))
    assert is_abandoned(foreign)


def test_a_folder_that_cannot_be_written_is_an_error_of_storage(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be written"):
        write_file(tmp_path / "file" / "below.txt", "x")
