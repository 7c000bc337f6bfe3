"""Everything that a person can get wrong: exit 2, one clear first line, no traceback, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from segexport.cli import main as cli
from segexport.commands.run import DEMO_RECIPE


class Place:
    """A folder with the example's model and data, and the command line run in this process."""

    def __init__(self, root: Path, capture, monkeypatch) -> None:
        self.root, self._capture, self._monkeypatch = root, capture, monkeypatch
        self.model, self.data = root / "model", root / "data"

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["segexport", *map(str, arguments)])
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = self._capture.readouterr()
        return int(ended.value.code or 0), out, err

    def refused(self, *arguments: str | Path) -> list[str]:
        """Lines of the error. Nothing may have changed on disk."""
        before = self.listing()
        code, out, err = self.run(*arguments)
        assert "Traceback" not in err, err
        assert code == 2, (out, err)
        assert out == ""
        assert self.listing() == before
        lines = err.splitlines()
        start = next(index for index, line in enumerate(lines) if line.lower().startswith("error: "))
        return [lines[start].partition(": ")[2], *lines[start + 1 :]]

    def listing(self) -> list[tuple[str, int]]:
        return sorted((str(path), path.lstat().st_mtime_ns) for path in self.root.rglob("*") if path.is_file())

    def recipe(self, **changes) -> Path:
        content = {
            "model": {"path": "model"},
            "data": {"path": "data", "split": "all", "limit": 3},
            "exports": [{"to": "onnx"}],
            "check": {"latency_seconds": 0, "worst_images": 0},
            **changes,
        }
        path = self.root / "recipe.yaml"
        path.write_text(yaml.safe_dump(content))
        return path


@pytest.fixture
def place(tmp_path, capfd, monkeypatch, shared_cache) -> Place:
    root = tmp_path / "work"
    root.mkdir()
    for name in ("model", "data"):
        shutil.copytree(DEMO_RECIPE.parent / name, root / name)
    monkeypatch.setenv("SEGEXPORT_CACHE", str(shared_cache))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(root)
    return Place(root, capfd, monkeypatch)


# -- models ----------------------------------------------------------------------------------------------------


def corrupt(place: Place, how: str) -> None:
    model, params = place.model / "model.pdmodel", place.model / "model.pdiparams"
    if how == "model missing":
        model.unlink()
    elif how == "params missing":
        params.unlink()
    elif how == "model empty":
        model.write_bytes(b"")
    elif how == "params empty":
        params.write_bytes(b"")
    elif how == "model truncated":
        model.write_bytes(model.read_bytes()[:-1000])
    elif how == "params truncated":
        params.write_bytes(params.read_bytes()[:-1000])
    elif how == "params longer":
        params.write_bytes(params.read_bytes() + b"\0" * 16)
    elif how == "swapped":
        a, b = model.read_bytes(), params.read_bytes()
        model.write_bytes(b), params.write_bytes(a)
    elif how == "both the program":
        params.write_bytes(model.read_bytes())
    elif how == "random":
        model.write_bytes(np.random.default_rng(0).bytes(10_000))
    elif how == "html":
        model.write_text("<!DOCTYPE html><title>404</title>")
    elif how == "lfs":
        params.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")


@pytest.mark.parametrize(
    ("how", "first"),
    [
        ("model missing", "parameters without their program"),
        ("params missing", "a program without its parameters"),
        ("model empty", "the file is empty"),
        ("params empty", "model.pdiparams: empty"),
        ("model truncated", "not a Paddle program, or a damaged one (46566 bytes)"),
        ("params truncated", "parameter 162 of 162 (conv2d_9.w_0) ends early: 13824 bytes wanted"),
        ("params longer", "16 bytes are left after the 162 parameters of the program"),
        ("swapped", "these are parameters, not a program"),
        ("both the program", "this is a program, not its parameters"),
        ("random", "not a Paddle program"),
        ("html", "not a Paddle program, or a damaged one (33 bytes)"),
        ("lfs", "a git-lfs pointer, not the file itself"),
    ],
)
def test_damaged_models(place, how, first):
    corrupt(place, how)
    path = place.model / "model.pdiparams" if how == "model missing" else place.model
    for arguments in (("import", path, "-o", "new"), ("export", path, "--to", "onnx", "-o", "new")):
        what, *_ = place.refused(*arguments)
        assert first in what
        assert f"{place.model}/model.pd" in what


