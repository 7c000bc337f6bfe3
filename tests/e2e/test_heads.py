"""`segexport export --head` and `head:` in a recipe, on the built-in model: what leaves, and what the check says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from segexport.artifact import read_artifact
from segexport.data.images import decode_image
from segexport.pipeline.registry import runtime_for
from segexport.preprocess import apply
from segexport.runtimes.base import RunOptions

FULL, SMALL = (1, 128, 128), (1, 64, 64)


def output_of(folder, image) -> tuple:
    """The only output's spec, and what the runtime really gives for an image."""
    artifact = read_artifact(folder)
    tensor, _ = apply(artifact.manifest.preprocess, decode_image(image))
    with runtime_for(artifact.manifest.format).open(artifact, RunOptions()) as session:
        (array,) = session.outputs([tensor])
    (spec,) = artifact.manifest.outputs
    return spec, array


@pytest.fixture
def image(workplace):
    return next(iter(sorted((workplace.root / "data" / "images").iterdir())))


@pytest.mark.parametrize(
    ("to", "head", "dtype", "semantics", "given", "shape"),
    [
        ("onnx", "logits", "int32", "logits", "float32", (1, 2, 128, 128)),
        ("onnx", "argmax", "uint8", "class_index", "uint8", FULL),
        ("onnx", "argmax_small", "int32", "class_index", "int32", SMALL),
        ("paddle-lite", "argmax", "int32", "class_index", "int32", FULL),
        ("paddle-lite", "argmax_small", "int32", "class_index", "int32", SMALL),
    ],
)
def test_the_manifest_says_what_the_runtime_gives(workplace, image, to, head, dtype, semantics, given, shape):
    done = workplace.segexport(
        "export", "model", "--to", to, "--head", head, "--mask-dtype", dtype, "-o", "out",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    spec, array = output_of(workplace.root / "out", image)
    assert (spec.semantics, spec.dtype, spec.shape) == (semantics, given, shape)
    assert (str(array.dtype), array.shape) == (given, shape)
    if (to, head) == ("onnx", "argmax"):
        assert workplace.segexport("export", "model", "--to", to, "--head", "logits", "-o", "logits").code == 0
        np.testing.assert_array_equal(array, output_of(workplace.root / "logits", image)[1].argmax(axis=1))


def test_a_check_of_every_head(workplace):
    heads = [{"head": "logits"}, {"head": "argmax", "mask_dtype": "uint8"}, {"head": "argmax_small"}]
    recipe = workplace.recipe(exports=[{"to": "onnx", **one} for one in heads])
    workplace.segexport("run", recipe, "-o", "out")
    found = {export["name"]: export for export in workplace.report()["exports"]}
    assert list(found) == ["onnx-fp32-logits", "onnx-fp32-argmax-uint8", "onnx-fp32-argmax_small"]
    assert found["onnx-fp32-logits"]["agreement"] == found["onnx-fp32-argmax-uint8"]["agreement"] == 1
    small = found["onnx-fp32-argmax_small"]
    checks = {check["name"]: check for check in small["checks"]}
    assert checks["tripwire.shape"]["verdict"] == "PASS"
    assert 0.9 < small["agreement"] < 1  # edges of 2x2 blocks in place of bilinear ones
    assert abs(small["miou_delta"]) < 0.02


def test_a_small_mask_that_nobody_declared_still_trips(workplace):
    """The same file, without the lineage that says that it was asked for."""
    assert workplace.segexport("export", "model", "--to", "onnx", "--head", "argmax_small", "-o", "small").code == 0
    file = workplace.root / "small" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["lineage"] = [entry for entry in manifest["lineage"] if entry["step"] != "set_head"]
    file.write_text(json.dumps(manifest))
    done = workplace.segexport(
        "check", "small", "--reference", "model", "--data", "data", "--split", "all", "--limit", "2",
        "--latency-seconds", "0", "-o", "out",
    )  # fmt: skip
    checks = {check["name"]: check for check in workplace.report()["exports"][0]["checks"]}
    assert done.code == 2  # nothing could be compared
    assert checks["tripwire.shape"]["verdict"] == "FAIL"
    assert "(64, 64) where the reference gives (128, 128)" in checks["tripwire.shape"]["message"]


def test_a_declared_mask_of_another_size_trips(workplace):
    assert workplace.segexport("export", "model", "--to", "onnx", "--head", "argmax_small", "-o", "small").code == 0
    file = workplace.root / "small" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["outputs"][0]["shape"] = [1, 32, 32]
    file.write_text(json.dumps(manifest))
    workplace.segexport(
        "check", "small", "--reference", "model", "--data", "data", "--split", "all", "--limit", "2",
        "--latency-seconds", "0", "-o", "out",
    )  # fmt: skip
    checks = {check["name"]: check for check in workplace.report()["exports"][0]["checks"]}
    assert "(64, 64) where its manifest declares (32, 32)" in checks["tripwire.shape"]["message"]


@pytest.mark.parametrize(
    ("options", "what", "rest"),
    [
        (
            ("--to", "paddle-lite", "--head", "argmax", "--mask-dtype", "uint8"),
            "Paddle-Lite cannot run operator cast from int32 to uint8",
            "--mask-dtype int32",
        ),
        (
            ("--to", "onnx", "--head", "softmax", "--mask-dtype", "uint8"),
            "--to onnx --precision fp32 --head softmax --mask-dtype uint8: cannot be combined",
            "mask_dtype is for the heads argmax and argmax_small, the head is softmax",
        ),
    ],
)
def test_what_cannot_be_is_refused(workplace, options, what, rest):
    done = workplace.segexport("export", "model", *options, "-o", "new")
    assert done.code == 2
    assert what in done.error
    assert rest in done.stderr
    assert "Traceback" not in done.stderr
    assert not (workplace.root / "new").exists()
