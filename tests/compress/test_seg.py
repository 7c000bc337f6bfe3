"""PaddleX's classes: their parameters, the networks that PaddleSeg builds for them, and a training from end to end."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from bands import write_data
from installed import require_worker

import segexport
from segexport import seg
from segexport.commands.train import _config
from segexport.data.dataset import Dataset
from segexport.errors import InputError
from segexport.exporter.paddleseg_network import MODULE, WORKER
from segexport.process.worker import Worker

LOSSES = ["use_bce_loss", "use_dice_loss", "class_weight", "ignore_index"]
PARAMETERS = {  # as PaddleX's documents name them
    "DeepLabv3p": [
        "num_classes",
        "backbone",
        "output_stride",
        "aspp_with_sep_conv",
        "decoder_use_sep_conv",
        "encoder_with_aspp",
        "enable_decoder",
        *LOSSES,
    ],
    "UNet": ["num_classes", "upsample_mode", *LOSSES],
    "HRNet": ["num_classes", "width", *LOSSES],
    "FastSCNN": ["num_classes", *LOSSES, "multi_loss_weight"],
}
TRAIN = """
num_epochs train_dataset train_batch_size eval_dataset eval_batch_size save_interval_epochs log_interval_steps save_dir
pretrain_weights optimizer learning_rate lr_decay_power use_vdl sensitivities_file eval_metric_loss early_stop
early_stop_patience resume_checkpoint
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_have_paddlexs_names_and_order(name):
    kind = getattr(segexport.seg, name)
    assert list(inspect.signature(kind).parameters) == PARAMETERS[name]
    method = inspect.signature(kind.train).parameters
    assert [each for each in method if method[each].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD] == [
        "self",
        *TRAIN.split(),
    ]


NETWORKS = {
    "MobileNetV2": (seg.DeepLabv3p(3), {"type": "DeepLabV3P", "backbone": {"type": "MobileNetV2_x1_0"}}),
    "Xception": (
        seg.DeepLabv3p(3, "Xception41", output_stride=8),
        {
            "type": "DeepLabV3P",
            "backbone": {"type": "Xception41_deeplab", "output_stride": 8},
            "backbone_indices": [0, 1],
            "aspp_ratios": [1, 12, 24, 36],
        },
    ),
    "without a decoder": (
        seg.DeepLabv3p(3, "ResNet18_vd", enable_decoder=False, aspp_with_sep_conv=False),
        {"type": "DeepLabV3", "backbone": {"type": "ResNet18_vd"}},
    ),
    "UNet": (seg.UNet(3), {"type": "UNet", "use_deconv": False}),
    "UNet by transposed convolutions": (seg.UNet(3, "deconv"), {"type": "UNet", "use_deconv": True}),
    "HRNet": (seg.HRNet(3, width=18), {"type": "FCN", "backbone": {"type": "HRNet_W18"}}),
    "FastSCNN": (seg.FastSCNN(3), {"type": "FastSCNN"}),
}


@pytest.fixture(scope="module")
def builder():
    require_worker(MODULE)
    with Worker(WORKER, needs=MODULE, name="PaddleSeg") as worker:
        yield worker


@pytest.mark.parametrize("name", NETWORKS)
def test_paddleseg_builds_it(builder, name):
    given, model = NETWORKS[name]
    found = _config(given.network, given._wanted).model
    assert found == model
    building = {"model": {**found, "num_classes": 3}, "dataset": "", "checkout": None, "seed": 0}
    assert len(builder.call("build", building, timeout_s=300)[0]["weights"]) > 50