def test_parameters_of_another_model(place):
    """Same length of names and tensors, other sizes: a .pdiparams says its own shapes."""
    data = bytearray((place.model / "model.pdiparams").read_bytes())
    place.model.joinpath("model.pdiparams").write_bytes(data[len(data) // 2 :] + data[: len(data) // 2])
    what, *_ = place.refused("import", "model", "-o", "new")
    assert what == "model/model.pdiparams: not a file of parameters"


def test_a_training_checkpoint(place):
    for name in ("model.pdmodel", "model.pdiparams", "deploy.yaml"):
        (place.model / name).unlink()
    (place.model / "model.pdparams").write_bytes(b"\x80\x04.")
    (place.model / "model.pdopt").write_bytes(b"\x80\x04.")
    for path in ("model", "model/model.pdparams"):
        what, cause, hint = place.refused("import", path, "-o", "new")
        assert "a training checkpoint" in what
        assert cause == "cause: it contains weights without the network that uses them"
        assert "segexport import FILE --config CONFIG" in hint


def test_a_training_checkpoint_with_its_configuration(place):
    checkpoint, config = place.root / "net.pdparams", place.root / "net.yml"
    config.write_text("model: {type: FastSCNN, num_classes: 2}\n")
    checkpoint.write_bytes(b"\x80\x04}")
    taken = ("import", checkpoint, "--config", config, "-o", "new")
    assert place.refused(*taken)[0] == f"{checkpoint}: the checkpoint is cut off after 3 bytes"
    checkpoint.write_bytes(b"\x80\x04}.")
    assert place.refused(*taken)[0] == f"{checkpoint}: the checkpoint contains no weights"
    config.write_text("Deploy: {model: model.pdmodel}\n")
    assert place.refused(*taken)[0] == f"{config}: the file of an export, not a training configuration"
    config.unlink()
    assert place.refused(*taken)[0] == f"{config}: no such file"
    recipe = place.recipe(model={"path": "net.pdparams", "config": "net.yml"})
    assert place.refused("run", recipe)[0].endswith("net.yml: no such file")
    exporting = ("export", "model", "--to", "onnx", "--config", config, "-o", "new")
    assert place.refused(*exporting)[0] == "model: no checkpoint"
    what, hint = place.refused("import", "model", "--paddleseg", "model", "-o", "new")
    assert what == "--paddleseg builds the network of a configuration"
    assert hint == "hint: name it: --config FILE"


def test_a_model_that_is_not_there(place):
    assert place.refused("import", "nowhere", "-o", "new")[0] == "nowhere: no such file or folder"
    assert place.refused("run", place.recipe(model={"path": "nowhere"}))[0].endswith("nowhere: no such file or folder")
    (place.root / "empty").mkdir()
    what, cause, _ = place.refused("import", "empty", "-o", "new")
    assert (what, cause) == ("empty: no model", "cause: it is empty")


def test_a_program_of_paddle_3(place):
    for name in ("model.pdmodel", "model.pdiparams"):
        (place.model / name).unlink()
    (place.model / "model.json").write_text('{"base_code":{"magic":"pir","version":1},"program":{}}')
    (place.model / "model.pdiparams").write_bytes(b"\0" * 100)
    what, *_ = place.refused("import", "model", "-o", "new")
    assert "model.json" in what


@pytest.mark.parametrize("content", ["{}", "[]", "x: [", "Deploy: 3", "Deploy: {transforms: 5}", "\0"])
def test_a_deploy_file_that_is_none(place, content):
    (place.model / "deploy.yaml").write_text(content)
    what, *_ = place.refused("import", "model", "-o", "new")
    assert "deploy.yaml" in what


# -- data ------------------------------------------------------------------------------------------------------


def write(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


def first_sample(place: Place) -> tuple[Path, Path]:
    """The one image and label that the check will read."""
    image, label = (place.data / "all.txt").read_text().splitlines()[0].split()
    (place.data / "all.txt").write_text(f"{image} {label}\n")
    return place.data / image, place.data / label


@pytest.mark.parametrize(
    ("how", "first"),
    [
        ("label value", "label values out of range: 7"),
        ("label size", "the label is 100x50, its image"),
        ("label colour", "not a label image"),
        ("label jpeg", "not an image"),
        ("image text", "not an image"),
        ("image empty", "not an image"),
        ("image truncated", "the image cannot be decoded"),
        ("image huge", "the image is too large"),
        ("image bomb", "the image is too large"),
        ("image missing", "images/"),
    ],
)
def test_images_and_labels(place, how, first):
    image, label = first_sample(place)
    pixels = np.asarray(Image.open(label)).copy()
    if how == "label value":
        pixels[5, 5] = 7
        write(label, pixels)
    elif how == "label size":
        write(label, pixels[:50, :100])
    elif how == "label colour":
        write(label, np.stack([pixels] * 3, axis=-1))
    elif how == "label jpeg":
        Image.fromarray(pixels).save(label, format="JPEG")
    elif how == "image text":
        image.write_text("I am no picture")
    elif how == "image empty":
        image.write_bytes(b"")
    elif how == "image truncated":
        image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    elif how == "image huge":
        Image.new("L", (20_001, 2)).save(image)
    elif how == "image bomb":
        header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
        data = bytearray(image.read_bytes())
        data[16:29] = header
        import zlib

        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        image.write_bytes(data)
    elif how == "image missing":
        image.unlink()
    lines = place.refused("run", place.recipe(), "-o", "out")
    assert first in lines[0], lines
    assert "all.txt" in lines[0]
    assert "line 1" in lines[0]


@pytest.mark.parametrize("size", [(1, 1), (20_000, 1), pytest.param((3, 5), marks=pytest.mark.slow)])
def test_odd_images_that_are_no_mistake(place, size):
    image, label = first_sample(place)
    write(image, np.zeros((size[1], size[0], 3), np.uint8))
    write(label, np.zeros((size[1], size[0]), np.uint8))
    code, _, err = place.run("run", place.recipe(), "-o", "out")
    assert "Traceback" not in err
    assert code in (0, 1), err
    (export,) = json.loads((place.root / "out/report.json").read_text())["exports"]
    assert export["agreement"] == 1.0


def test_calibration_images_are_checked_too(place):
    name = (place.data / "train.txt").read_text().split()[0]
    (place.data / name).write_text("no image")
    recipe = place.recipe(exports=[{"to": "onnx", "precision": "int8", "calibration": {"images": 1000}}])
    code, _, err = place.run("run", recipe, "-o", "out")
    assert (code, "Traceback" in err) == (2, False)
    assert "not an image" in err


def test_more_classes_in_the_data_than_in_the_model(place):
    (place.data / "labels.txt").write_text("a\nb\nc\n")
    assert "the model has 2 classes, " in place.refused("run", place.recipe(), "-o", "out")[0]


def test_a_split_that_is_not_there(place):
    recipe = place.recipe(data={"path": "data", "split": "holdout"})
    assert place.refused("run", recipe, "-o", "out")[0].endswith("holdout.txt: no such list")
    assert place.refused("run", place.recipe(data={"path": "nowhere"}))[0].endswith("nowhere: no such folder")


def test_a_list_that_leaves_its_folder(place):
    (place.data / "all.txt").write_text("../../secret.png /etc/passwd\n")
    (what, *_) = place.refused("run", place.recipe(), "-o", "out")
    assert "all.txt: line 1:" in what


# -- outputs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "import", "export"])
def test_an_output_that_exists(place, command):
    (place.root / "mine").mkdir()
    (place.root / "mine" / "thesis.tex").write_text("x")
    (place.root / "file").write_text("x")
    arguments = {
        "run": ("run", place.recipe()),
        "import": ("import", "model"),
        "export": ("export", "model", "--to", "onnx"),
    }[command]
    assert place.refused(*arguments, "-o", "mine")[0] == "mine: the output folder exists and is not empty"
    assert place.refused(*arguments, "-o", "file")[0] == "file: exists and is a file"


@pytest.fixture
def disk(tmp_path, request):
    """A file system of so many KiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}k", "tmpfs", str(path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize(
    ("disk", "command"),
    [
        (200, ("import", "model")),
        pytest.param(
            1000, ("export", "model", "--to", "onnx"), marks=pytest.mark.slow
        ),  # room for the import, not for the program beside it
        (1400, ("export", "model", "--to", "onnx")),  # paddle2onnx cannot write
        pytest.param(1800, ("export", "model", "--to", "onnx"), marks=pytest.mark.slow),  # its result cannot be written
        pytest.param(1800, ("export", "model", "--to", "paddle-lite"), marks=pytest.mark.slow),  # Opt aborts
    ],
    indirect=["disk"],
)
def test_a_cache_on_a_disk_that_is_full(place, disk, command, monkeypatch):
    monkeypatch.setenv("SEGEXPORT_CACHE", str(disk / "cache"))
    what, cause, hint = place.refused(*command, "-o", "new")
    assert "cannot be written" in what
    assert cause == "cause: No space left on device"
    assert hint == "hint: free some space; `segexport cache gc` removes old outputs"
    assert list((disk / "cache/1/unfinished").iterdir()) == []


@pytest.mark.parametrize("disk", [200], indirect=True)
def test_an_output_on_a_disk_that_is_full(place, disk):
    what, cause, _ = place.refused("import", "model", "-o", disk / "new")
    assert what.startswith(str(disk))
    assert cause == "cause: No space left on device"
    assert list(disk.iterdir()) == []
    what, cause, _ = place.refused("run", place.recipe(), "-o", disk / "new")
    assert cause == "cause: No space left on device"
    assert list(disk.iterdir()) == []


def test_a_name_that_is_too_long(place):
    assert place.refused("run", place.recipe(), "-o", "x" * 300)[0].endswith("File name too long")
    what, cause = place.refused("import", "y" * 5000, "-o", "new")[:2]
    assert (what[-19:], cause) == ("yyy: cannot be read", "cause: File name too long")


# -- artifacts and options -------------------------------------------------------------------------------------


@pytest.fixture
def artifact(place) -> Path:
    code, _, err = place.run("import", "model", "-o", "artifact")
    assert code == 0, err
    return place.root / "artifact"


def test_hostile_manifests(place, artifact):
    manifest = artifact / "manifest.json"
    good = json.loads(manifest.read_text())
    escaping = json.loads(json.dumps(good))
    escaping["files"][0]["path"] = "../../../../etc/passwd"
    cases = {
        "{": "not JSON",
        "[" * 50_000: "not JSON",
        "[]": "schema_version is None",
        "x" * (17 << 20): "over 16 MiB",
        json.dumps(escaping): "not a valid manifest",
        json.dumps({**good, "inputs": []}): "not a valid manifest",
        json.dumps({**good, "lineage": [{"step": "x", "version": "1", "params": {"a": "b"}, "key": 3}]}): "not a valid",
    }
    for text, first in cases.items():
        manifest.write_text(text)
        for command in (
            ("export", artifact, "--to", "onnx", "-o", "new"),
            ("check", artifact, "--reference", "model", "--data", "data", "--split", "all"),
            ("check", "artifact", "--reference", artifact, "--data", "data"),
        ):
            assert first in place.refused(*command)[0]


def test_a_model_changed_after_its_manifest_was_written(place, artifact):
    with (artifact / "model.pdiparams").open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"\xff\xff\xff\xff")
    what, _, hint = place.refused("export", "artifact", "--to", "onnx", "-o", "new")
    assert what.endswith("model.pdiparams: not the file that manifest.json describes")
    assert "make the artifact again" in hint


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        (
            ("export", "model", "--to", "paddle-lite", "--precision", "int8", "-o", "new"),
            "int8 calibration needs images",
        ),
        (
            ("export", "model", "--to", "onnx", "--precision", "bf16", "-o", "new"),
            "--to onnx --precision bf16: cannot be combined",
        ),
        (("export", "model", "--to", "tflite", "-o", "new"), "Invalid value for '--to'"),
        (
            ("export", "model", "--to", "paddle-lite", "--opset", "13", "-o", "new"),
            "there is no paddle-lite option 'opset'",
        ),
        (
            ("export", "model", "--to", "onnx", "--option", "simplfy=no", "-o", "new"),
            "there is no onnx option 'simplfy'",
        ),
        (("export", "model", "--to", "onnx", "--option", "opset", "-o", "new"), "--option opset: no value"),
        (("export", "model", "--to", "onnx", "--option", "simplify=[", "-o", "new"), "--option simplify=[: not YAML"),
        (("export", "model", "--to", "onnx", "--input-size", "big", "-o", "new"), "--input-size big: not a size"),
        (("export", "model", "--to", "onnx", "--input-size", "0x5", "-o", "new"), "--input-size 0x5: not a size"),
        (("export", "model", "--to", "onnx", "--input-size", "-1x5", "-o", "new"), "--input-size -1x5: not a size"),
        (("export", "model", "--to", "onnx", "--labels", "nope.txt", "-o", "new"), "nope.txt: no such file"),
        (("export", "model", "--to", "onnx", "--preprocess", "nope", "-o", "new"), "nope: cannot be read"),
        (("export", "model", "--to", "onnx", "--opset", "3", "-o", "new"), "paddle2onnx cannot convert this program"),
        (("export", "model", "-o", "new"), "give either --to TARGET, or --for PURPOSE --data DIR"),
        (("check", "artifact", "--reference", "model", "--data", "nope"), "nope: no such folder"),
        (("check", "--reference", "model", "--data", "data"), "Missing argument"),
        (("check", "model", "--reference", "model", "--data", "data"), "model: not an artifact"),
        (("run", "nope.yaml"), "nope.yaml: cannot be read"),
        (("run", "data"), "data: cannot be read"),
        (("report", "nope"), "nope: cannot be read"),
        (("bench", "nope"), "nope"),
        (("inspect", "nope"), "nope"),
        (("nonsense",), "No such command 'nonsense'"),
    ],
    ids=lambda value: " ".join(map(str, value))[:60] if isinstance(value, tuple) else None,
)
def test_options_and_paths(place, arguments, first):
    assert first in place.refused(*arguments)[0]


@pytest.mark.parametrize(
    ("runtime", "first"),
    [
        ("onnxruntim", "there is no runtime 'onnxruntim'"),
        ("paddle-lite", "runtime 'paddle-lite' runs paddle-lite, and the exports are paddle"),
    ],
)
def test_a_runtime_that_is_none_or_runs_something_else(place, artifact, runtime, first):
    command = ("check", "artifact", "--reference", "model", "--data", "data", "--split", "all")
    assert place.refused(*command, "--runtime", runtime)[0] == first


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "1e300"])
def test_a_time_that_is_none(place, artifact, seconds):
    command = ("check", "artifact", "--reference", "model", "--data", "data", "--latency-seconds", seconds)
    assert place.refused(*command)[0] == f"--latency-seconds {float(seconds)}: out of range"


@pytest.mark.slow
@pytest.mark.parametrize("device", ["gpu:99", "npu:3"])
def test_a_device_that_is_not_here_is_an_error_not_a_substitute(place, artifact, device):
    """The reference's device; that of an export is an ERROR row."""
    command = ("check", "artifact", "--reference", "model", "--data", "data", "--split", "all", "--limit", "1")
    lines = place.refused(*command, "--reference-device", device, "--latency-seconds", "0")
    assert device in lines[0]
    code, _, err = place.run(*command, "--device", device, "--latency-seconds", "0", "--format", "json", "-o", "out")
    assert (code, "Traceback" in err) == (2, False)
    (export,) = json.loads((place.root / "out/report.json").read_text())["exports"]
    assert export["verdict"] == "ERROR"
    assert device in export["error"]


def test_int8_without_images(place):
    what, hint = place.refused("export", "model", "--to", "onnx", "--precision", "int8", "-o", "new")
    assert what == "int8 calibration needs images, and none are given"
    assert "--calibration DIR" in hint


def test_eight_bit_weights_without_images(place):
    code, _, err = place.run("export", "model", "--to", "onnx", "--precision", "w8", "-o", "new")
    assert (code, "Traceback" in err) == (0, False), err
    step = json.loads((place.root / "new/manifest.json").read_text())["lineage"][-1]
    assert (step["step"], step["params"]["rounding"]) == ("onnx_weights", "nearest")
    what, _ = place.refused("export", "model", "--to", "onnx", "--precision", "w4", "-o", "four")
    assert what == "the rounding of weights needs images, and none are given"


def test_a_fixed_size_that_the_model_does_not_take(place, artifact):
    shape = json.loads((artifact / "manifest.json").read_text())["inputs"][0]["shape"]
    if -1 in shape:
        pytest.skip("the example's input size is dynamic")
    what, *_ = place.refused("export", "model", "--to", "onnx", "--input-size", "7x9", "-o", "new")
    assert "[1, 3, 9, 7]" in what
