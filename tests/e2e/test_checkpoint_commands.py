"""Commands that read a model take a training checkpoint with its configuration, as import does."""

from __future__ import annotations

import pytest
from installed import require_worker
from tiny_checkpoint import tiny_checkpoint

from segexport.exporter.paddleseg_network import MODULE


@pytest.fixture
def tiny(workplace):
    require_worker(MODULE)
    return tiny_checkpoint(workplace.root, classes=2)


@pytest.mark.slow
def test_inspect_check_and_diagnose(workplace, tiny):
    built = ("--config", tiny.config, "--paddleseg", tiny.checkout)
    described = workplace.segexport("inspect", tiny.weights, *built, "--input-size", "96x64")
    assert described.code == 0, described.stderr
    assert "conv2d" in described.stdout
    assert "onnx" in described.stdout
    made = workplace.segexport("export", tiny.weights, *built, "--to", "onnx", "-o", "tiny-onnx")
    assert made.code == 0, made.stderr
    original = ("--reference", tiny.weights, *built)
    told = ("--data", "data", "--split", "all", "--limit", "3", "--latency-seconds", "0")
    checked = workplace.segexport("check", "tiny-onnx", *original, *told, "-o", "report")
    assert checked.code in (0, 1), checked.stderr  # three images decide nothing
    assert workplace.report("report")["exports"][0]["agreement"] == 1.0
    image = next((workplace.root / "data/images").iterdir())
    diagnosed = workplace.segexport("diagnose", "tiny-onnx", *original, "--image", image)
    assert diagnosed.code == 0, diagnosed.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("inspect", "tiny.pdparams"),
        ("check", "model", "--reference", "tiny.pdparams", "--data", "data", "--split", "all"),
    ],
    ids=lambda words: words[0],
)
def test_a_checkpoint_without_its_configuration(bare, command):
    tiny_checkpoint(bare.root)
    found = bare.segexport(*command)
    assert found.code == 2
    assert found.error == "tiny.pdparams: a training checkpoint, not an export"
    assert "--config" in found.stderr


def test_a_golden_pack_has_no_configuration(bare):
    found = bare.segexport("check", "model", "--golden", "golden.zip", "--config", "net.yml")
    assert found.code == 2
    assert found.error == "--golden and --config cannot be combined"
