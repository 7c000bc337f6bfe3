"""The store: entries appear whole or not at all, whoever else is at work and whatever the disk says."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segexport.artifact import Manifest, TargetDevice, file_entry, write_artifact
from segexport.errors import InputError, StorageError
from segexport.files.store import Store, default_root
from segexport.spec import Format, Label, Precision, Preprocess, TensorSpec

KEY = "ab" + "0" * 62
OTHER = "cd" + "1" * 62


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def write(text: str, name: str = "a.txt"):
    return lambda folder: (folder / name).write_text(text)


def leftovers(store: Store) -> list[str]:
    return sorted(path.name for path in store.unfinished.glob("*"))


def build_artifact(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"weights")
    tensor = TensorSpec(name="x", dtype="float32", shape=(1, 3, 4, 4), layout="NCHW", semantics="image")
    manifest = Manifest(
        name="m",
        format=Format.ONNX,
        files=(file_entry(folder, "model.onnx"),),
        inputs=(tensor,),
        outputs=(tensor,),
        preprocess=Preprocess(),
        labels=(Label(id=0, name="a", rgb=(0, 0, 0)), Label(id=1, name="b", rgb=(1, 1, 1))),
        target=TargetDevice(arch="any", precision=Precision.FP32),
    )
    write_artifact(folder, manifest)


def test_what_was_kept_is_found(store):
    assert store.find(KEY) is None
    path = store.keep(KEY, write("hello"))
    assert store.find(KEY) == path
    assert (path / "a.txt").read_text() == "hello"
    assert store.find(OTHER) is None
    assert leftovers(store) == []


@pytest.mark.parametrize("error", [InputError("no good"), KeyboardInterrupt(), RuntimeError("a bug")])
def test_a_build_that_raises_leaves_nothing(store, error):
    def build(folder: Path) -> None:
        (folder / "half.bin").write_bytes(b"x" * 1000)
        raise error

    with pytest.raises(type(error)) as caught:
        store.keep(KEY, build)
    assert caught.value is error
    assert store.find(KEY) is None
    assert leftovers(store) == []


def test_the_first_of_two_equal_outputs_stays(store):
    def build(folder: Path) -> None:
        store.keep(KEY, write("first"))  # another run finishes in the meantime
        (folder / "a.txt").write_text("second")

    path = store.keep(KEY, build)
    assert (path / "a.txt").read_text() == "first"
    assert leftovers(store) == []


RACE = """
import sys, time
from pathlib import Path
from segexport.files.store import Store

def build(folder):
    for index in range(50):
        (folder / f"{index}.txt").write_text(sys.argv[3])
    time.sleep(0.2)

