"""PaddleSeg's training configuration: inheritance, the network, its classes and channels, the preprocessing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from segexport.errors import InputError
from segexport.importers.training_config import read_training_config
from segexport.spec import Resize

BASE = """\
batch_size: 4
iters: 1000
train_dataset:
  type: Dataset
  num_classes: 5
  transforms: [{type: RandomHorizontalFlip}, {type: Normalize}]
val_dataset:
  type: Dataset
  num_classes: 5
  transforms:
    - type: Resize
      target_size: [64, 32]
    - type: Normalize
      mean: [0.1, 0.2, 0.3]
      std: [0.5, 0.5, 0.5]
model:
  type: FCN
  backbone: {type: HRNet_W18, align_corners: false, pretrained: https://example.org/hrnet.tar.gz}
  backbone_indices: [-1]
loss: {types: [{type: CrossEntropyLoss}], coef: [1]}
"""


def config(folder: Path, text: str = BASE, name: str = "net.yml"):
    (folder / name).write_text(text)
    return read_training_config(folder / name)


def refused(folder: Path, text: str, match: str) -> InputError:
    with pytest.raises(InputError, match=match) as caught:
        config(folder, text)
    return caught.value


def test_the_network_its_classes_and_its_preprocessing(tmp_path):
    found = config(tmp_path)
    assert found.model["type"] == "FCN"
    assert found.model["num_classes"] == 5
    assert found.model["backbone_indices"] == [-1]
    assert found.dataset == ""
    deploy = found.deploy_config(3, None)
    assert deploy.preprocess.geometry == (Resize(width=64, height=32),)
    assert deploy.preprocess.mean == (0.1, 0.2, 0.3)
    assert deploy.source == "net.yml (PaddleSeg)"
    assert any("pretrained was not loaded" in note and "example.org" in note for note in deploy.notes)


def test_a_file_says_over_its_bases_key_by_key(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "data.yml").write_text(BASE)
    (tmp_path / "base" / "model.yml").write_text("_base_: data.yml\nmodel: {backbone: {align_corners: true}}\n")
    found = config(tmp_path, "_base_: base/model.yml\nmodel: {backbone_indices: [0]}\n")
    assert found.model["backbone"]["type"] == "HRNet_W18"
    assert found.model["backbone"]["align_corners"] is True
    assert found.model["backbone_indices"] == [0]


def test_a_section_that_inherits_nothing(tmp_path):
    (tmp_path / "base.yml").write_text(BASE)
    found = config(tmp_path, "_base_: [base.yml]\nmodel: {_inherited_: false, type: UNet, num_classes: 5}\n")
    assert found.model == {"type": "UNet", "num_classes": 5}


def test_classes_and_channels_of_a_dataset_class_are_left_to_paddleseg(tmp_path):
    found = config(tmp_path, "train_dataset: {type: Cityscapes}\nmodel: {type: UNet}\n")
    assert found.dataset == "Cityscapes"
    assert "num_classes" not in found.model


def test_channels_of_the_data_go_to_the_backbone_or_to_the_model(tmp_path):
    content = yaml.safe_load(BASE)
    content["train_dataset"]["img_channels"] = 4
    assert config(tmp_path, yaml.safe_dump(content)).model["backbone"]["in_channels"] == 4
    del content["model"]["backbone"]
    assert config(tmp_path, yaml.safe_dump(content)).model["in_channels"] == 4


def test_transforms_of_an_older_version_are_under_export(tmp_path):
    found = config(tmp_path, BASE + "export: {transforms: [{type: Normalize, mean: [0, 0, 0], std: [1, 1, 1]}]}\n")
    assert found.deploy_config(3, None).preprocess.mean == (0, 0, 0)


def test_without_transforms_paddlesegs_default_is_assumed_and_said(tmp_path):
    deploy = config(tmp_path, "model: {type: UNet, num_classes: 2}\n").deploy_config(3, None)
    assert deploy.preprocess.mean == (0.5, 0.5, 0.5)
    assert any("names no transforms" in note for note in deploy.notes)


def test_an_evaluation_that_an_export_does_not_do_is_said(tmp_path):
    found = config(tmp_path, BASE + "test_config: {is_slide: true, crop_size: [64, 64], stride: [32, 32]}\n")
    (note,) = [note for note in found.notes if "in sliding windows" in note]
    assert note.endswith("unless it is told: --tile-size 64x64 --tile-overlap 32x32 --tile-blend average")
    found = config(tmp_path, BASE + "test_config: {is_slide: true}\n")
    assert any(note.endswith("an export sees the whole image, once") for note in found.notes)


def test_the_label_that_training_left_out(tmp_path):
    content = yaml.safe_load(BASE)
    content["train_dataset"]["ignore_index"] = 254
    assert config(tmp_path, yaml.safe_dump(content)).deploy_config(3, None).ignore_index == 254


def test_a_random_transform_of_validation_is_refused_with_its_place(tmp_path):
    content = yaml.safe_load(BASE)
    content["val_dataset"]["transforms"].insert(0, {"type": "RandomPaddingCrop", "crop_size": [64, 64]})
    found = config(tmp_path, yaml.safe_dump(content))
    with pytest.raises(InputError, match=r"net.yml: val_dataset: transform 1, RandomPaddingCrop: a random transform"):
        found.deploy_config(3, None)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("Deploy: {model: model.pdmodel}\n", "the file of an export, not a training configuration"),
        ("batch_size: 4\n", "no network: `model` with its `type` is expected"),
        ("model: [1]\n", "no network"),
        ("- 1\n", "not a configuration"),
        ("model: {type: UNet}\ntrain_dataset: 3\n", "train_dataset is 3, a section is expected"),
        ("model: {type: UNet, num_classes: many}\n", "num_classes is 'many', a whole number up to 65536 is"),
        ("model: {type: UNet, num_classes: 400000000}\n", "num_classes is 400000000, a whole number up to 65536 is"),
        ("model: {type: UNet, when: 2020-01-01}\n", "model.when is .*, a number, text, list or section is expected"),
        ("model: !!python/object/apply:os.getcwd []\n", "not plain YAML data"),
        ("model: {type: UNet, backbone: {type: ViT, norm_layer: print(1)}}\n", "backbone.norm_layer is 'print"),
        ("_base_: elsewhere.yml\n", "elsewhere.yml: no such file"),
        ("_base_: net.yml\n", "inherits from itself"),
        ("_base_: [1]\n", "_base_ holds 1"),
        (BASE.replace("num_classes: 5", "num_classes: 7", 1), "num_classes is 7 in train_dataset, 5 in val_dataset"),
        (BASE.replace("type: Dataset", "type: Cityscapes", 1), "of two types: Cityscapes, Dataset"),
        ("model: {type: UNet}\nval_dataset: {transforms: {type: Normalize}}\n", "val_dataset.transforms is .*, a list"),
        ("version: 2.0.0\nModel: UNet\nTransforms: []\n_init_params: {}\n", "PaddleX's model.yml, not a training"),
    ],
)
def test_what_is_no_configuration(tmp_path, text, match):
    refused(tmp_path, text, match)


def test_a_section_without_inheritance_stays_so_over_all_bases(tmp_path):
    (tmp_path / "runtime.yml").write_text("iters: 10\n")
    (tmp_path / "base.yml").write_text(BASE)
    found = config(
        tmp_path, "_base_: [runtime.yml, base.yml]\nmodel: {_inherited_: false, type: UNet, num_classes: 5}\n"
    )
    assert found.model == {"type": "UNet", "num_classes": 5}


def test_of_a_key_given_twice_the_last_is_used_and_said(tmp_path):
    found = config(tmp_path, BASE + "iters: 7\nmodel: {type: UNet, num_classes: 5}\n")
    assert found.model == {"type": "UNet", "num_classes": 5}
    assert [note for note in found.notes if "again" in note] == [
        "warning: net.yml: 'iters' in line 21 is given again; the last one was used, as in PaddleSeg",
        "warning: net.yml: 'model' in line 22 is given again; the last one was used, as in PaddleSeg",
    ]


def test_a_python_tuple_is_a_list(tmp_path):
    found = config(tmp_path, BASE.replace("[0.1, 0.2, 0.3]", "!!python/tuple [0.1, 0.2, 0.3]"))
    assert found.deploy_config(3, None).preprocess.mean == (0.1, 0.2, 0.3)


def test_the_data_set_of_the_training_gives_the_classes(tmp_path):
    text = "train_dataset: {type: Cityscapes}\nval_dataset: {type: ADE20K}\nmodel: {type: UNet}\n"
    assert config(tmp_path, text).dataset == "Cityscapes"


def test_an_empty_list_of_transforms_normalizes_nothing(tmp_path):
    preprocess = config(
        tmp_path, "model: {type: UNet, num_classes: 2}\nval_dataset: {type: Dataset, transforms: []}\n"
    ).deploy_config(3, None)
    assert (preprocess.preprocess.scale, preprocess.preprocess.mean) == (1.0, (0.0, 0.0, 0.0))
    assert any("no Normalize" in note for note in preprocess.notes)


def test_transforms_that_only_code_explains_are_refused_unless_the_user_describes_them(tmp_path):
    found = config(
        tmp_path,
        "model: {type: UNet, num_classes: 2}\n"
        "val_dataset: {type: EG1800, common_transforms: [{type: Normalize, mean: [0.4], std: [0.2]}]}\n",
    )
    with pytest.raises(InputError, match="val_dataset gives its transforms as common_transforms"):
        found.deploy_config(3, None)
    stated = config(tmp_path).deploy_config(3, None).preprocess
    assert found.deploy_config(3, stated).preprocess == stated


def test_different_transforms_of_export_and_validation_are_said(tmp_path):
    exported = "export: {transforms: [{type: Normalize}]}\n"
    assert any(
        "export and val_dataset have different transforms" in note for note in config(tmp_path, BASE + exported).notes
    )
    alone = "model: {type: UNet, num_classes: 5}\n" + exported
    assert not any("different transforms" in note for note in config(tmp_path, alone).notes)


def test_the_evaluation_of_version_2_9_is_said_too(tmp_path):
    runtime = "global: {device: gpu}\ntrain: {do_eval: false}\n"
    found = config(tmp_path, BASE + runtime + "test: {is_slide: true, crop_size: [64, 64], stride: [32, 32]}\n")
    (note,) = [note for note in found.notes if note.startswith("warning")]
    assert "test evaluates in sliding windows" in note
    assert note.endswith("--tile-size 64x64 --tile-overlap 32x32 --tile-blend average")
    found = config(tmp_path, BASE + runtime + "test: {aug_eval: true, scales: 0.5}\n")
    assert any("test evaluates at 0.5 of an image's size; an export" in note for note in found.notes)
    found = config(tmp_path, BASE + "test_config: {aug_eval: true, scales: [0.5, 1], flip_horizontal: true}\n")
    assert any("at 0.5, 1 of an image's size and mirrored too" in note for note in found.notes)
    found = config(tmp_path, BASE + runtime + "test: {aug_eval: true, scales: 1.0}\n")
    assert not any(note.startswith("warning") for note in found.notes)


def test_bases_that_multiply_are_refused_soon(tmp_path):
    for index in range(14):
        (tmp_path / f"{index}.yml").write_text(f"_base_: [{', '.join([f'{index + 1}.yml'] * 4)}]\n")
    (tmp_path / "14.yml").write_text("model: {type: UNet}\n")
    refused(tmp_path, "_base_: 0.yml\n", "too many bases: over 200 files")
