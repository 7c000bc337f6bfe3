"""Large images in tiles: against the seeds' formulas, against the whole image, and the same in every command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from android.models import convolution
from click.testing import CliRunner
from installed import require
from PIL import Image

import segexport
from segexport import preprocess
from segexport.artifact import ModelArtifact, read_artifact, write_artifact
from segexport.cli.main import cli
from segexport.data.images import decode_image
from segexport.errors import InputError, TooLargeError
from segexport.exporter.import_options import ImportOptions, tiles_from_strings
from segexport.measure.tile_grid import spans
from segexport.predict.model import Model
from segexport.spec import Preprocess, Tiles

CLASSES = 5


def network(folder: Path, tiles: Tiles | None = None, **head: str) -> ModelArtifact:
    """A 3x3 convolution to 5 classes that takes images of any size as they are."""
    require("onnx", "onnxruntime")
    made = convolution(folder, **head)
    contract = Preprocess(color="rgb", mean=(0.5,) * 3, std=(0.5,) * 3, tiles=tiles)
    return write_artifact(folder, made.manifest.model_copy(update={"preprocess": contract}))


@pytest.fixture(scope="module")
def logits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with segexport.load(network(tmp_path_factory.mktemp("tiles") / "model").path) as model:
        yield model


def noise(height: int, width: int) -> np.ndarray:
    """Blobs of several pixels, BGR."""
    small = np.random.default_rng(height * 1000 + width).integers(
        0, 256, (height // 3 + 2, width // 3 + 2, 3), np.uint8
    )
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def raw_scores(model: Model, image: np.ndarray) -> np.ndarray:
    """The network's own output (height, width, classes) of one image."""
    tensor = (image[:, :, ::-1].astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    (output,) = model._session.outputs([np.ascontiguousarray(tensor.transpose(2, 0, 1))[None]])
    return output[0].transpose(1, 2, 0)


# -- the seeds' formulas ---------------------------------------------------------------------------------------


def paddlex_overlap_tile_predict(
    image: np.ndarray, tile_size: tuple[int, int], pad_size: tuple[int, int], scores_of: Callable
) -> np.ndarray:
    """PaddleX, `overlap_tile_predict`, with its own names; without its empty tiles where a side divides evenly."""
    height, width, _ = image.shape
    left_pad = cv2.flip(image[0:height, 0 : pad_size[0], :], 1)
    right_pad = cv2.flip(image[0:height, -pad_size[0] : width, :], 1)
    padding_image = cv2.hconcat([left_pad, image, right_pad])
    padding_height, padding_width, _ = padding_image.shape
    top_pad = cv2.flip(padding_image[0 : pad_size[1], 0:padding_width, :], 0)
    bottom_pad = cv2.flip(padding_image[-pad_size[1] : padding_height, 0:padding_width, :], 0)
    padding_image = cv2.vconcat([top_pad, padding_image, bottom_pad])
    padding_height, padding_width, _ = padding_image.shape
    label_map = np.zeros((height, width), dtype=np.uint8)
    for h_id in range(-(-height // tile_size[1])):
        for w_id in range(-(-width // tile_size[0])):
            left, upper = w_id * tile_size[0], h_id * tile_size[1]
            right = min(left + tile_size[0] + pad_size[0] * 2, padding_width)
            lower = min(upper + tile_size[1] + pad_size[1] * 2, padding_height)
            tile = scores_of(np.ascontiguousarray(padding_image[upper:lower, left:right, :])).argmax(axis=2)
            right, lower = min((w_id + 1) * tile_size[0], width), min((h_id + 1) * tile_size[1], height)
            label_map[upper:lower, left:right] = tile[
                pad_size[1] : tile.shape[0] - pad_size[1], pad_size[0] : tile.shape[1] - pad_size[0]
            ]
    return label_map


def paddleseg_slide_inference(
    image: np.ndarray, crop_size: tuple[int, int], stride: tuple[int, int], scores_of: Callable
) -> np.ndarray:
    """PaddleSeg, `core/infer.py`, `slide_inference`, with its own names; (height, width, classes)."""
    h_im, w_im = image.shape[:2]
    (w_crop, h_crop), (w_stride, h_stride) = crop_size, stride
    rows = int(np.ceil(1.0 * (h_im - h_crop) / h_stride)) + 1
    cols = int(np.ceil(1.0 * (w_im - w_crop) / w_stride)) + 1
    rows = 1 if h_im <= h_crop else rows
    cols = 1 if w_im <= w_crop else cols
    final_logit, count = np.zeros((h_im, w_im, CLASSES)), np.zeros((h_im, w_im, 1))
    for r in range(rows):
        for c in range(cols):
            h1, w1 = r * h_stride, c * w_stride
            h2, w2 = min(h1 + h_crop, h_im), min(w1 + w_crop, w_im)
            h1, w1 = max(h2 - h_crop, 0), max(w2 - w_crop, 0)
            final_logit[h1:h2, w1:w2] += scores_of(np.ascontiguousarray(image[h1:h2, w1:w2]))
            count[h1:h2, w1:w2] += 1
    assert count.min() == 1
    return final_logit / count


@pytest.mark.parametrize(
    ("shape", "tile", "pad"),
    [
        ((60, 80), (20, 20), (4, 4)),
        ((64, 48), (16, 32), (3, 1)),
        ((53, 71), (20, 20), (4, 4)),
        ((40, 90), (90, 7), (2, 2)),
    ],
)
def test_center_is_paddlexs_overlap_tile_predict(logits, shape, tile, pad):
    image = noise(*shape)
    expected = paddlex_overlap_tile_predict(image, tile, pad, lambda one: raw_scores(logits, one))
    size, overlap = (tile[0] + 2 * pad[0], tile[1] + 2 * pad[1]), (2 * pad[0], 2 * pad[1])
    (found,) = logits.predict(image, tiles=Tiles(size=size, overlap=overlap), score_map=False)
    assert np.array_equal(found.label_map, expected)
    (scored,) = logits.predict(image, tiles=Tiles(size=size, overlap=overlap))
    assert np.array_equal(scored.label_map, expected)
    assert np.array_equal(scored.score_map.argmax(axis=2), expected)


@pytest.mark.parametrize(
    ("shape", "crop", "stride"),
    [
        ((60, 80), (20, 20), (13, 13)),
        ((64, 48), (48, 16), (40, 5)),
        ((53, 71), (32, 80), (32, 80)),
        ((7, 9), (3, 2), (1, 1)),
    ],
)
def test_average_is_paddlesegs_slide_inference(logits, shape, crop, stride):
    image = noise(*shape)
    expected = paddleseg_slide_inference(image, crop, stride, lambda one: raw_scores(logits, one))
    tiles = Tiles(size=crop, overlap=(crop[0] - stride[0], crop[1] - stride[1]), blend="average")
    (found,) = logits.predict(image, tiles=tiles, score_map=False)
    assert np.array_equal(found.label_map, expected.argmax(axis=2))
    (scored,) = logits.predict(image, tiles=tiles)
    powers = np.exp(expected - expected.max(axis=2, keepdims=True))
    np.testing.assert_allclose(scored.score_map, powers / powers.sum(axis=2, keepdims=True), atol=1e-5)
    assert np.array_equal(scored.label_map, found.label_map)


# -- against the whole image -----------------------------------------------------------------------------------


def test_center_is_the_whole_image_inside(logits):
    """The network sees one pixel around; at the image's own edge mirrored pixels take the place of its zeros."""
    image = noise(75, 101)
    (whole,) = logits.predict(image, score_map=False)
    for size, overlap in ((20, 2), ((31, 16), (10, 2)), (74, 50)):
        pair = size if isinstance(size, tuple) else (size, size)
        shared = overlap if isinstance(overlap, tuple) else (overlap, overlap)
        (found,) = logits.predict(image, tiles=Tiles(size=pair, overlap=shared), score_map=False)
        assert np.array_equal(found.label_map[1:-1, 1:-1], whole.label_map[1:-1, 1:-1])
    (cut,) = logits.predict(image, tiles=Tiles(size=(20, 20)), score_map=False)
    assert not np.array_equal(cut.label_map[1:-1, 1:-1], whole.label_map[1:-1, 1:-1])  # so that it can fail


@pytest.mark.parametrize("blend", ["center", "average"])
def test_one_tile_is_the_ordinary_way(logits, blend):
    image = noise(40, 50)
    (whole,) = logits.predict(image)
    (found,) = logits.predict(image, tiles=Tiles(size=(50, 40), overlap=(10, 10), blend=blend))
    assert np.array_equal(found.label_map, whole.label_map)
    assert np.array_equal(found.score_map, whole.score_map)


def test_a_side_that_is_smaller_than_a_tile_is_mirrored(logits):
    """Again and again: the tile keeps its size, which a network of fixed input needs."""
    image = noise(3, 60)
    (found,) = logits.predict(image, tiles=Tiles(size=(24, 24), overlap=(8, 8)), score_map=False)
    around = np.pad(image, ((20, 20), (20, 20), (0, 0)), mode="symmetric")
    expected = raw_scores(logits, around).argmax(axis=2)[20:-20, 20:-20]
    assert np.array_equal(found.label_map, expected)


def test_spans_decide_every_pixel_once():
    for length in range(1, 40):
        for size, overlap in ((10, 4), (7, 6), (8, 0), (3, 2)):
            found = spans(Tiles(size=(size, size), overlap=(overlap, overlap)), 0, length)
            assert [pixel for span in found for pixel in range(span.first, span.last)] == list(range(length))
            assert all(span.stop - span.start == size for span in found)


def test_an_example_is_the_tile_in_the_middle():
    """What calibrates and what is timed."""
    image = noise(50, 71)
    contract = Preprocess(color="rgb", mean=(0.5,) * 3, std=(0.5,) * 3, tiles=Tiles(size=(20, 30), overlap=(2, 2)))
    tensor, _ = preprocess.example(contract, image)
    expected, _ = preprocess.apply(contract.of_a_tile, np.ascontiguousarray(image[10:40, 25:45]))
    assert np.array_equal(tensor, expected)
    whole, placement = preprocess.apply(contract, image)
    assert whole is image
    assert placement.tensor == placement.original == (71, 50)


@pytest.mark.slow
def test_an_image_in_tiles_may_be_larger(tmp_path):
    Image.new("1", (9000, 8000)).save(tmp_path / "large.png")
    with pytest.raises(TooLargeError, match="too large, 9000x8000 pixels") as caught:
        decode_image(tmp_path / "large.png", pixels=Preprocess().pixels)
    assert "--tile-size" in caught.value.hint
    in_tiles = Preprocess(tiles=Tiles(size=(512, 512)))
    assert decode_image(tmp_path / "large.png", pixels=in_tiles.pixels).shape == (8000, 9000, 3)


# -- heads -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "layout"), [("int64", "NHW"), ("uint8", "NCHW")])
def test_an_argmax_head_is_joined_by_centers_and_not_averaged(logits, tmp_path, dtype, layout):
    image, tiles = noise(50, 70), Tiles(size=(24, 24), overlap=(8, 8))
    (expected,) = logits.predict(image, tiles=tiles, score_map=False)
    with segexport.load(network(tmp_path / "net", dtype=dtype, layout=layout, semantics="class_index").path) as model:
        (found,) = model.predict(image, tiles=tiles)
        assert found.score_map is None
        assert np.array_equal(found.label_map, expected.label_map)
        with pytest.raises(InputError, match="averaged by their scores, and this model has none") as caught:
            model.predict(image, tiles=tiles.model_copy(update={"blend": "average"}))
    assert caught.value.hint.startswith("--tile-blend center")


def test_scores_of_a_channels_last_head(logits, tmp_path):
    image, tiles = noise(50, 70), Tiles(size=(24, 24), overlap=(8, 8), blend="average")
    (expected,) = logits.predict(image, tiles=tiles)
    with segexport.load(network(tmp_path / "net", layout="NHWC").path) as model:
        (found,) = model.predict(image, tiles=tiles)
    np.testing.assert_allclose(found.score_map, expected.score_map, atol=1e-6)


# -- memory ----------------------------------------------------------------------------------------------------

PREDICT_AND_TELL_MEMORY = """
import resource, sys
import numpy as np, segexport
path, height, blend = sys.argv[1], int(sys.argv[2]), sys.argv[3]
image = np.zeros((height, 10_000, 3), np.uint8)
image[::2] = 200
tiles = segexport.Tiles(size=(1000, 1000), overlap=(100, 100), blend=blend)
with segexport.load(path) as model:
    (found,) = model.predict(image, tiles=tiles, score_map=False)
    assert found.label_map.shape == image.shape[:2]
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, model.peak_rss_bytes())
"""


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.parametrize("blend", ["center", "average"])
def test_memory_grows_with_the_image_and_not_with_its_scores(tmp_path, blend):
    """10,000 pixels a side; the scores of all of them would be 20 bytes a pixel, 2 GB."""
    model = network(tmp_path / "model").path

    def peak_bytes(height: int) -> tuple[int, int]:
        command = [sys.executable, "-c", PREDICT_AND_TELL_MEMORY, str(model), str(height), blend]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        here, worker = map(int, done.stdout.split())
        return here, worker

    low, high = peak_bytes(1000), peak_bytes(10_000)
    more_pixels = 9000 * 10_000
    assert (high[0] - low[0]) / more_pixels < 10  # the image twice, BGR and RGB, and its mask: 7
    assert high[1] < 1.2 * low[1]  # the worker sees tiles only


# -- the same in every command ---------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three labelled images, larger than a tile."""
    root = tmp_path / "data"
    root.mkdir()
    lines = []
    for index in range(3):
        Image.fromarray(noise(50 + index, 70)[:, :, ::-1]).save(root / f"{index}.png")
        label = np.random.default_rng(index).integers(0, CLASSES, (50 + index, 70), np.uint8)
        Image.fromarray(label).save(root / f"{index}-label.png")
        lines.append(f"{index}.png {index}-label.png\n")
    (root / "val.txt").write_text("".join(lines))
    (root / "labels.txt").write_text("".join(f"class {index}\n" for index in range(CLASSES)))
    return root


BLENDS = [Tiles(size=(24, 24), overlap=(8, 8)), Tiles(size=(24, 20), overlap=(6, 4), blend="average")]


@pytest.mark.parametrize("tiles", BLENDS, ids=lambda tiles: tiles.blend)
def test_what_is_evaluated_is_what_is_predicted(tmp_path, data, tiles):
    """By options and by the manifest."""
    plain, told = network(tmp_path / "plain"), network(tmp_path / "told", tiles)
    total = np.zeros((CLASSES, CLASSES), int)
    with segexport.load(plain.path, importing=ImportOptions(tiles=tiles)) as model:
        for result in model.predict([str(data / f"{index}.png") for index in range(3)], score_map=False):
            label = np.asarray(
                Image.open(Path(result.input_path).with_name(Path(result.input_path).stem + "-label.png"))
            )
            np.add.at(total, (label, result.label_map), 1)
        values, details = model.evaluate(data, return_details=True)
    assert details["confusion_matrix"] == total.tolist()
    with segexport.load(told.path) as model:
        assert model.evaluate(data) == values
    with segexport.load(plain.path) as model:
        assert model.evaluate(data) != values


def test_options_of_the_command_line(tmp_path, data):
    """predict, evaluate and check take the same options, and `import` writes them into the manifest."""
    model, tiles = network(tmp_path / "plain"), BLENDS[1]
    options = ["--tile-size", "24x20", "--tile-overlap", "6x4", "--tile-blend", "average"]
    run = CliRunner()

    def asked(*arguments: object) -> str:
        done = run.invoke(cli, [*map(str, arguments), *options])
        assert done.exit_code == 0, done.output
        return done.output

    asked("predict", model.path, data / "0.png", "--kind", "mask", "-o", tmp_path / "out")
    with segexport.load(model.path, importing=ImportOptions(tiles=tiles)) as opened:
        (expected,) = opened.predict(str(data / "0.png"))
        metrics = opened.evaluate(data)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "0.png")), expected.label_map)
    asked("evaluate", model.path, "--data", data, "-o", tmp_path / "metrics.json")
    assert json.loads((tmp_path / "metrics.json").read_text())["miou"] == metrics["miou"]
    checked = ("--reference", model.path, "--data", data, "--latency-seconds", 0, "-o", tmp_path / "report")
    asked("check", model.path, *checked)
    (row,) = json.loads((tmp_path / "report" / "report.json").read_text())["exports"]
    assert row["miou"] == pytest.approx(metrics["miou"])
    asked("import", model.path, "-o", tmp_path / "told")
    assert read_artifact(tmp_path / "told").manifest.preprocess.tiles == tiles


@pytest.mark.parametrize("tiles", BLENDS, ids=lambda tiles: tiles.blend)
def test_a_check_runs_both_in_the_tiles(tmp_path, data, tiles):
    plain, told = network(tmp_path / "plain"), network(tmp_path / "told", tiles)
    options = {"data": data, "latency_seconds": 0.0}
    found = segexport.check(plain.path, reference=plain.path, tiles=tiles, **options)
    (export,) = found.exports
    assert export.error is None
    with segexport.load(told.path) as model:
        assert export.miou == pytest.approx(model.evaluate(data)["miou"])
    found = segexport.check(told.path, reference=told.path, **options)
    assert found.exports[0].miou == export.miou
    with pytest.raises(InputError, match="it is run in tiles of") as caught:
        segexport.check(told.path, reference=plain.path, **options)
    assert caught.value.hint == "--tile-size runs both in the same tiles"


def test_a_manifest_carries_tiles_and_is_as_before_without(tmp_path):
    told = network(tmp_path / "told", BLENDS[1])
    written = json.loads((told.path / "manifest.json").read_text())["preprocess"]["tiles"]
    assert written == {"size": [24, 20], "overlap": [6, 4], "blend": "average"}
    assert read_artifact(told.path).manifest.preprocess.tiles == BLENDS[1]
    plain = network(tmp_path / "plain")
    assert "tiles" not in json.loads((plain.path / "manifest.json").read_text())["preprocess"]
    assert told.digest != plain.digest


# -- options ---------------------------------------------------------------------------------------------------


def test_options_as_text():
    assert tiles_from_strings(None, None, None) is None
    assert tiles_from_strings("512", None, None) == Tiles(size=(512, 512), overlap=(128, 128), blend="center")
    assert tiles_from_strings("30x20", "3x0", "average") == Tiles(size=(30, 20), overlap=(3, 0), blend="average")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((None, "8", None), "--tile-overlap without --tile-size"),
        ((None, None, "center"), "--tile-blend without --tile-size"),
        (("0", None, None), "--tile-size 0: not a size"),
        (("5x", None, None), "--tile-size 5x: not a size"),
        (("-5", None, None), "--tile-size -5: not a size"),
        (("64", "64", None), "the tiles cannot be cut"),
        (("64", "9", "center"), "the tiles cannot be cut"),
    ],
)
def test_options_that_are_none(given, message):
    with pytest.raises(InputError) as caught:
        tiles_from_strings(*given)
    assert caught.value.what == message
