"""PaddleDetection's configuration: bases, the network's sections, and the test reader's transforms."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "exporter"))
from detection_networks import write_config

from segexport.errors import InputError
from segexport.importers.detection_config import is_detection, read_detection_config


def test_the_network_and_its_preprocessing(tmp_path):
    file = write_config(tmp_path / "config")
    assert is_detection(file)
    found = read_detection_config(file)
    assert (found.architecture, found.sections["num_classes"]) == ("MaskRCNN", 3)
    assert found.sections["FPN"] == {"out_channel": 16}  # over its base's
    assert found.sections["ResNet"]["depth"] == 18
    assert not found.sections.keys() & {"TestReader", "TrainDataset", "pretrain_weights", "weights"}
    contract = found.deploy_config(3, None).preprocess
    assert [op.op for op in contract.geometry] == ["resize_short", "pad_to_multiple"]
    assert contract.geometry[0].size == 96
    assert contract.geometry[1].multiple == 32
    assert contract.mean == pytest.approx((0.485, 0.456, 0.406))


def test_of_two_bases_the_later_one_decides(tmp_path):
    file = write_config(tmp_path / "config")
    (file.parent / "base" / "more.yml").write_text("ResNet: {depth: 34}\n")
    file.write_text(file.read_text().replace("base/reader.yml]", "base/reader.yml, base/more.yml]"))
    assert read_detection_config(file).sections["ResNet"]["depth"] == 34


def test_a_configuration_of_paddleseg_is_none(tmp_path):
    (tmp_path / "net.yml").write_text("model: {type: FastSCNN}\n")
    assert not is_detection(tmp_path / "net.yml")
    assert not is_detection(tmp_path / "gone.yml")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("architecture: MaskRCNN\n", r"no network: `architecture` with a section of its name"),
        ("_BASE_: [net.yml]\n", "inherits from itself"),
        ("_BASE_: [gone.yml]\n", r"gone\.yml: no such file"),
        ("_BASE_: 3\n", "_BASE_ holds 3, a list of paths"),
        ("architecture: Net\nNet: {}\n", "num_classes is None"),
        ("architecture: Net\nNet: {}\nnum_classes: true\n", "num_classes is True"),
        ("architecture: Net\nNet: {}\nnum_classes: 2\n", "no TestReader"),
        ("architecture: Net\nNet: {a: 'f()'}\nnum_classes: 2\n", r"Net\.a is 'f\(\)'"),
        ("architecture: Net\nNet: {}\nnum_classes: 2\nTestReader: {sample_transforms: [3]}\n", "holds 3, a transform"),
        (
            "architecture: Net\nNet: {}\nnum_classes: 2\nTestReader: {sample_transforms: [{Resize: 3}]}\n",
            "has no param",
        ),
    ],
)
def test_what_is_no_configuration(tmp_path, text, match):
    (tmp_path / "net.yml").write_text(text)
    with pytest.raises(InputError, match=match):
        read_detection_config(tmp_path / "net.yml")
