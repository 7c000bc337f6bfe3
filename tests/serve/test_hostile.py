"""What strangers may send: each is refused with a sentence in PaddleX's form, and the server goes on."""

from __future__ import annotations

import base64
import io
import json
import pickle
import struct
import time
import uuid
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image
from served import png


def picture(kind: str = "PNG", size: tuple[int, int] = (40, 30), **options) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def png_head(width: int, height: int) -> bytes:
    """A PNG that says to be so large, with few bytes in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


def many_scans() -> bytes:
    """A progressive JPEG whose last scan is repeated a thousand times."""
    data = picture("JPEG", (64, 64), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 1000 + data[-2:]


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as found:
        found.writestr("a.png", picture())
    return stream.getvalue()


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit(7)",)


UPLOADS = {
    "empty": (b"", 422, "image: string should have at least 1 character"),
    "text": (b"hello", 422, "image: not an image"),
    "a pickle": (pickle.dumps(Evil()), 422, "image: not an image"),
    "an archive": (archive(), 422, "image: not an image"),
    "an archive with a picture behind it": (archive() + picture(), 422, "image: not an image"),
    "a script with a picture behind it": (b"#!/bin/sh\nexit\n" + picture(), 422, "image: not an image"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', 422, "image: not an image"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 422, "image: not an image"),
    "pdf": (b"%PDF-1.7\n1 0 obj\n", 422, "image: not an image"),
    "half a PNG": (picture()[:1500], 422, "image: the image cannot be decoded"),
    "half a JPEG": (picture("JPEG")[:900], 422, "image: the image cannot be decoded"),
    "noise in a PNG": (picture()[:60] + b"\xff" * 2000, 422, "image: the image cannot be decoded"),
    "20 gigapixels": (png_head(160_000, 125_000), 413, "image: the image is too large"),
    "a side too long": (png_head(160_000, 1), 413, "image: the image is too large, 160000x1 pixels"),
    "2^62 pixels": (png_head(2**31 - 1, 2**31 - 1), 413, "image: the image is too large"),
    "one pixel too many": (png_head(25_000, 1_001), 413, "image: the image is too large"),
    "no pixels": (png_head(0, 5), 422, "image: "),
    "a thousand scans": (many_scans(), 422, "a JPEG with more than 100 scans"),
}


def checked(answer, code: int, message: str) -> None:
    assert (answer.status_code, answer.json()["errorCode"]) == (code, code), answer.text
    content = answer.json()
    assert uuid.UUID(content["logId"])
    assert set(content) == {"logId", "errorCode", "errorMsg"}
    assert message in content["errorMsg"]
    assert "Traceback" not in answer.text
    assert "site-packages" not in answer.text


@pytest.fixture
def unharmed(server):
    """The server; afterwards it has to answer, with the same processes as before."""
    before = server.workers
    yield server
    assert server.post(png(np.zeros((2, 2, 3), np.uint8))).status_code == 200
    assert server.workers == before
    assert server.metric("segexport_queue_requests") == 0
    assert server.metric("segexport_held_bytes") == 0


@pytest.mark.parametrize("name", UPLOADS)
def test_uploads(unharmed, name):
    data, code, message = UPLOADS[name]
    start = time.monotonic()
    checked(unharmed.post(data), code, message)
    assert time.monotonic() - start < 60


def test_of_a_polyglot_only_the_pixels_count(unharmed):
    """A sound picture with something behind it is that picture; nothing of the rest is kept or sent back."""
    secret = b"<script>alert(1)</script>" + archive()
    answer = unharmed.post(picture("GIF", (5, 4)) + secret)
    assert answer.json()["result"]["size"] == [4, 5]
    sent = base64.b64decode(answer.json()["result"]["image"])
    assert sent[:3] == b"\xff\xd8\xff"
    assert b"script" not in sent
    assert b"PK\x03\x04" not in sent


IMAGE = base64.b64encode(picture()).decode()
WRONG_SIZE = "targetSize: it is -1, a number of pixels, or [width, height]"

BODIES = {
    "nothing": (b"", "the body is not JSON"),
    "half an object": (b'{"image": "', "the body is not JSON"),
    "a form": (b"image=" + IMAGE.encode(), "the body is not JSON"),
    "not UTF-8": (b'{"image": "\xff\xfe"}', "the body is not JSON"),
    "a list": (b"[]", "the body is not a JSON object"),
    "a number": (b"5", "the body is not a JSON object"),
    "null": (b"null", "the body is not a JSON object"),
    "no image": (b"{}", "image: it is required"),
    "another key": (
        {"image": IMAGE, "target_size": 5},
        "target_size: no such key; there are image, visualize, targetSize",
    ),
    "an image of a number": ({"image": 5}, "image: input should be a valid string"),
    "an image of null": ({"image": None}, "image: input should be a valid string"),
    "images": ({"image": [IMAGE]}, "image: input should be a valid string"),
    "a path": ({"image": "/etc/passwd"}, "image: neither a URL nor Base64"),
    "a file's URL": ({"image": "file:///etc/passwd"}, "image: neither a URL nor Base64"),
    "letters of no Base64": ({"image": "a*b$" + IMAGE}, "image: neither a URL nor Base64"),
    "cut Base64": ({"image": IMAGE[:41]}, "image: neither a URL nor Base64"),
    "letters beyond ASCII": ({"image": "图像" + IMAGE}, "image: neither a URL nor Base64"),
    "a size of text": ({"image": IMAGE, "targetSize": "512"}, WRONG_SIZE),
    "half a pixel": ({"image": IMAGE, "targetSize": 1.5}, WRONG_SIZE),
    "a size of true": ({"image": IMAGE, "targetSize": True}, WRONG_SIZE),
    "no size": ({"image": IMAGE, "targetSize": 0}, WRONG_SIZE),
    "a negative size": ({"image": IMAGE, "targetSize": [-1, 5]}, WRONG_SIZE),
    "three sides": ({"image": IMAGE, "targetSize": [1, 2, 3]}, WRONG_SIZE),
    "a huge number": (
        b'{"image": "%s", "targetSize": %s}' % (IMAGE.encode(), b"9" * 5000),
        "the body is not JSON: number out of range",
    ),
    "not a number": (b'{"image": "%s", "targetSize": NaN}' % IMAGE.encode(), WRONG_SIZE),
    "visualize of 1": ({"image": IMAGE, "visualize": 1}, "visualize: input should be a valid boolean"),
    "a deep bomb": (b'{"image": ' + b"[" * 500_000, "more than 1000 values"),
    "a wide bomb": (b'{"image": [' + b"{}," * 500_000, "more than 1000 values"),
    "many keys": (json.dumps({str(i): 0 for i in range(5000)}).encode(), "more than 1000 values"),
    "a short deep bomb": (b'{"image": ' + b"[" * 900, "not JSON"),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(unharmed, name):
    body, message = BODIES[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = unharmed.client.post(unharmed.url, content=content)
    checked(answer, 422, message)
    assert len(answer.json()["errorMsg"]) < 700


@pytest.mark.parametrize("size", [60_000, [2048, 2049], [1, 60_000_000], 2**62])
def test_an_input_of_the_network_that_would_be_too_large(unharmed, size):
    answer = unharmed.post(picture(), targetSize=size)
    checked(answer, 413, "x")
    assert "million pixels" in answer.json()["errorMsg"]


def test_a_body_that_says_to_be_too_large(unharmed):
    answer = unharmed.client.post(unharmed.url, content=b" " * (5 << 20))
    checked(answer, 413, "the request's body has more than 4 MiB")


def test_a_body_that_grows_too_large(unharmed):
    """Chunked: no length is told before."""
    answer = unharmed.client.post(unharmed.url, content=(b" " * 65536 for _ in range(100)))
    checked(answer, 413, "the request's body has more than 4 MiB")
