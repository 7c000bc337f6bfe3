"""Requests and answers have the forms of PaddleX's basic serving, and the masks are those of `predict`."""

from __future__ import annotations

import base64
import io
import uuid

import nets
import numpy as np
import pytest
from PIL import Image
from served import png

import segexport


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_an_answer_by_hand(server):
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 1] = image[1, 2] = (255, 0, 0)
    answer = server.post(png(image))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()
    assert list(content) == ["logId", "errorCode", "errorMsg", "result"]
    assert uuid.UUID(content["logId"]).version == 4
    assert (content["errorCode"], content["errorMsg"]) == (0, "Success")
    result = content["result"]
    assert list(result) == ["labelMap", "size", "image"]
    assert result["labelMap"] == [0, 1, 0, 0, 0, 1]
    assert result["size"] == [2, 3]  # height, width
    picture = Image.open(io.BytesIO(base64.b64decode(result["image"])))
    assert (picture.format, picture.size, picture.mode) == ("JPEG", (3, 2), "RGB")


def test_the_mask_and_the_picture_are_those_of_predict(server, net):
    image = np.full((48, 64, 3), (40, 90, 160), np.uint8)
    image[16:, 32:] = (220, 30, 10)
    with segexport.load(net) as model:
        (found,) = model.predict(np.ascontiguousarray(image[:, :, ::-1]))
    result = server.post(png(image)).json()["result"]
    assert result["labelMap"] == found.label_map.ravel().tolist()
    assert set(result["labelMap"]) == {0, 1}
    served = np.asarray(Image.open(io.BytesIO(base64.b64decode(result["image"]))), np.float64)
    assert np.abs(served - np.asarray(found.img["res"], np.float64)).mean() < 2  # of 255: JPEG blurs the edge


def test_classes_of_two_digits(start, tmp_path):
    server = start(nets.brightness(tmp_path / "net"))
    values = np.array([[0, 255, 23], [46, 232, 116]], np.uint8)
    answer = server.post(png(np.repeat(values[:, :, None], 3, axis=2)))
    assert answer.json()["result"]["labelMap"] == [0, 11, 1, 2, 10, 5]


@pytest.mark.parametrize(("visualize", "shown"), [(True, True), (None, True), (False, False)])
def test_visualize(server, visualize, shown):
    result = server.post(png(noise(4, 5)), visualize=visualize).json()["result"]
    assert ("image" in result) == shown
    assert len(result["labelMap"]) == 20


@pytest.mark.parametrize("size", [None, -1, 7, [6, 4]])
def test_target_size_is_that_of_predict(server, net, size):
    image = noise(12, 9)
    with segexport.load(net) as model:
        (found,) = model.predict(np.ascontiguousarray(image[:, :, ::-1]), target_size=size)
    result = server.post(png(image), targetSize=size).json()["result"]
    assert result["size"] == [12, 9]
    assert result["labelMap"] == found.label_map.ravel().tolist()


def test_base64_with_line_breaks(server):
    text = base64.encodebytes(png(noise(30, 30))).decode()
    assert text.count("\n") > 3
    assert server.post(text).status_code == 200


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF"])
def test_kinds_of_image_files(server, kind):
    stream = io.BytesIO()
    Image.fromarray(noise(8, 9)).save(stream, kind)
    assert server.post(stream.getvalue()).json()["result"]["size"] == [8, 9]


def test_health(server):
    answer = server.get("/health")
    assert answer.status_code == 200
    content = answer.json()
    assert uuid.UUID(content.pop("logId"))
    assert content == {"errorCode": 0, "errorMsg": "Healthy"}


def test_metrics(server):
    before = server.metric('segexport_requests_total{code="200"}')
    refused = server.metric('segexport_requests_total{code="422"}')
    assert server.post(png(noise(4, 4))).status_code == 200
    assert server.post(b"no image").status_code == 422
    assert server.metric('segexport_requests_total{code="200"}') == before + 1
    assert server.metric('segexport_requests_total{code="422"}') == refused + 1
    assert server.metric("segexport_request_seconds_count") >= before + 1
    assert server.metric('segexport_stage_seconds_count{stage="infer"}') >= 1
    assert server.metric("segexport_queue_requests") == 0
    assert server.metric("segexport_held_bytes") == 0
    assert server.metric("segexport_workers_ready") == 1
    assert server.get("/metrics").headers["content-type"].startswith("text/plain; version=")


@pytest.mark.parametrize(
    ("method", "path", "code", "message"),
    [("GET", "/nothing", 404, "Not Found"), ("GET", "/semantic-segmentation", 405, "Method Not Allowed")],
)
def test_other_addresses(server, method, path, code, message):
    answer = server.client.request(method, server.root + path)
    assert answer.status_code == code
    assert (answer.json()["errorCode"], answer.json()["errorMsg"]) == (code, message)


def test_a_pipeline_file_and_the_size_over_it(start, net, tmp_path):
    text = f"Pipeline:\n  model: {net}\n  target_size: [6, 4]\n"
    (tmp_path / "pipeline.yaml").write_text(text)
    image = noise(12, 9)
    with segexport.load(net) as model:
        (small,) = model.predict(np.ascontiguousarray(image[:, :, ::-1]), target_size=(6, 4))
        (own,) = model.predict(np.ascontiguousarray(image[:, :, ::-1]), target_size=-1)
    assert not np.array_equal(small.label_map, own.label_map)
    server = start("--pipeline", tmp_path / "pipeline.yaml")
    assert server.post(png(image)).json()["result"]["labelMap"] == small.label_map.ravel().tolist()
    other = start("--pipeline", tmp_path / "pipeline.yaml", "--target-size", "-1")
    assert other.post(png(image)).json()["result"]["labelMap"] == own.label_map.ravel().tolist()
