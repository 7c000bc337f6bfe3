"""Models of 1, 4, 5 and 6 channels, of 8, 16 and 32 bits, from the data folder to the verdict and on to the phone."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from installed import require
from PIL import Image
from workplace import Workplace

sys.path[:0] = [str(Path(__file__).parent.parent / name) for name in ("exporter", "unit")]

from graphs import Graph  # noqa: E402
from tiff_files import tiff  # noqa: E402

SIZE, CLASSES, IMAGES = 32, 3, 16
CONV = {"strides": [1, 1], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}


@dataclass(frozen=True)
class Kind:
    """A kind of data, and what a deploy file for it says."""

    channels: int
    dtype: str
    suffix: str
    deploy: str

    def image(self, seed: int) -> np.ndarray:
        """(SIZE, SIZE, channels): smooth, so that masks have areas."""
        random = np.random.default_rng(seed)
        small = random.uniform(0, 1, (6, 6, self.channels)).astype(np.float32)
        smooth = np.stack([cv2.resize(small[:, :, c], (SIZE, SIZE)) for c in range(self.channels)], axis=2)
        if self.dtype == "float32":
            return smooth
        return np.rint(smooth * np.iinfo(self.dtype).max).astype(self.dtype)

    def write(self, path: Path, image: np.ndarray) -> None:
        if self.suffix == ".npy":
            np.save(path, image)
        elif self.suffix == ".tif":
            path.write_bytes(tiff(image, compression="deflate", predictor=2, rows=7))
        else:
            Image.fromarray(image.squeeze()).save(path)

    def tensor(self, image: np.ndarray) -> np.ndarray:
        """What the network gets, worked out here."""
        scale = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}[self.dtype]
        values = image.astype(np.float64) / scale
        return ((values - 0.5) / 0.5).transpose(2, 0, 1)


SEG = "Deploy: {transforms: [{type: Normalize, mean: [0.5], std: [0.5]}]}"
PADDLEX = "Transforms: [{Normalize: {mean: [0.5], std: [0.5], min_val: [0], max_val: [MAX]}}]\nversion: 1.3.0\n"
KINDS = {
    "grey": Kind(1, "uint8", ".png", SEG),
    "alpha": Kind(4, "uint8", ".png", SEG),
    "satellite": Kind(6, "uint16", ".tif", PADDLEX.replace("MAX", "65535")),
    "measured": Kind(5, "float32", ".npy", PADDLEX.replace("MAX", "1")),
}


@dataclass(frozen=True)
class Place(Workplace):
    kind: Kind
    weights: np.ndarray

    def expected(self, image: np.ndarray) -> np.ndarray:
        """The mask, by NumPy."""
        return np.einsum("oc,chw->ohw", self.weights, self.kind.tensor(image)).argmax(0).astype(np.uint8)


@pytest.fixture
def place(request, tmp_path, shared_cache) -> Place:
    require("paddle", "paddle2onnx", "onnx", "onnxruntime")
    kind, root = KINDS[request.param], tmp_path / "work"
    graph = Graph()
    image = graph.feed(1, kind.channels, SIZE, SIZE)
    weights = np.random.default_rng(1).normal(size=(CLASSES, kind.channels, 1, 1)).astype(np.float32)
    inputs = {"Input": image, "Filter": graph.param(weights)}
    logits = graph.op("conv2d", inputs, (1, CLASSES, SIZE, SIZE), slot="Output", paddings=[0, 0], **CONV)
    graph.program(logits).write(root / "model")
    name = "model.yml" if kind.deploy is not SEG else "deploy.yaml"
    (root / "model" / name).write_text(kind.deploy)
    place = Place(root, shared_cache, kind, weights[:, :, 0, 0])
    (root / "data" / "images").mkdir(parents=True)
    lines = []
    for index in range(IMAGES):
        pixels = kind.image(index)
        kind.write(root / "data" / "images" / f"{index}{kind.suffix}", pixels)
        Image.fromarray(place.expected(pixels)).save(root / "data" / f"label{index}.png")
        lines.append(f"images/{index}{kind.suffix}\tlabel{index}.png\n")
    for split in ("train", "val"):
        (root / "data" / f"{split}.txt").write_text("".join(lines))
    (root / "data" / "labels.txt").write_text("a\nb\nc\n")
    return place


every = pytest.mark.parametrize("place", list(KINDS), indirect=True)
satellite = pytest.mark.parametrize("place", ["satellite"], indirect=True)


@every
def test_evaluated_against_numpy(place):
    done = place.segexport("evaluate", "model", "--data", "data", "--format", "json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["miou"] > 0.999  # a tie of two scores may fall either way


@every
def test_exported_quantized_and_checked(place):
    exports = [{"to": "onnx"}, {"to": "onnx", "precision": "int8", "calibration": {"images": 8}}]
    done = place.segexport("run", place.recipe(exports=exports, data={"path": "data"}), "-o", "out")
    report = place.report()
    assert done.code in (0, 1), done.stderr
    fp32, int8 = report["exports"]
    assert (fp32["verdict"], fp32["agreement"]) == ("PASS", 1.0)
    assert int8["error"] is None
    assert int8["agreement"] > 0.8
    assert any(file.suffix in (".png", ".jpg") for file in (place.root / "out/images").iterdir())


@every
def test_predicted_and_drawn(place):
    done = place.segexport("predict", "model", f"data/images/3{place.kind.suffix}", "-o", "out", "--kind", "mask")
    assert done.code == 0, done.stderr
    mask = np.asarray(Image.open(place.root / "out" / "3.png"))
    assert (mask == place.expected(place.kind.image(3))).mean() > 0.999
    drawn = place.segexport("predict", "model", "data/images", "-o", "drawn")
    assert drawn.code == 0, drawn.stderr
    suffix = ".png" if place.kind.suffix == ".npy" else place.kind.suffix
    picture = np.asarray(Image.open(place.root / "drawn" / f"0{suffix}").convert("RGB"))
    assert picture.shape == (SIZE, SIZE, 3)
    assert picture.std() > 10


@satellite
def test_python_takes_arrays_of_the_model_s_channels(place, monkeypatch):
    import segexport
    from segexport.errors import InputError

    monkeypatch.setenv("SEGEXPORT_CACHE", str(place.cache))
    image = place.kind.image(5)
    with segexport.load(str(place.root / "model")) as model:
        (found,) = model.predict(image)
        assert (found.label_map == place.expected(image)).mean() > 0.999
        assert (found.image.shape, found.image.dtype) == ((SIZE, SIZE, 3), np.uint8)
        (sliced,) = model.predict(np.tile(image, (2, 1, 1)), slice_size=SIZE)
        assert (sliced.label_map[:SIZE] == place.expected(image)).mean() > 0.99
        with pytest.raises(InputError, match=r"an array of uint16 \[32, 32, 3\] is not an image") as told:
            list(model.predict(image[:, :, :3]))
        assert told.value.cause == "it has to be uint8 or uint16 or float32 (height, width, 6)"


@satellite
def test_recorded_packed_and_inspected(place):
    assert place.segexport("export", "model", "--to", "onnx", "-o", "onnx").code == 0
    record = place.segexport("reference", "record", "model", "--data", "data", "--latency-seconds", "0", "-o", "r.ref")
    assert record.code == 0, record.stderr
    against = place.segexport("check", "onnx", "--reference", "r.ref", "--data", "data", "--latency-seconds", "0")
    assert against.code == 0, against.stderr
    for model in ("model", "onnx"):
        made = place.segexport("golden", "make", model, "--data", "data", "--images", "4", "-o", f"pack-{model}")
        assert made.code == 0, made.stderr
        assert place.segexport("check", "onnx", "--golden", f"pack-{model}", "--latency-seconds", "0").code == 0
    items = json.loads((place.root / "pack-onnx/job.json").read_text())["items"]
    assert items[0]["tensor_size"] == [SIZE, SIZE]
    assert (place.root / "pack-onnx" / items[0]["input"]).stat().st_size == 4 * 6 * SIZE * SIZE
    assert "channels" in place.segexport("inspect", "onnx", COLUMNS="200").stdout


@satellite
def test_finetuned(place):
    options = ("--steps", "3", "--batch-size", "2", "--timeout-s", "300")
    done = place.segexport("finetune", "model", "--data", "data", *options, "-o", "tuned", timeout=600)
    assert done.code == 0, done.stderr
    assert place.segexport("evaluate", "tuned", "--data", "data").code == 0


@every
def test_data_check(place):
    done = place.segexport("data", "check", "data", "-o", "checked")
    assert done.code == 0, done.stderr
    assert len(list((place.root / "checked" / "demo_img").iterdir())) > 0
    (place.root / "data" / "images" / f"2{place.kind.suffix}").write_bytes(tiff(np.zeros((SIZE, SIZE, 7), np.uint8)))
    assert place.segexport("data", "check", "data", "-o", "again").code == 1


@every
def test_images_of_another_number_of_channels_are_named(place):
    other = place.root / "data" / "images" / f"4{place.kind.suffix}"
    if place.kind.suffix == ".npy":
        np.save(other, np.zeros((SIZE, SIZE, 2), np.float32))
    else:
        other.write_bytes(tiff(np.zeros((SIZE, SIZE, 7), np.uint16)))
    done = place.segexport("evaluate", "model", "--data", "data")
    assert done.code == 2
    assert done.error.startswith(f"data/images/4{place.kind.suffix}: ")
    assert "(val.txt, line 5)" in done.error


@pytest.mark.parametrize("place", ["grey"], indirect=True)
def test_a_grey_model_takes_colours_as_opencv_makes_them_grey(place):
    colors = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    Image.fromarray(colors).save(place.root / "colors.png")
    assert place.segexport("predict", "model", "colors.png", "-o", "out", "--kind", "mask").code == 0
    grey = cv2.cvtColor(colors, cv2.COLOR_RGB2GRAY)[:, :, None]
    mask = np.asarray(Image.open(place.root / "out" / "colors.png"))
    assert (mask == place.expected(grey)).mean() > 0.999


@satellite
def test_paddle_lite_and_the_app(place):
    require("paddlelite")
    assert place.segexport("export", "model", "--to", "paddle-lite", "-o", "lite").code == 0
    done = place.segexport("check", "lite", "--reference", "model", "--data", "data", "--latency-seconds", "0")
    assert done.code == 0, done.stderr
    done = place.segexport("android", "assets", "lite", "--sample", "data/images/0.tif", "-o", "assets")
    assert done.code == 0, done.stderr
    (pack,) = (place.root / "assets").iterdir()
    sample = json.loads((pack / "manifest.json").read_text())["sample"]
    assert sample == {"input": "sample.f32", "expected_mask": "sample-mask.png"}
    tensor = np.fromfile(pack / "sample.f32", "<f4").reshape(6, SIZE, SIZE)
    np.testing.assert_allclose(tensor, place.kind.tensor(place.kind.image(0)), atol=1e-5)
    assert (np.asarray(Image.open(pack / "sample-mask.png")) == place.expected(place.kind.image(0))).mean() > 0.999