def test_train_evaluate_predict(tmp_path):
    require_worker(MODULE)
    write_data(tmp_path / "data")
    write_data(tmp_path / "data", split="val")
    model = seg.FastSCNN(num_classes=3, use_dice_loss=True, use_bce_loss=True, multi_loss_weight=[1.0, 0.4])
    made = model.train(
        1,
        Dataset.open(tmp_path / "data", "train"),
        train_batch_size=3,
        eval_dataset=str(tmp_path / "data"),
        save_dir=tmp_path / "output",
        image_size=(64, 64),
    )
    assert made.path == tmp_path / "output" / "best_model"
    params = made.manifest.lineage[1].params
    assert params["losses"] == params["losses"] | {"cross_entropy": 0.0, "bce": 1.0, "dice": 1.0}
    assert (params["optimizer"], params["multi_loss_weight"]) == ("momentum", [1.0, 0.4])
    assert (tmp_path / "output" / "checkpoint.npz").is_file()
    metrics = model.evaluate(tmp_path / "data")
    assert isinstance(metrics, dict)
    assert 0 <= metrics["miou"] <= 1
    result = model.predict(str(tmp_path / "data" / "image0.png"))
    assert result["label_map"].shape == (32, 32)
    assert result["score_map"].shape == (32, 32, 3)
    np.testing.assert_allclose(result["score_map"].sum(axis=2), 1, atol=1e-4)


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"pretrain_weights": "IMAGENET"}, "pretrain_weights='IMAGENET': no weights are known by a name"),
        ({"optimizer": "lamb"}, "optimizer='lamb': an optimizer is named here"),
        ({"sensitivities_file": "DEFAULT"}, "sensitivities_file='DEFAULT': no sensitivities are known by a name"),
        ({"pretrain_weights": 3}, "pretrain_weights=3: the path or URL of a .pdparams is expected"),
        ({"learning_rat": 0.1}, "learning_rat: train has no such parameter"),
        ({"eval_dataset": "elsewhere"}, "data and elsewhere: the lists to train and to evaluate on are of one folder"),
    ],
)
def test_what_paddlex_could_and_this_cannot(options, what):
    with pytest.raises(InputError) as caught:
        seg.UNet().train(1, "data", **options)
    assert caught.value.what == what


def test_a_misspelt_parameter_is_told_the_nearest():
    with pytest.raises(InputError) as caught:
        seg.UNet().train(1, "data", learning_rat=0.1)
    assert caught.value.hint == "did you mean learning_rate?"


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: seg.UNet(num_classes=1), "num_classes=1: a whole number from 2"),
        (lambda: seg.UNet(num_classes="2"), "num_classes='2': a whole number from 2"),  # type: ignore[arg-type]
        (lambda: seg.FastSCNN(multi_loss_weight=1.0), "multi_loss_weight=1.0: a list"),  # type: ignore[arg-type]
        (lambda: seg.DeepLabv3p(backbone=None), "backbone=None: a name is expected"),  # type: ignore[arg-type]
    ],
)
def test_values_of_another_kind(make, what):
    with pytest.raises(InputError, match=what):
        make()


def test_parts_that_the_network_always_has():
    with pytest.raises(InputError, match="enable_decoder=False: PaddleSeg's DeepLabV3P always has it"):
        seg.DeepLabv3p(enable_decoder=False)
    with pytest.raises(InputError, match="output_stride=32: 8 or 16 is expected"):
        seg.DeepLabv3p(output_stride=32)


def test_without_a_decoder_it_is_deeplabv3():
    assert seg.DeepLabv3p(enable_decoder=False, aspp_with_sep_conv=False).network == "DeepLabV3"
    with pytest.raises(InputError, match="encoder_with_aspp=False"):
        seg.DeepLabv3p(enable_decoder=False, aspp_with_sep_conv=False, encoder_with_aspp=False)


def test_before_it_is_trained():
    with pytest.raises(InputError, match="HRNet: not trained yet"):
        seg.HRNet().predict("a.png")
    with pytest.raises(InputError, match="transforms: the preprocessing is part of the trained model"):
        seg.HRNet().predict("a.png", transforms=[])  # type: ignore[arg-type]


def test_the_room_is_imported_when_it_is_asked_for():
    assert Path(segexport.seg.__file__).parent.name == "seg"
