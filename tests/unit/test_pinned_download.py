"""A URL is a file only with the digest of what it leads to."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import pytest
from file_server import serving

from segexport.errors import InputError, StorageError, TooLargeError
from segexport.files import pinned_download
from segexport.files.pinned_download import local_file
from segexport.files.store import Store

CONTENT = b"weights" * 100_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "model v1.pdparams").write_bytes(CONTENT)
    with serving(tmp_path / "served") as found:
        yield found


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def refused(source: str, store: Store) -> InputError:
    with pytest.raises(InputError) as caught:
        local_file(source, store)
    assert not [file for file in store.objects.parent.rglob("*") if file.is_file() and "users" not in str(file)]
    return caught.value


def test_a_path_stays_one(store):
    assert local_file("some/model.pdparams", store) == Path("some/model.pdparams")
    assert local_file(Path("model.pdparams"), store) == Path("model.pdparams")


def test_it_is_downloaded_once(server, store):
    address = f"{server.url}/model%20v1.pdparams#sha256={DIGEST.upper()}"
    first = local_file(address, store)
    assert first.name == "model_v1.pdparams"
    assert first.read_bytes() == CONTENT
    assert local_file(address, store) == first
    assert server.asked == ["/model%20v1.pdparams"]
    first.write_bytes(CONTENT[:-1])  # damaged in the store
    assert local_file(address, store).read_bytes() == CONTENT
    assert len(server.asked) == 2


@pytest.mark.parametrize("fragment", ["", "#sha256=", "#sha256=abc", "#md5=" + "0" * 32, "#sha256=" + "g" * 64])
def test_without_a_digest_nothing_is_downloaded(server, store, fragment):
    error = refused(f"{server.url}/model.pdparams{fragment}", store)
    assert error.what == f"{server.url}/model.pdparams{fragment}: a URL without the digest of its file"
    assert error.hint.endswith(f"{server.url}/model.pdparams#sha256=DIGEST")
    assert server.asked == []


def test_another_file_than_the_digest_says(server, store):
    error = refused(f"{server.url}/model%20v1.pdparams#sha256={'0' * 64}", store)
    assert error.what == f"{server.url}/model%20v1.pdparams: not the file that its digest names"
    assert error.cause == f"its sha256 is {DIGEST}, {'0' * 64} is expected"


def test_what_cannot_be_downloaded(server, store, monkeypatch):
    assert refused(f"{server.url}/gone#sha256={DIGEST}", store).cause == "404 File not found"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert "Connection refused" in refused(f"http://127.0.0.1:{port}/a#sha256={DIGEST}", store).cause
    monkeypatch.setattr(pinned_download, "MAX_BYTES", 1 << 19)
    error = refused(f"{server.url}/model%20v1.pdparams#sha256={DIGEST}", store)
    assert isinstance(error, TooLargeError)
    assert error.what.endswith("model%20v1.pdparams: more than 0 MiB")


def test_a_full_disk_is_told_as_one(server, store, monkeypatch):
    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def write(self, _part):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda _path, mode: Full())
    with pytest.raises(StorageError, match="model_v1"):
        local_file(f"{server.url}/model%20v1.pdparams#sha256={DIGEST}", store)
