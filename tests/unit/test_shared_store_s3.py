"""The shared store on a real S3 server, which the test starts: machines, kills, writers at once, and what S3 says."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

pytest.importorskip("moto", reason="the S3 server is moto's: pip install -e '.[dev]'")
pytest.importorskip("s3fs")
import shared_store as benchmark

from segexport.files.shared_store import SharedStore
from segexport.files.store import Store

KEY = benchmark.key_of(0)
ALONE = "cannot be used, going on with the local cache alone: "


@pytest.fixture(scope="module")
def server():
    with benchmark.s3_server() as variables:
        yield variables


@pytest.fixture
def url(server, request) -> str:
    return f"s3://{benchmark.BUCKET}/{request.node.name}"


@pytest.fixture(autouse=True)
def said(caplog, monkeypatch):
    log = logging.getLogger("segexport.store")
    monkeypatch.setattr(log, "propagate", True)  # a test of the command line may have taken its messages
    monkeypatch.setattr(log, "handlers", [])
    caplog.set_level(logging.WARNING, "segexport.store")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "segexport.store"]


def test_two_machines_and_garbage_collection(url, tmp_path, said):
    benchmark.write(tmp_path / "one", url, [0, 1])
    two = Store(tmp_path / "two", SharedStore(url))
    assert [benchmark.read(two, index) for index in (0, 1, 2)] == [(True, 0), (True, 0), (False, 0)]
    assert said() == []
    assert {output.key for output in two.shared.outputs()} == {benchmark.key_of(0), benchmark.key_of(1)}
    assert two.shared.collect(older_than_days=0).in_use == 2


def test_damage_is_no_result(url, tmp_path, said):
    import s3fs

    benchmark.write(tmp_path / "one", url, [0])
    files = s3fs.S3FileSystem(skip_instance_cache=True)
    first = files.find(f"{url}/1/objects")[0]
    files.pipe_file(first, files.cat_file(first)[:-1])
    two = Store(tmp_path / "two", SharedStore(url))
    assert benchmark.read(two, 0) == (False, 0)
    assert "is damaged and not used: part/" in said()[0]
    two.keep(KEY, lambda folder: benchmark.build(0, folder))
    assert benchmark.read(Store(tmp_path / "three", SharedStore(url)), 0) == (True, 0)


def test_a_bucket_that_is_not_there(server, tmp_path, said):
    store = Store(tmp_path / "one", SharedStore("s3://no-such-bucket/x"))
    store.keep(KEY, lambda folder: benchmark.build(0, folder))
    assert benchmark.read(store, 0) == (True, 0)
    assert len(said()) == 1
    assert said()[0].startswith(f"shared store s3://no-such-bucket/x: {ALONE}")
    assert "not-a-secret" not in said()[0]


def test_a_server_that_is_not_there(tmp_path, said, monkeypatch, server):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store = Store(tmp_path / "one", SharedStore("s3://team-models/x", patience_s=5))
    store.keep(KEY, lambda folder: benchmark.build(0, folder))
    assert benchmark.read(store, 0) == (True, 0)
    assert len(said()) == 1
    assert said()[0].startswith(f"shared store s3://team-models/x: {ALONE}")


def test_a_forked_process_opens_its_own_connection(url, tmp_path):
    benchmark.write(tmp_path / "one", url, [0])
    store = Store(tmp_path / "two", SharedStore(url))
    assert store.find(benchmark.key_of(1)) is None  # connected
    child = os.fork()
    if not child:
        os._exit(0 if benchmark.read(store, 0) == (True, 0) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_killed_writers(url, tmp_path):
    found = benchmark.kill_writers(url, 2, tmp_path, outputs=1)
    assert (found["wrong bytes"], found["found after the next run"]) == (0, 2)


def test_writers_that_are_killed_while_they_write_into_a_folder(tmp_path):
    (tmp_path / "mount").mkdir()
    found = benchmark.kill_writers(str(tmp_path / "mount"), 3, tmp_path, outputs=2)
    assert (found["wrong bytes"], found["found after the next run"]) == (0, 6)


def test_writers_at_once(url, tmp_path):
    found = benchmark.write_at_once(url, 3, tmp_path, outputs=2)
    assert found == {"processes": 3, "outputs": 2, "found": 6, "found by one more": 2, "wrong bytes": 0}


@pytest.mark.slow
def test_many_killed_writers(url, tmp_path):
    found = benchmark.kill_writers(url, 20, tmp_path)
    assert (found["wrong bytes"], found["found after the next run"]) == (0, 60)
    assert found["killed while writing"] == 20


@pytest.mark.slow
def test_many_writers_at_once(url, tmp_path):
    found = benchmark.write_at_once(url, 8, tmp_path, outputs=6)
    assert (found["wrong bytes"], found["found"], found["found by one more"]) == (0, 48, 6)
