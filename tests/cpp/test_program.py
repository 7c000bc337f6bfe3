"""runtimes/cpp against Python: the golden vectors, masks of every kind of image and head, and bad input."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from android.models import convolution
from android.test_parity import HEADS, _encoded_images
from PIL import Image

import segexport
from segexport.android.assets import write_assets
from segexport.artifact import ModelArtifact
from segexport.data.images import decode_image
from segexport.ui.pictures import overlay

from .builds import Built, build, build_for_arm64

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "preprocess"
GOLDEN_TOLERANCE = 1e-5
CASES = len(json.loads((GOLDEN / "cases.json").read_text())["cases"])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("cpp"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    return convolution(tmp_path_factory.mktemp("model") / "convolution")


def meets_the_golden_vectors(built: Built) -> None:
    done = built.run(GOLDEN, program="golden")
    assert done.returncode == 0, done.stderr
    differences = [float(line.split()[0]) for line in done.stdout.splitlines()]
    assert len(differences) == CASES
    assert max(differences) <= GOLDEN_TOLERANCE


def masks_are_pythons(built: Built, artifact: ModelArtifact, folder: Path, timeout_s: float = 100) -> None:
    """Every kind of image, decoded by each side for itself."""
    images = _encoded_images()
    for name, data in images.items():
        (folder / f"{name}.img").write_bytes(data)
    with segexport.load(artifact.path) as loaded:
        expected = {name: next(loaded.predict(folder / f"{name}.img")).label_map for name in images}
    for name, mask in expected.items():
        done = built.run(artifact.path, folder / f"{name}.img", "-o", folder / "out", timeout_s=timeout_s)
        assert done.returncode == 0, done.stderr
        found = np.asarray(Image.open(folder / "out" / f"{name}-mask.png"))
        assert found.shape == mask.shape, name
        assert len(np.unique(mask)) > 1 or name == "1x1", name
        assert (found == mask).mean() >= 0.9999, f"{name}: {(found != mask).sum()} pixels differ"


def test_golden_vectors(built: Built) -> None:
    meets_the_golden_vectors(built)


def test_masks_are_pythons(built: Built, model: ModelArtifact, tmp_path: Path) -> None:
    masks_are_pythons(built, model, tmp_path)


@pytest.mark.parametrize("head", HEADS, ids="-".join)
def test_heads(built: Built, tmp_path: Path, head: tuple[str, str, str]) -> None:
    dtype, layout, semantics = head
    artifact = convolution(tmp_path / "model", dtype=dtype, layout=layout, semantics=semantics)
    image = np.random.default_rng(1).integers(0, 256, (33, 47, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    done = built.run(artifact.path, tmp_path / "image.png", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    with segexport.load(artifact.path) as loaded:
        expected = next(loaded.predict(tmp_path / "image.png")).label_map
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "image-mask.png")), expected)


def test_overlay_is_pythons(built: Built, model: ModelArtifact, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(_encoded_images()["photo"])
    assert built.run(model.path, tmp_path / "photo.jpg", "-o", tmp_path, "--threads", 2).returncode == 0
    mask = np.asarray(Image.open(tmp_path / "photo-mask.png"))
    expected = overlay(decode_image(tmp_path / "photo.jpg"), mask, model.manifest.labels)
    drawn = np.asarray(Image.open(tmp_path / "photo-overlay.png"))
    assert np.abs(drawn.astype(int) - expected).max() <= 1  # a value of exactly a half is rounded either way


def test_weights_beside_the_model(built: Built, tmp_path: Path) -> None:
    artifact = convolution(tmp_path / "model", weights="weights.bin")
    Image.new("RGB", (32, 24), (90, 20, 200)).save(tmp_path / "image.png")
    assert built.run(artifact.path, tmp_path / "image.png", "-o", tmp_path).returncode == 0
    (artifact.path / "weights.bin").write_bytes(b"\0" * (artifact.path / "weights.bin").stat().st_size)
    done = built.run(artifact.path, tmp_path / "image.png", "-o", tmp_path)
    assert done.returncode == 2
    assert "weights.bin: not the file that manifest.json describes" in done.stderr


def test_self_test(built: Built, model: ModelArtifact, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(_encoded_images()["photo"])
    (pack,) = write_assets([model], tmp_path / "packs", sample=tmp_path / "photo.jpg")
    done = built.run(pack, "--self-test")
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "PASS"), done.stderr
    manifest = json.loads((pack / "manifest.json").read_text())
    mask = np.asarray(Image.open(pack / "sample-mask.png"))
    Image.fromarray((mask + 1) % 5).save(pack / "sample-mask.png")
    manifest["files"] = [entry for entry in manifest["files"] if entry["role"] != "sample"]
    (pack / "manifest.json").write_text(json.dumps(manifest))
    done = built.run(pack, "--self-test")
    assert (done.returncode, done.stdout.split(":")[0]) == (1, "FAIL"), done.stderr
    assert "0.000 % of the pixels are as expected, 99.900 % are required" in done.stdout


def test_self_test_of_other_channels(built: Built, tmp_path: Path) -> None:
    """A model of 5 channels has a tensor as its sample; a picture is refused."""
    artifact = convolution(tmp_path / "model", channels=5)
    np.save(tmp_path / "bands.npy", np.random.default_rng(2).random((24, 32, 5), np.float32))
    (pack,) = write_assets([artifact], tmp_path / "packs", sample=tmp_path / "bands.npy")
    done = built.run(pack, "--self-test")
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "PASS"), done.stderr
    Image.new("RGB", (32, 24)).save(tmp_path / "image.png")
    done = built.run(pack, tmp_path / "image.png", "-o", tmp_path)
    assert done.returncode == 2
    assert "this model takes 5 channels" in done.stderr


def _header_of_a_huge_png() -> bytes:
    header = struct.pack(">IIBBBBB", 15_000, 15_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = struct.pack(">I4s", 100, b"IDAT")
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data


def _bad_images() -> dict[str, tuple[bytes, str]]:
    images = _encoded_images()
    return {
        "empty": (b"", "the file is empty"),
        "text": (b"no image", "PNG and JPEG are read, this is neither"),
        "half.jpg": (images["photo"][: len(images["photo"]) // 2], "the image cannot be decoded"),
        "half.png": (images["alpha"][: len(images["alpha"]) // 2], "the file is truncated"),
        "huge.png": (_header_of_a_huge_png(), "the image is too large, 15000x15000 pixels"),
    }


def test_bad_images(built: Built, model: ModelArtifact, tmp_path: Path) -> None:
    for name, (data, message) in _bad_images().items():
        (tmp_path / name).write_bytes(data)
        done = built.run(model.path, tmp_path / name, "-o", tmp_path / "out")
        assert (done.returncode, done.stdout) == (2, ""), name
        assert done.stderr.startswith(f"error: {tmp_path / name}: "), done.stderr
        assert message in done.stderr
    done = built.run(model.path, tmp_path / "absent.png", "-o", tmp_path / "out")
    assert (done.returncode, done.stderr) == (2, f"error: {tmp_path}/absent.png: no such file\n")
    assert not (tmp_path / "out").exists()


def _broken(manifest: dict, name: str) -> str:
    """Breaks a manifest; the new text of it."""
    if name == "half":
        return json.dumps(manifest)[:200]
    if name == "nesting":
        return "[" * 1_000_000
    if name == "schema":
        manifest["schema_version"] = 9
    elif name == "operation":
        manifest["preprocess"]["geometry"][0]["op"] = "rotate"
    elif name == "field":
        manifest["preprocess"]["gamma"] = 2.2
    elif name == "tiles":
        manifest["preprocess"]["tiles"] = {"size": [24, 24], "overlap": [8, 8], "blend": "center"}
    elif name == "type":
        manifest["labels"][0]["id"] = "zero"
    elif name == "outside":
        manifest["files"][0]["path"] = "../model.onnx"
    elif name == "channels":
        manifest["preprocess"]["std"] = [0.5]
    elif name == "objects":
        manifest["outputs"][0]["semantics"] = "instance_masks"
    elif name == "format":
        manifest["format"] = "ncnn"
    elif name == "output":
        manifest["outputs"][0]["name"] = "absent"
    elif name == "pad":
        manifest["preprocess"]["geometry"][0] |= {"width": 2_000_000_000}
    return json.dumps(manifest)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("half", "manifest.json: not JSON"),
        ("nesting", "manifest.json: not JSON"),
        ("schema", "schema_version is 9, this program reads 1"),
        ("operation", 'geometry operation "rotate" is not known'),
        ("field", "a field that this program does not know: gamma"),
        ("tiles", "the model is to be run in tiles"),
        ("type", "manifest.json: not a valid manifest"),
        ("outside", "lies outside of its folder: ../model.onnx"),
        ("channels", "std has 1 channels, there are 3 means"),
        ("objects", "none of the model's outputs is a segmentation"),
        ("format", "a model of the format ncnn"),
        ("output", "ONNX Runtime failed"),
        ("pad", "width is 2000000000, a size in pixels is expected"),
    ],
)
def test_bad_manifests(built: Built, model: ModelArtifact, tmp_path: Path, name: str, message: str) -> None:
    shutil.copytree(model.path, tmp_path / "model")
    file = tmp_path / "model" / "manifest.json"
    file.write_text(_broken(json.loads(file.read_text()), name))
    Image.new("RGB", (32, 24)).save(tmp_path / "image.png")
    done = built.run(tmp_path / "model", tmp_path / "image.png", "-o", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_damaged_models(built: Built, model: ModelArtifact, tmp_path: Path) -> None:
    shutil.copytree(model.path, tmp_path / "model")
    file = tmp_path / "model" / "model.onnx"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    arguments = (tmp_path / "model", tmp_path / "image.png", "-o", tmp_path)
    done = built.run(*arguments)
    assert done.returncode == 2
    assert "model.onnx: not the file that manifest.json describes" in done.stderr
    file.unlink()
    done = built.run(*arguments)
    assert (done.returncode, "model.onnx: missing" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "MODEL_FOLDER IMAGE -o OUT is expected"),
        (["model", "image.png"], "MODEL_FOLDER IMAGE -o OUT is expected"),
        (["model", "image.png", "-o"], "-o: a value is missing"),
        (["model", "image.png", "--threads", "0", "-o", "out"], "a number from 1 to 10000 is expected"),
        (["--quick"], "--quick: no such option"),
    ],
)
def test_wrong_arguments(built: Built, arguments: list[str], message: str) -> None:
    done = built.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_on_arm64(model: ModelArtifact, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """The same sources for arm64, in qemu, with the library of ONNX Runtime's arm64 wheel."""
    arm64 = build_for_arm64(tmp_path_factory.mktemp("cpp-arm64"))
    meets_the_golden_vectors(arm64)
    masks_are_pythons(arm64, model, tmp_path, timeout_s=300)
    for name, (data, message) in _bad_images().items():
        (tmp_path / name).write_bytes(data)
        done = arm64.run(model.path, tmp_path / name, "-o", tmp_path / "out")
        assert done.returncode == 2, name
        assert message in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_memory_error(model: ModelArtifact, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """AddressSanitizer and UBSan over the golden vectors, every kind of image, and images with any byte changed."""
    options = ("-DSEGEXPORT_SANITIZE=ON", "-DCMAKE_BUILD_TYPE=Debug")
    checked = build(tmp_path_factory.mktemp("cpp-sanitized"), *options)
    meets_the_golden_vectors(checked)
    masks_are_pythons(checked, model, tmp_path)
    images, random = _encoded_images(), np.random.default_rng(5)
    small = [images[name] for name in ("photo", "grey", "cmyk", "exif", "alpha")]
    for index in range(40):
        data = bytearray(small[index % len(small)])
        for at in random.integers(0, min(len(data), 2000), 6):
            data[at] = random.integers(0, 256)
        (tmp_path / "spoilt").write_bytes(data[: random.integers(1, len(data))] if index % 3 == 0 else data)
        done = checked.run(model.path, tmp_path / "spoilt", "-o", tmp_path / "out")
        assert done.returncode in (0, 2), done.stderr
        assert "Sanitizer" not in done.stderr
