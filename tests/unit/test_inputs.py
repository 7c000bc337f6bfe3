"""What `predict` takes: arrays, paths, folders, lists, and URLs with their limits."""

from __future__ import annotations

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from segexport.errors import InputError
from segexport.predict import inputs
from segexport.predict.inputs import pictures

RED = (200, 10, 30)


def png(size=(4, 3), color=RED) -> bytes:
    stream = BytesIO()
    Image.new("RGB", size, color).save(stream, "PNG")
    return stream.getvalue()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/a.png":
            self._answer(png())
        elif path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/a.png")
            self.end_headers()
        elif path == "/to_file":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
        elif path == "/text.png":
            self._answer(b"hello")
        elif path == "/cut.png":
            self._answer(png(), length=100_000)
        elif path == "/endless":
            self.send_response(200)
            self.end_headers()
            while True:
                self._write(b"\0" * 65536)
        elif path in ("/slow", "/slow_header"):
            self.send_response(200)
            if path == "/slow":
                self.end_headers()
            else:
                self.flush_headers()
            for _ in range(100):
                self._write(b"x: y\r\n")
                time.sleep(0.05)
        else:
            self.send_error(404)

    def _answer(self, body: bytes, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self._write(body)

    def _write(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()

    def handle(self):
        try:
            super().handle()
        except OSError:  # the other side left, as these tests intend
            self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.daemon_threads = True
    threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    found.server_close()


def refused(source) -> InputError:
    with pytest.raises(InputError) as caught:
        list(pictures(source))
    return caught.value


def test_an_array_is_bgr_as_opencv_reads_it():
    (found,) = pictures(np.full((3, 4, 3), RED[::-1], np.uint8))
    assert found.image.shape == (3, 4, 3)
    assert found.image[0, 0].tolist() == list(RED)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 1)])
def test_a_grey_array_is_repeated(shape):
    (found,) = pictures(np.arange(12, dtype=np.uint8).reshape(shape))
    assert found.image[1, 2].tolist() == [6, 6, 6]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((3, 4, 4), np.uint8), "an array of uint8 [3, 4, 4] is not an image"),
        (np.zeros((3, 4, 3), np.float32), "an array of float32 [3, 4, 3] is not an image"),
        (np.zeros((0, 4, 3), np.uint8), "an array of uint8 [0, 4, 3] is not an image"),
        (np.zeros(5, np.uint8), "an array of uint8 [5] is not an image"),
        (np.zeros((1, 3, 4, 3), np.uint8), "an array of uint8 [1, 3, 4, 3] is not an image"),
    ],
)
def test_other_arrays_are_refused(array, said):
    error = refused(array)
    assert error.what == said
    assert "uint8 (height, width, 3) in BGR order" in error.cause


def test_paths_folders_and_lists(tmp_path):
    for name in ("b.png", "a.png"):
        (tmp_path / name).write_bytes(png())
    (tmp_path / "notes.txt").write_text("no image")
    array = np.zeros((2, 2), np.uint8)
    a, b = str(tmp_path / "a.png"), str(tmp_path / "b.png")
    assert [one.name for one in pictures(a)] == [a]
    assert [one.name for one in pictures(tmp_path)] == [a, b]
    both = [array, tmp_path, [b, array], {"img": a}]
    assert [one.name for one in pictures(both)] == ["array_0", a, b, b, "array_1", a]
    assert list(pictures([])) == []


def test_images_are_decoded_one_after_the_other(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "b.png").write_bytes(b"broken")
    found = pictures(tmp_path)
    assert next(found).image.shape == (3, 4, 3)
    with pytest.raises(InputError, match=r"b\.png: not an image"):
        next(found)


def test_what_is_no_input(tmp_path):
    assert refused(5).what == "predict takes no int"
    assert refused({"image": "a.png"}).what == "predict takes no dict"
    assert refused(None).what == "predict takes no NoneType"
    assert refused(tmp_path).what == f"{tmp_path}: no images in this folder"
    assert str(tmp_path / "gone.png") in refused(tmp_path / "gone.png").what


def test_a_url(server):
    (found,) = pictures(f"{server}/a.png?size=1")
    assert found.name == f"{server}/a.png?size=1"
    assert found.image[0, 0].tolist() == list(RED)
    (found,) = pictures(f"{server}/moved")
    assert found.image.shape == (3, 4, 3)


def test_urls_that_give_no_image(server):
    error = refused(f"{server}/gone.png")
    assert (error.what, error.cause) == (f"{server}/gone.png: cannot be downloaded", "404 Not Found")
    assert "file:///etc/passwd" in refused(f"{server}/to_file").cause
    assert refused(f"{server}/text.png").what == f"{server}/text.png: not an image"
    assert "are missing" in refused(f"{server}/cut.png").cause
    assert "cannot be downloaded" in refused("http://127.0.0.1/a b").what
    assert "cannot be downloaded" in refused("http://[").what


def test_nobody_listens(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert "Connection refused" in refused(f"http://127.0.0.1:{taken.getsockname()[1]}/a.png").cause


def test_a_download_is_limited_in_size(server, monkeypatch):
    monkeypatch.setattr(inputs, "MAX_DOWNLOAD_BYTES", 1 << 20)
    assert refused(f"{server}/endless").what == f"{server}/endless: more than 1 MiB"


@pytest.mark.parametrize("path", ["slow", "slow_header"])
def test_a_download_is_limited_in_time(server, monkeypatch, path):
    """A byte now and then does not extend it."""
    monkeypatch.setattr(inputs, "DOWNLOAD_TIMEOUT_S", 0.3)
    start = time.monotonic()
    assert refused(f"{server}/{path}").cause == "not there in 0.3 s"
    assert time.monotonic() - start < 60  # and not for ever
