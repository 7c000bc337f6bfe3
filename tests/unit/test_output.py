"""Output folders are complete or not written at all, and other files are not touched."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from segexport.errors import InputError, StorageError
from segexport.files.atomic import working_name
from segexport.files.output_folder import copy_tree, new_folder, require_free


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "deep" / "out"
    with new_folder(target) as folder:
        (folder / "a").write_text("x")
        assert not target.exists()
        assert folder.parent == target.parent  # the same file system, so that it appears at once
    assert (target / "a").read_text() == "x"
    assert names(tmp_path / "deep") == ["out"]


@pytest.mark.parametrize("error", [InputError("no"), KeyboardInterrupt(), RuntimeError("bug")])
def test_a_block_that_raises_leaves_nothing(tmp_path, error):
    def fill() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("x")
            raise error

    with pytest.raises(type(error)):
        fill()
    assert names(tmp_path) == []


def test_a_folder_with_files_is_refused_and_kept(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    for replace in (False, True):
        with pytest.raises(InputError) as caught, new_folder(tmp_path / "out", replace=replace):
            pass
        assert caught.value.what == f"{tmp_path / 'out'}: the output folder exists and is not empty"
        assert "thesis.tex" in caught.value.cause
        assert caught.value.hint == "choose another folder with -o, or remove it"
    assert names(tmp_path / "out") == ["thesis.tex"]


def test_an_artifact_is_called_one(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError) as caught:
        require_free(tmp_path)
    assert caught.value.cause == "it contains an artifact: manifest.json"


def test_an_empty_folder_is_free(tmp_path):
    with new_folder(tmp_path) as folder:
        (folder / "a").write_text("x")
    assert names(tmp_path) == ["a"]


def test_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(InputError, match="exists and is a file"):
        require_free(tmp_path / "out", replace=True)


def make_result(folder: Path) -> None:
    (folder / "exports" / "onnx").mkdir(parents=True)
    for name in ("report.json", "report.md", "report.html", "junit.xml"):
        (folder / name).write_text("old")


def test_an_earlier_result_is_replaced_whole(tmp_path):
    make_result(tmp_path / "out")
    with new_folder(tmp_path / "out", replace=True) as folder:
        (folder / "report.json").write_text("new")
        assert (tmp_path / "out/report.json").read_text() == "old"
    assert names(tmp_path / "out") == ["report.json"]
    with pytest.raises(InputError), new_folder(tmp_path / "out"):  # but only where that was asked for
        pass


def test_an_earlier_result_with_something_else_in_it_is_kept(tmp_path):
    make_result(tmp_path / "out")
    (tmp_path / "out" / "notes.md").write_text("mine")
    with pytest.raises(InputError) as caught, new_folder(tmp_path / "out", replace=True):
        pass
    assert "files that segexport did not write" in caught.value.cause
    assert (tmp_path / "out/report.json").read_text() == "old"


def test_a_file_that_appears_during_the_work_is_kept(tmp_path):
    make_result(tmp_path / "out")

    def fill() -> None:
        with new_folder(tmp_path / "out", replace=True) as folder:
            (folder / "report.json").write_text("new")
            (tmp_path / "out" / "notes.md").write_text("mine")

    with pytest.raises(InputError, match="not empty"):
        fill()
    assert (tmp_path / "out/notes.md").read_text() == "mine"
    assert (tmp_path / "out/report.json").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_the_current_folder_and_links_are_resolved(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with new_folder(tmp_path / "link") as folder:
        (folder / "a").write_text("x")
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == ["a"]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with new_folder(Path(".")) as folder:
        (folder / "b").write_text("x")
    assert names(tmp_path / "here") == ["b"]


def test_what_a_killed_run_left_is_removed_and_what_a_living_one_does_is_not(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    own = working_name(tmp_path / "out").name
    killed = tmp_path / own.replace(f"-{os.getpid()}-", f"-{gone.pid}-")
    living = tmp_path / own.replace(f"-{os.getpid()}-", f"-{os.getppid()}-")
    other = tmp_path / ".out.unfinished-notes"
    for folder in (killed, living, other):
        folder.mkdir()
    with new_folder(tmp_path / "out"):
        pass
    assert names(tmp_path) == sorted(["out", living.name, other.name])


def test_a_full_disk_is_an_error_of_storage_and_leaves_nothing(tmp_path):
    def fill() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("x")
            raise OSError(errno.ENOSPC, "No space left on device", str(folder / "more"))

    with pytest.raises(StorageError) as caught:
        fill()
    assert caught.value.cause == "No space left on device"
    assert "free some space" in caught.value.hint
    assert names(tmp_path) == []


def test_a_place_inside_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be written"), new_folder(tmp_path / "file" / "out"):
        pass
    assert names(tmp_path) == ["file"]


def test_copies_have_no_times_or_modes_of_the_originals(tmp_path):
    source = tmp_path / "a"
    (source / "sub" / "empty").mkdir(parents=True)
    (source / "sub" / "x.bin").write_bytes(b"1")
    (source / "sub" / "x.bin").chmod(0o400)
    os.utime(source / "sub" / "x.bin", (0, 0))
    copy_tree(source, tmp_path / "b")
    copied = tmp_path / "b" / "sub" / "x.bin"
    assert copied.read_bytes() == b"1"
    assert copied.stat().st_mode & 0o200
    assert copied.stat().st_mtime > 0
    assert (tmp_path / "b/sub/empty").is_dir()
