"""A model that finds objects, served with the forms of PaddleX's instance segmentation."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from installed import require
from PIL import Image
from served import Server, png

import segexport

DETECTOR = Path(__file__).resolve().parents[1] / "instance" / "detector.py"


@pytest.fixture(scope="module")
def detector(needed, tmp_path_factory) -> Path:
    """Finds red and green shapes on black."""
    require("paddle", "pycocotools")
    folder = tmp_path_factory.mktemp("detector") / "net"
    subprocess.run([sys.executable, str(DETECTOR), str(folder), "96x128"], check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def server(detector, tmp_path_factory):
    found = Server(tmp_path_factory.mktemp("server"), detector)
    yield found
    assert found.stop() == 0
    assert "Traceback" not in found.log


def shapes() -> np.ndarray:
    image = np.zeros((96, 128, 3), np.uint8)
    image[20:60, 10:50, 0] = 255
    image[30:50, 80:100, 1] = 255
    return image


def test_objects_are_those_of_predict(server, detector):
    from pycocotools import mask as rle

    with segexport.load(detector) as model:
        found = model.predict(np.ascontiguousarray(shapes()[:, :, ::-1]), score_threshold=0.5)
    assert len(found) >= 2
    answer = server.post(png(shapes()))
    assert answer.status_code == 200, answer.text
    result = answer.json()["result"]
    assert list(result) == ["instances", "image"]
    assert len(result["instances"]) == len(found)
    for told, one in zip(result["instances"], found, strict=True):
        assert list(told) == ["bbox", "categoryId", "categoryName", "score", "mask"]
        left, top, width, height = one["bbox"]
        assert told["bbox"] == pytest.approx([left, top, left + width, top + height])
        assert (told["categoryId"], told["categoryName"]) == (one["category_id"], one["category"])
        assert told["score"] == pytest.approx(one["score"])
        assert told["mask"]["size"] == [96, 128]
        mask = rle.decode({"size": told["mask"]["size"], "counts": told["mask"]["rleResult"].encode()})
        assert np.array_equal(mask, one["mask"])
    picture = Image.open(io.BytesIO(base64.b64decode(result["image"])))
    assert (picture.format, picture.size) == ("JPEG", (128, 96))


def test_threshold_and_visualize(server):
    result = server.post(png(shapes()), threshold=1.0, visualize=False).json()["result"]
    assert result == {"instances": []}
    assert len(server.post(png(shapes()), threshold=0).json()["result"]["instances"]) >= 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"threshold": 1.5}, "threshold: it is a number from 0 to 1"),
        ({"threshold": "0.5"}, "threshold: it is a number from 0 to 1"),
        ({"targetSize": 64}, "targetSize: no such key; there are image, visualize, threshold"),
    ],
)
def test_what_is_refused(server, more, message):
    answer = server.post(png(shapes()), **more)
    assert (answer.status_code, answer.json()["errorMsg"]) == (422, message)


def test_its_address_is_another(server):
    assert server.url.endswith("/instance-segmentation")
    assert server.get("/semantic-segmentation").status_code == 404


def test_no_target_size(detector):
    command = [sys.executable, "-m", "segexport", "serve", str(detector), "--target-size", "64", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "target_size" in done.stderr
    assert "the export of an instance segmentation model fixes its input size" in done.stderr