store = Store(Path(sys.argv[1]))
print("ready", flush=True); sys.stdin.readline()
path = store.keep(sys.argv[2], build)
words = {file.read_text() for file in path.iterdir()}
assert len(list(path.iterdir())) == 50 and len(words) == 1, words
"""


def test_processes_that_keep_the_same_key_do_not_mix(store, tmp_path):
    command = [sys.executable, "-c", RACE, str(tmp_path / "store"), KEY]
    running = [
        subprocess.Popen([*command, word], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for word in ("one", "two", "three")
    ]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        process.communicate(timeout=30)
        assert process.returncode == 0
    assert len(list(store.find(KEY).iterdir())) == 50
    assert leftovers(store) == []


def test_equal_process_ids_do_not_share_a_folder(store):
    """Containers that share a store often have the same process ids."""

    def build(folder: Path) -> None:
        (folder / "a.txt").write_text("outer")

        def other(inner: Path) -> None:
            assert inner != folder
            (inner / "b.txt").write_text("inner")
            raise InputError("the other one fails")

        with pytest.raises(InputError):
            store.keep(KEY, other)
        assert (folder / "a.txt").read_text() == "outer"

    assert [file.name for file in store.keep(KEY, build).iterdir()] == ["a.txt"]


def test_a_killed_build_is_not_found_and_gc_removes_what_it_left(store, tmp_path):
    source = (
        "import sys, time; from pathlib import Path; from segexport.files.store import Store\n"
        "def build(folder):\n"
        "    (folder / 'half').write_text('x'); print('building', flush=True); time.sleep(600)\n"
        "Store(Path(sys.argv[1])).keep(sys.argv[2], build)\n"
    )
    command = [sys.executable, "-c", source, str(tmp_path / "store"), KEY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "building\n"
        store.collect(older_than_days=0)
        assert len(leftovers(store)) == 1  # it is alive, so its work stays
        process.send_signal(signal.SIGKILL)
    assert store.find(KEY) is None
    assert len(leftovers(store)) == 1
    assert store.collect(older_than_days=30) == (0, 0)
    assert leftovers(store) == []
    assert (store.keep(KEY, write("again")) / "a.txt").read_text() == "again"


def test_gc_removes_what_was_not_used_for_long(store):
    old, young = store.keep(KEY, write("12345")), store.keep(OTHER, write("1234567"))
    days_ago = time.time() - 10 * 86400
    os.utime(old, (days_ago, days_ago))
    assert [(entry.key, entry.size_bytes) for entry in store.entries()] == [(KEY, 5), (OTHER, 7)]
    assert store.collect(older_than_days=11) == (0, 0)
    assert store.collect(older_than_days=9) == (1, 5)
    assert (old.exists(), young.exists()) == (False, True)
    assert store.collect(older_than_days=0) == (1, 7)
    assert list(store.entries()) == []


def test_gc_leaves_what_a_running_process_has_used(store, tmp_path):
    """It has found its input in the store, and reads it now; another, older output goes."""
    used, old = store.keep(KEY, write("in use")), store.keep(OTHER, write("x"))
    for path in (used, old):
        os.utime(path, (0, 0))
    source = (
        "import sys, time; from pathlib import Path; from segexport.files.store import Store\n"
        "print(Store(Path(sys.argv[1])).find(sys.argv[2]) is not None, flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", source, str(tmp_path / "store"), KEY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "True\n"
        assert store.collect(older_than_days=0) == (1, 1)
        assert (used.exists(), old.exists()) == (True, False)
        process.send_signal(signal.SIGKILL)
    assert store.collect(older_than_days=0) == (1, 6)
    assert not used.exists()


def test_finding_renews_the_time_of_use(store):
    path = store.keep(KEY, write("x"))
    os.utime(path, (0, 0))
    store.find(KEY)
    assert store.collect(older_than_days=1) == (0, 0)


def test_gc_removes_trainings_that_nobody_went_on_with(store):
    """One that may be under way stays, whatever age is asked for."""
    root = store.objects.parent.parent / "training"
    for name, age_days in (("left", 40), ("young", 0.5)):
        (root / name).mkdir(parents=True)
        (root / name / "checkpoint.npz").write_bytes(b"1234")
        then = time.time() - age_days * 86400
        for path in (root / name / "checkpoint.npz", root / name):
            os.utime(path, (then, then))
    assert store.collect(older_than_days=50) == (0, 0)
    assert store.collect(older_than_days=0) == (1, 4)
    assert [folder.name for folder in root.iterdir()] == ["young"]


def test_gc_of_a_store_that_is_not_there_or_holds_strange_things(store, tmp_path):
    assert store.collect(older_than_days=0) == (0, 0)
    store.keep(KEY, write("x"))
    (store.unfinished / ".DS_Store").write_text("")
    (store.unfinished / "notes-of-mine").mkdir()
    (store.objects / "ab" / "stray.txt").write_text("??")
    assert store.collect(older_than_days=0) == (2, 1)
    assert leftovers(store) == [".DS_Store", "notes-of-mine"]


def test_an_artifact_is_found_whole(store):
    assert store.find_artifact(KEY) is None
    path = store.keep(KEY, build_artifact)
    assert store.find_artifact(KEY).path == path


@pytest.mark.parametrize("damage", ["changed", "truncated", "missing file", "missing manifest", "bad manifest"])
def test_a_damaged_artifact_is_forgotten(store, damage):
    path = store.keep(KEY, build_artifact)
    model, manifest = path / "model.onnx", path / "manifest.json"
    if damage == "changed":
        model.write_bytes(b"WEIGHTS")
    elif damage == "truncated":
        model.write_bytes(b"")
    elif damage == "missing file":
        model.unlink()
    elif damage == "missing manifest":
        manifest.unlink()
    else:
        manifest.write_text("{")
    assert store.find_artifact(KEY) is None
    assert not path.exists()
    assert leftovers(store) == []
    assert store.keep(KEY, build_artifact) == path
    assert store.find_artifact(KEY) is not None


def test_a_full_disk(store):
    def build(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "model.onnx"))

    with pytest.raises(StorageError) as caught:
        store.keep(KEY, build)
    assert caught.value.what.endswith("model.onnx: cannot be written")
    assert caught.value.cause == "No space left on device"
    assert caught.value.hint == "free some space; `segexport cache gc` removes old outputs"
    assert (store.find(KEY), leftovers(store)) == (None, [])


def test_a_real_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        store = Store(disk)
        with pytest.raises(StorageError) as caught:
            store.keep(KEY, lambda folder: (folder / "large").write_bytes(bytes(1 << 20)))
        assert caught.value.cause == "No space left on device"
        assert (store.find(KEY), leftovers(store)) == (None, [])
        store.keep(KEY, write("small"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_file_size_limit_is_an_error_of_storage(tmp_path):
    """RLIMIT_FSIZE, what a full disk looks like to a user who is not root."""
    source = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from segexport.errors import StorageError; from segexport.files.store import Store\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: Store(Path(sys.argv[1])).keep('ab' * 32, lambda d: (d / 'x').write_bytes(bytes(1 << 20)))\n"
        "except StorageError as error: print(error.cause)\n"
    )
    done = subprocess.run([sys.executable, "-c", source, str(tmp_path)], capture_output=True, text=True, timeout=30)
    assert done.stdout == "File too large\n"
    assert leftovers(Store(tmp_path)) == []


def test_a_store_that_is_a_file(tmp_path):
    (tmp_path / "store").write_text("in the way")
    store = Store(tmp_path / "store")
    assert store.find(KEY) is None
    with pytest.raises(StorageError, match="cannot be written"):
        store.keep(KEY, write("x"))


READ_ONLY = """
import os, sys
from pathlib import Path
from segexport.errors import StorageError
from segexport.files.store import Store
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
store = Store(Path(sys.argv[1]))
assert (store.find(sys.argv[2]) / "a.txt").read_text() == "hello"
store.discard(sys.argv[2])
assert store.find(sys.argv[2]) is not None
for act in (lambda: store.keep("ef" * 32, lambda folder: None), lambda: store.collect(older_than_days=0)):
    try: act()
    except StorageError as error: print(error.cause, "|", error.hint)
"""


def test_a_read_only_store_is_read(tmp_path):
    root = tmp_path / "store"
    os.utime(Store(root).keep(KEY, write("hello")), (0, 0))
    for folder in (tmp_path, *tmp_path.parents):  # another user has to get here
        if folder.stat().st_uid == os.geteuid() and folder.is_relative_to(Path(os.environ.get("TMPDIR", "/tmp"))):
            folder.chmod(folder.stat().st_mode | 0o755 if folder != Path("/tmp") else folder.stat().st_mode)
    made_read_only = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in made_read_only:
        folder.chmod(0o555)
    try:
        command = [sys.executable, "-c", READ_ONLY, str(root), KEY]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.stderr == ""
        line = "Permission denied | choose another place: $SEGEXPORT_CACHE for the cache, -o for the output"
        assert done.stdout.splitlines() == [line, line]
    finally:
        for folder in made_read_only:
            folder.chmod(0o755)


def test_where_the_store_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGEXPORT_CACHE", "/elsewhere")
    assert default_root() == Path("/elsewhere")
    monkeypatch.delenv("SEGEXPORT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "segexport"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_root() == Path("/home/somebody/.cache/segexport")
    assert Store().objects == Path("/home/somebody/.cache/segexport/1/objects")
