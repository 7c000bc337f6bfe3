"""The shared store: what one machine made, another finds; what is not whole and true counts as missing."""

from __future__ import annotations

import functools
import http.server
import json
import logging
import os
import pickle
import stat
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import fsspec
import pytest
from test_pipeline import Append, chain, source  # noqa: F401 - a fixture
from test_store import build_artifact

from segexport.artifact import digest_of
from segexport.check.cached import _options
from segexport.errors import EnvironmentMissingError, OptionError, StorageError
from segexport.files import shared_store
from segexport.files.in_time import in_time
from segexport.files.remote_folder import without_secrets
from segexport.files.shared_store import SharedStore, chosen_store
from segexport.files.store import Store
from segexport.pipeline.plan import PlanRunner
from segexport.pipeline.step import StepContext
from segexport.recipe.schema import CheckRecipe

KEY = "ab" + "0" * 62
OTHER = "cd" + "1" * 62
DAY_S = 86400.0


@pytest.fixture(params=["folder", "memory"])
def url(request, tmp_path: Path):
    if request.param == "memory":
        yield "memory://team/segexport"
        fsspec.filesystem("memory").store.clear()
    else:
        (tmp_path / "mount").mkdir()
        yield str(tmp_path / "mount")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store in a mounted folder, whose files a test can damage."""
    (tmp_path / "mount").mkdir()
    return tmp_path / "mount"


@pytest.fixture
def machine(tmp_path: Path):
    """Makes the store of a machine of its own, with a local level and this shared one."""

    def make(name: str, url: object) -> Store:
        return Store(tmp_path / name, SharedStore(str(url), patience_s=20))

    return make


def write(**files: str):
    def build(folder: Path) -> None:
        for name, text in files.items():
            place = folder / name.replace("__", "/")
            place.parent.mkdir(exist_ok=True)
            place.write_text(text)

    return build


def content(path: Path) -> dict[str, str]:
    return {file.relative_to(path).as_posix(): file.read_text() for file in path.rglob("*") if file.is_file()}


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "segexport.store"]


@pytest.fixture(autouse=True)
def heard(caplog, monkeypatch):
    log = logging.getLogger("segexport.store")
    monkeypatch.setattr(log, "propagate", True)  # a test of the command line may have taken its messages
    monkeypatch.setattr(log, "handlers", [])
    caplog.set_level(logging.WARNING, "segexport.store")


def test_what_one_machine_kept_another_finds(url, machine, caplog):
    one, two = machine("one", url), machine("two", url)
    assert two.find(KEY) is None
    kept = one.keep(KEY, write(model="weights", images__a="pixels", empty=""))
    found = two.find(KEY)
    assert found != kept
    assert content(found) == {"model": "weights", "images/a": "pixels", "empty": ""}
    assert (one.origin(KEY), two.origin(KEY)) == ("cache", "shared store")
    assert (two.hits.shared, two.hits.shared_bytes, two.hits.local) == (1, 13, 0)
    assert (one.hits.published, one.hits.published_bytes, one.hits.shared) == (1, 13, 0)
    assert two.hits.shared_seconds > 0
    assert two.find(KEY) == found
    assert two.hits.local == 1
    assert warnings(caplog) == []


def test_a_second_machine_does_no_step(source, url, machine):  # noqa: F811
    first, second, said = Append("x"), Append("y"), []
    steps = chain(first, second)
    PlanRunner(machine("one", url), StepContext()).build("one", source, steps)
    runner = PlanRunner(machine("two", url), StepContext(), said.append)
    built = runner.build("one", source, steps)
    assert (built.path / "model.pdmodel").read_bytes() == b"programxy"
    assert (runner.made.made, runner.made.found, first.runs, second.runs) == (0, 2, 1, 1)
    assert said == ["one: append found in the shared store"] * 2


def test_what_was_made_before_a_store_was_chosen_is_copied_when_it_is_used(url, tmp_path, machine):
    alone = Store(tmp_path / "one")
    alone.keep(KEY, write(a="1"))
    assert alone.shared is None
    assert machine("two", url).find(KEY) is None
    machine("one", url).find(KEY)
    assert content(machine("two", url).find(KEY)) == {"a": "1"}


def test_the_shared_store_is_asked_once_a_day_about_what_is_here(folder, machine):
    one = machine("one", folder)
    one.keep(KEY, write(a="1"))
    used = folder / "1" / "used" / "ab" / KEY
    assert not used.exists()
    one.find(KEY)
    assert not used.exists()
    (note,) = (one.objects.parent / "published").glob("*/*")
    os.utime(note, (0, 0))
    one.find(KEY)
    assert used.exists()


def objects(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "1" / "objects").rglob("*") if path.is_file())


def entry(folder: Path) -> Path:
    return folder / "1" / "entries" / "ab" / f"{KEY}.json"


def truncate(folder: Path) -> None:
    objects(folder)[0].write_bytes(objects(folder)[0].read_bytes()[:-1])


def tamper(folder: Path) -> None:
    objects(folder)[0].write_bytes(objects(folder)[0].read_bytes().swapcase())


def lengthen(folder: Path) -> None:
    objects(folder)[0].write_bytes(objects(folder)[0].read_bytes() + bytes(1 << 20))


def remove(folder: Path) -> None:
    objects(folder)[0].unlink()


def cut_entry(folder: Path) -> None:
    entry(folder).write_bytes(entry(folder).read_bytes()[:-40])


def change_entry(folder: Path) -> None:
    entry(folder).write_text(entry(folder).read_text().replace('"one"', '"two"'))


def no_entry(folder: Path) -> None:
    entry(folder).write_text("<html>503 Service Unavailable</html>")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (truncate, "one: 6 bytes, 7 recorded, or another sha256"),
        (tamper, "one: 7 bytes, 7 recorded, or another sha256"),
        (lengthen, "one: over 7 bytes, 7 recorded, or another sha256"),
        (remove, "a file of it is missing"),
        (cut_entry, "its index entry is not JSON"),
        (change_entry, "its index entry was changed"),
        (no_entry, "its index entry is not JSON"),
    ],
)
def test_what_is_damaged_is_said_made_again_and_replaced(folder, machine, caplog, damage, why):
    machine("one", folder).keep(KEY, write(one="Weights"))
    damage(folder)
    two = machine("two", folder)
    for _ in range(2):
        assert two.find(KEY) is None
    said = [f"shared store {folder}: output {KEY[:16]} is damaged and not used: {why}"]
    assert warnings(caplog) == said
    assert list(two.unfinished.glob("*")) == []
    two.keep(KEY, write(one="Weights"))
    assert content(machine("three", folder).find(KEY)) == {"one": "Weights"}
    assert warnings(caplog) == said


def test_an_artifact_that_is_none_is_replaced_though_its_digests_agree(folder, machine, caplog):
    machine("one", folder).keep(KEY, write(one="this is no artifact"))
    two = machine("two", folder)
    assert two.find_artifact(KEY) is None
    assert warnings(caplog) == [
        f"shared store {folder}: output {KEY[:16]} is damaged and not used: it is not what its step makes"
    ]
    two.keep(KEY, build_artifact)
    assert machine("three", folder).find_artifact(KEY) is not None


def test_an_artifact_that_is_damaged_here_comes_from_the_shared_store(folder, machine, caplog):
    one = machine("one", folder)
    (one.keep(KEY, build_artifact) / "model.onnx").write_bytes(b"changed")
    assert (one.find_artifact(KEY).path / "model.onnx").read_bytes() == b"weights"
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    "path",
    ["../../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "", ".", "a//b", "./a", "nul\0", "x" * 300, "one/below"],
)
def test_an_entry_cannot_write_outside_its_folder(folder, machine, caplog, tmp_path, path):
    """Whoever wrote it knew how digests are made."""
    machine("one", folder).keep(KEY, write(one="Weights", two="Weights"))
    raw = json.loads(entry(folder).read_text())
    raw["files"][1]["path"] = path
    raw["digest"] = digest_of({name: value for name, value in raw.items() if name != "digest"})
    entry(folder).write_text(json.dumps(raw))
    before = sorted(tmp_path.rglob("*"))
    two = machine("two", folder)
    assert two.find(KEY) is None
    assert f"output {KEY[:16]} is damaged and not used: " in warnings(caplog)[0]
    assert not [place for place in set(tmp_path.rglob("*")) - set(before) if "evil" in place.name]
    assert [place for place in two.objects.parent.rglob("*") if place.is_file() and "one" in place.name] == []


@pytest.mark.parametrize("change", [{"format": 2}, {"files": [{}] * 10_001}, {"more": 1}, {"key": OTHER}])
def test_an_entry_of_another_kind_is_not_read(folder, machine, caplog, change):
    machine("one", folder).keep(KEY, write(one="Weights"))
    raw = json.loads(entry(folder).read_text()) | change
    raw["digest"] = digest_of({name: value for name, value in raw.items() if name != "digest"})
    entry(folder).write_text(json.dumps(raw))
    assert machine("two", folder).find(KEY) is None
    assert len(warnings(caplog)) == 1


def test_a_link_in_the_store_is_no_way_out(folder, machine, tmp_path, caplog):
    machine("one", folder).keep(KEY, write(one="Weights"))
    (tmp_path / "secret").write_text("private")
    (place,) = objects(folder)
    place.unlink()
    place.symlink_to(tmp_path / "secret")
    assert machine("two", folder).find(KEY) is None
    assert warnings(caplog)[0].endswith("one: 7 bytes, 7 recorded, or another sha256")


def test_a_store_that_is_not_there_is_said_once_and_does_not_fail_a_run(tmp_path, machine, caplog):
    store = machine("one", tmp_path / "not mounted")
    assert store.find(KEY) is None
    store.keep(KEY, write(a="1"))
    assert content(store.find(KEY)) == {"a": "1"}
    assert store.keep(OTHER, write(a="2")).is_dir()
    assert warnings(caplog) == [
        f"shared store {tmp_path}/not mounted: cannot be used, going on with the local cache alone: "
        "there is no such folder, or it is not mounted"
    ]
    assert not (tmp_path / "not mounted").exists()


def test_a_store_that_breaks_during_a_run(folder, machine, caplog, monkeypatch):
    store = machine("one", folder)
    store.keep(KEY, write(a="1"))
    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.put_file", broken)
    for key in (OTHER, "ef" * 32):
        store.keep(key, write(a="2"))
        assert store.find(key) is not None
    assert warnings(caplog) == [
        f"shared store {folder}: cannot be used, going on with the local cache alone: [Errno 5] Input/output error"
    ]
    assert machine("two", folder).find(OTHER) is None
    assert list((folder / "unfinished").iterdir()) == []


def broken(*_arguments, **_options):
    raise OSError(5, "Input/output error")


def test_what_has_a_name_that_other_systems_lack_stays_here(folder, machine, caplog):
    one = machine("one", folder)
    assert one.keep(KEY, lambda folder: (folder / "a\\b").write_text("1")).is_dir()
    assert warnings(caplog)[0].startswith(f"shared store {folder}: output {KEY[:16]} is not shared: ")
    assert objects(folder) == []
    assert machine("two", folder).find(KEY) is None


def test_a_store_can_be_sent_to_another_process(folder, tmp_path):
    store = pickle.loads(pickle.dumps(Store(tmp_path / "one", SharedStore(str(folder)))))
    store.keep(KEY, write(a="1"))
    assert content(Store(tmp_path / "two", SharedStore(str(folder))).find(KEY)) == {"a": "1"}


def test_a_store_that_hangs_is_left_after_a_while(folder, tmp_path, caplog, monkeypatch):
    machine_store = Store(tmp_path / "one", SharedStore(str(folder), patience_s=0.2))
    release = threading.Event()
    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.open", lambda *_a, **_o: release.wait(30))
    start = time.monotonic()
    assert machine_store.find(KEY) is None
    machine_store.keep(KEY, write(a="1"))
    assert time.monotonic() - start < 10
    release.set()
    assert warnings(caplog)[0].endswith("going on with the local cache alone: no answer within 0 s")


def test_a_full_disk_here_is_no_fault_of_the_store(folder, machine, monkeypatch):
    machine("one", folder).keep(KEY, write(a="1"))
    two = machine("two", folder)
    monkeypatch.setattr(shared_store, "hashlib", SimpleNamespace(sha256=Full))
    with pytest.raises(StorageError, match="cannot be written") as caught:
        two.find(KEY)
    assert caught.value.cause == "No space left on device"


class Full:
    def update(self, _block: bytes) -> None:
        raise OSError(28, "No space left on device")


def test_addresses_that_are_none(machine):
    with pytest.raises(OptionError) as caught:
        machine("one", "nonsense://bucket").find(KEY)
    assert caught.value.what == "nonsense://bucket: not the address of a store"
    assert caught.value.cause == "Protocol not known: nonsense"
    assert caught.value.hint.startswith("s3://BUCKET/FOLDER")


def test_a_missing_package_is_named(machine, monkeypatch):
    def missing(*_arguments, **_options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(EnvironmentMissingError) as caught:
        machine("one", "s3://team/segexport").find(KEY)
    assert caught.value.what == "s3://team/segexport: a package is missing"
    assert (caught.value.cause, caught.value.hint) == ("Install s3fs to access S3", 'pip install "segexport[s3]"')


def test_secrets_are_in_no_message(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "correct-horse-battery")
    monkeypatch.setenv("SEGEXPORT_HARMLESS", "visible-text")
    monkeypatch.setitem(fsspec.config.conf, "s3", {"secret": "in-the-configuration"})
    text = "https://me:hunter2@host/a?X-Amz-Signature=abc 'correct-horse-battery' in-the-configuration visible-text"
    assert without_secrets(text) == "https://***@host/a?*** '***' *** visible-text"


def test_the_address_is_shown_without_its_password(machine, caplog):
    machine("one", "http://me:hunter2@127.0.0.1:9/store").find(KEY)
    (line,) = warnings(caplog)
    assert line.startswith("shared store http://***@127.0.0.1:9/store: cannot be used, going on")
    assert "hunter2" not in line


# -- HTTP --------------------------------------------------------------------------------------------------------


class Handler(http.server.SimpleHTTPRequestHandler):
    asked: ClassVar[list[tuple[str, str]]] = []
    answer = 0

    def do_GET(self) -> None:
        self.asked.append(("GET", self.path))
        if self.answer and "/entries/" in self.path:
            self.send_error(self.answer)
        else:
            super().do_GET()

    def __getattr__(self, name: str):
        if name.startswith("do_"):
            self.asked.append((name[3:], self.path))
        raise AttributeError(name)

    def log_message(self, *_arguments) -> None: ...


@pytest.fixture
def served(folder):
    Handler.asked, Handler.answer = [], 0
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_http_is_read_and_never_written(folder, served, machine, caplog):
    machine("one", folder).keep(KEY, write(model="weights" * 1000, images__a="pixels"))
    two = machine("two", served)
    assert content(two.find(KEY)) == {"model": "weights" * 1000, "images/a": "pixels"}
    assert two.find(OTHER) is None
    two.keep(OTHER, write(a="1"))
    assert two.find(OTHER) is not None
    assert {method for method, _ in Handler.asked} == {"GET"}
    assert warnings(caplog) == []
    assert machine("three", folder).find(OTHER) is None
    with pytest.raises(OptionError) as caught:
        two.shared.collect(older_than_days=0)
    assert caught.value.what == f"{served}: over HTTP, a store is read and not listed or written"


def test_damage_over_http(folder, served, machine, caplog):
    machine("one", folder).keep(KEY, write(one="Weights"))
    tamper(folder)
    assert machine("two", served).find(KEY) is None
    assert warnings(caplog)[0].endswith("one: 7 bytes, 7 recorded, or another sha256")


def test_an_address_without_a_store_is_said(served, machine, caplog):
    assert machine("two", served).find(KEY) is None
    assert warnings(caplog)[0].endswith("there is no store: 1/store.json is missing")


@pytest.mark.parametrize(("answer", "said"), [(403, 0), (404, 0), (503, 1)])
def test_answers_of_a_server(folder, served, machine, caplog, answer, said):
    """403 is what S3 says of what is missing to those who may not list."""
    machine("one", folder).keep(KEY, write(one="Weights"))
    Handler.answer = answer
    assert machine("two", served).find(KEY) is None
    assert len(warnings(caplog)) == said


# -- garbage collection ------------------------------------------------------------------------------------------


def age(folder: Path, key: str, days: float, *names: str) -> None:
    for name in names or ("entries", "used", "objects"):
        for path in (folder / "1" / name).rglob("*"):
            if path.is_file() and key in path.as_posix():
                os.utime(path, (time.time() - days * DAY_S,) * 2)


def test_what_nobody_used_for_long_is_removed(folder, machine):
    one = machine("one", folder)
    one.keep(KEY, write(a="old", b="older"))
    one.keep(OTHER, write(a="young"))
    age(folder, KEY, 31)
    shared = one.shared
    dry = shared.collect(older_than_days=30, dry_run=True)
    assert ([output.key for output in dry.outputs], dry.freed_bytes) == ([KEY], 8)
    assert machine("two", folder).shared.look(KEY) is not None  # looking at it is using it
    assert shared.collect(older_than_days=30).outputs == ()
    age(folder, KEY, 31)
    assert [output.key for output in shared.collect(older_than_days=30).outputs] == [KEY]
    assert [output.key for output in shared.outputs()] == [OTHER]
    assert not [path for path in folder.rglob("*") if KEY in path.as_posix()]
    assert machine("three", folder).find(KEY) is None
    assert content(machine("four", folder).find(OTHER)) == {"a": "young"}


def test_what_is_in_use_stays_at_any_age(folder, machine):
    one = machine("one", folder)
    one.keep(KEY, write(a="1"))
    found = one.shared.collect(older_than_days=0)
    assert (found.outputs, found.in_use) == ((), 1)
    age(folder, KEY, 0.05)  # 72 minutes
    found = one.shared.collect(older_than_days=0)
    assert ([output.key for output in found.outputs], found.in_use) == ([KEY], 0)


def test_a_use_during_garbage_collection_is_seen(folder, machine, monkeypatch):
    one = machine("one", folder)
    one.keep(KEY, write(a="1"))
    age(folder, KEY, 40)
    listed = shared_store._outputs

    def then_used(remote):
        found = list(listed(remote))
        assert machine("two", folder).find(KEY) is not None
        return found

    monkeypatch.setattr(shared_store, "_outputs", then_used)
    assert one.shared.collect(older_than_days=30).in_use == 1
    assert machine("three", folder).find(KEY) is not None


def test_an_upload_that_is_under_way_is_left_alone(folder, machine):
    one = machine("one", folder)
    one.keep(KEY, write(a="1"))
    entry(folder).unlink()  # it will be written last
    assert one.shared.collect(older_than_days=0).leftovers == ()
    (folder / "unfinished" / "half").write_text("?")
    age(folder, KEY, 1.1)
    os.utime(folder / "unfinished" / "half", (0, 0))
    found = one.shared.collect(older_than_days=0)
    assert (len(found.leftovers), found.freed_bytes) == (1, 1)
    assert objects(folder) == []
    assert list((folder / "unfinished").iterdir()) == []


def test_garbage_collection_on_any_file_system(url, machine):
    one = machine("one", url)
    one.keep(KEY, write(a="1"))
    assert one.shared.collect(older_than_days=0).in_use == 1
    assert [(output.key, output.size_bytes) for output in one.shared.outputs()] == [(KEY, 1)]


def test_garbage_collection_of_a_store_that_is_not_there(tmp_path, machine):
    with pytest.raises(StorageError) as caught:
        machine("one", tmp_path / "nowhere").shared.collect(older_than_days=0)
    assert caught.value.what == f"shared store {tmp_path}/nowhere: cannot be reached"
    assert caught.value.cause == "there is no such folder, or it is not mounted"


# -- places and people -------------------------------------------------------------------------------------------


def test_who_may_write_into_the_folder_may_write_into_those_in_it(folder, machine):
    folder.chmod(0o2775)
    before = os.umask(0o077)
    try:
        machine("one", folder).keep(KEY, write(a="1"))
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o777 for path in folder.rglob("*") if path.is_dir()}
    assert modes == {0o775}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()} == {0o664}


def test_a_reader_without_permission_to_write(folder, machine, tmp_path):
    machine("one", folder).keep(KEY, write(a="1"))
    folder.chmod(0o555)
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    temporary = Path(os.environ.get("TMPDIR", "/tmp"))
    for place in (tmp_path, *tmp_path.parents):  # the other user has to get here
        if place.stat().st_uid == os.geteuid() and place.is_relative_to(temporary) and place != temporary:
            place.chmod(place.stat().st_mode | 0o755)
    (tmp_path / "home").mkdir()
    (tmp_path / "home").chmod(0o777)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            said: list[str] = []
            logging.getLogger("segexport.store").warning = lambda text, *more: said.append(text % more)  # type: ignore[method-assign]
            store = Store(tmp_path / "home" / "reader", SharedStore(str(folder)))
            found = store.find(KEY)
            quiet = not said
            for key in (OTHER, "ef" * 32):
                store.keep(key, write(a="2"))
            os.write(writing, json.dumps([found is not None, quiet, said]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    answer = os.read(reading, 10_000)
    os.waitpid(child, 0)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    found, quiet, said = json.loads(answer)
    assert found
    assert quiet
    assert len(said) == 1
    assert said[0].startswith(
        f"shared store {folder}: cannot be written, and is only read: [Errno 13] Permission denied"
    )


def test_which_store_is_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGEXPORT_STORE", str(tmp_path))
    assert chosen_store().url == str(tmp_path)
    assert Store(tmp_path / "a").shared is Store(tmp_path / "b").shared  # it says once what is wrong with it
    monkeypatch.setenv("SEGEXPORT_STORE", "")
    assert chosen_store() is None
    monkeypatch.chdir(tmp_path)
    assert SharedStore("mount").url == str(tmp_path / "mount")
    assert SharedStore("s3://team/x").url == "s3://team/x"


def test_the_key_of_a_check_has_the_content_of_its_reference_and_not_its_path():
    one, two = (CheckRecipe(reference=path, baseline=path) for path in ("/home/me/model.ref", "/builds/7/model.ref"))
    assert _options(one) == _options(two)


def test_counts_survive_a_killed_writer(tmp_path, machine, folder):
    one = machine("one", folder)
    (tmp_path / "one" / "1").mkdir(parents=True)
    for text in ("", "{", '{"local": "many"}', "[]"):
        (tmp_path / "one" / "1" / "hits.json").write_text(text)
        assert one.hits.local == 0
    one.keep(KEY, write(a="1"))
    one.find(KEY)
    assert (one.hits.local, one.hits.published) == (1, 1)


def test_jobs_in_time():
    assert in_time([lambda: 1, lambda: 2], 10) == [1, 2]
    assert in_time([], 10) == []
    with pytest.raises(ZeroDivisionError):
        in_time([lambda: 1 // 0], 10)
    release = threading.Event()
    with pytest.raises(TimeoutError, match="no answer within 0 s"):
        in_time([lambda: release.wait(30)], 0.1)
    release.set()
