"""`segexport train`: a network of PaddleSeg from its name to a trained model."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from bands import write_data
from file_server import serving
from installed import require_worker
from tiny_checkpoint import tiny_checkpoint

import segexport
from segexport.artifact import file_digest, warning
from segexport.commands.finetune import FinetuneOptions
from segexport.commands.train import NetworkOptions, train
from segexport.compress.channel_analysis import analyze
from segexport.errors import InputError
from segexport.exporter import program
from segexport.importers.checkpoint_fit import beginning
from segexport.process.worker import Worker


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Data of three classes, to train and to measure on."""
    write_data(tmp_path / "data")
    write_data(tmp_path / "data", split="val")
    return tmp_path


def refused(folder: Path, network: str, *, wanted: dict | None = None, **course) -> InputError:
    given = FinetuneOptions(**{"data": folder / "data", "steps": 2, **course})
    with pytest.raises(InputError) as caught:
        train(network, folder / "trained", NetworkOptions(**(wanted or {})), given)
    assert not (folder / "trained").exists()
    return caught.value


def test_from_a_name_to_a_model_that_predicts(folder, monkeypatch):
    require_worker("paddleseg")
    course = {"data": folder / "data", "steps": 4, "batch_size": 3, "learning_rate": 1e-2, "seed": 1}
    course |= {"image_size": (64, 64), "multi_loss_weight": (1.0, 0.4)}
    made = segexport.train("FastSCNN", folder / "trained", **course)
    manifest = made.manifest
    assert [entry.step for entry in manifest.lineage] == ["import", "finetune", "set_head"]
    assert "auxiliary heads, taken off: 1" in manifest.lineage[1].notes
    assert [(spec.shape, spec.semantics) for spec in manifest.outputs] == [((1, 64, 64), "class_index")]
    assert [label.name for label in manifest.labels] == ["low", "middle", "high"]
    assert [op.op for op in manifest.preprocess.geometry] == ["resize"]
    assert manifest.warnings == ()
    with segexport.load(folder / "trained") as model:
        (result,) = model.predict(str(folder / "data" / "image0.png"))
    assert result.label_map.shape == (32, 32)
    # The same command finds what is done: nothing is built or trained again.
    monkeypatch.setattr(Worker, "__init__", lambda *_args, **_options: pytest.fail("a worker was started"))
    again = segexport.train("FastSCNN", folder / "again", **course)
    assert (again.path / "model.pdiparams").read_bytes() == (made.path / "model.pdiparams").read_bytes()


def test_what_paddleseg_has_not(folder):
    require_worker("paddleseg")
    error = refused(folder, "FastSCN")
    assert (error.what, error.hint) == ("FastSCN: model.type: PaddleSeg has no 'FastSCN'", "did you mean 'FastSCNN'?")
    error = refused(folder, "UNet", multi_loss_weight=(1.0, 0.4))
    assert error.what == "UNet has 1 heads, 2 are to be trained"


# -- what is refused before PaddleSeg is started ---------------------------------------------------------------------


def test_images_of_several_sizes(folder):
    file = folder / "data" / "image0.png"
    cv2.imwrite(str(file), cv2.imread(str(file))[:16])
    error = refused(folder, "FastSCNN")
    assert error.what == f"{folder / 'data'}/train.txt: its images become tensors of 2 sizes"
    assert error.cause.startswith("32x16, 32x32")
    assert error.hint == "resize them: --image-size WxH"


def test_classes_that_nobody_names(folder):
    (folder / "data" / "labels.txt").unlink()
    assert refused(folder, "FastSCNN").what == f"{folder / 'data'}: the number of classes is unknown"


def test_one_class_alone(folder):
    (folder / "data" / "labels.txt").write_text("a\n")
    assert refused(folder, "FastSCNN").what == f"{folder / 'data'}: 1 class"


def test_classes_that_are_named_twice(folder):
    error = refused(folder, "FastSCNN", wanted={"num_classes": 7})
    assert error.what == f"{folder / 'data'}: labels.txt names 3 classes, --num-classes says 7"


@pytest.mark.parametrize(
    ("option", "what"),
    [
        ("width", "--option width: no value"),
        ("width=[", "--option width=[: not YAML"),
        ("num_classes=9", "--option num_classes=9: the data decides the number of classes"),
        ("type.name=a", "--option type.name=a: type is 'FastSCNN', it has no parameters"),
        ("norm=print(1)", "FastSCNN: model.norm is 'print(1)'"),
    ],
)
def test_an_option_that_is_none(folder, option, what):
    assert refused(folder, "FastSCNN", wanted={"option": (option,)}).what == what


def test_a_configuration_that_is_not_there(folder):
    assert refused(folder, str(folder / "net.yml")).what == f"{folder / 'net.yml'}: no such file"


def test_weights_that_begin_nothing(folder):
    require_worker("paddleseg")
    (folder / "other.pdparams").write_bytes(pickle.dumps({"w": np.ones(3, np.float32)}))
    error = refused(folder, "FastSCNN", wanted={"pretrained": folder / "other.pdparams"})
    assert error.what == f"{folder / 'other.pdparams'}: none of its 1 weights fits the network"


def test_weights_of_a_network_or_of_its_backbone_alone_where_they_fit():
    network = {"backbone.conv": ("float32", (2, 3)), "backbone.norm": ("float32", (2,)), "head": ("float32", (5, 2))}
    weights = {
        "conv": np.ones((2, 3), np.float32),
        "backbone.norm": np.ones(2, np.float32),
        "head": np.ones((7, 2), np.float32),
        "norm": np.ones(2, np.float64),
    }
    found = beginning(Path("w.pdparams"), weights, network)
    assert list(found.taken) == ["backbone.conv", "backbone.norm"]
    assert found.misfits == {"head": ("float32 [7, 2]", "float32 [5, 2]")}
    assert (found.random, found.unused) == ((), ("norm",))
    assert found.notes("w.pdparams") == [
        "2 of its 3 weights begin as in w.pdparams",
        warning(
            "1 weights of w.pdparams were left out, they do not fit: head is float32 [7, 2], "
            "the network takes float32 [5, 2]"
        ),
        "1 weights of w.pdparams are not of this network: norm",
    ]


def test_weights_of_another_type_are_named(tmp_path):
    network = {"conv": ("float32", (2, 3)), "bias": ("float32", (2,))}
    given = {"conv": np.zeros((2, 3), np.float16), "bias": np.zeros(5, np.float32)}
    with pytest.raises(InputError, match="none of its 2 weights fits") as caught:
        beginning(tmp_path / "w.pdparams", given, network)
    assert caught.value.cause == (
        "conv is float16 [2, 3], the network takes float32 [2, 3], bias is float32 [5], the network takes float32 [2]"
    )


def test_a_url_without_a_digest(folder):
    error = refused(folder, "FastSCNN", wanted={"pretrained": "https://example.invalid/model.pdparams"})
    assert error.what == "https://example.invalid/model.pdparams: a URL without the digest of its file"


def test_a_training_begins_with_weights_from_a_url(folder, monkeypatch):
    require_worker("paddleseg")
    monkeypatch.setenv("no_proxy", "*")
    tiny = tiny_checkpoint(folder, classes=3)
    wanted = {"paddleseg": tiny.checkout, "head": "keep", "seed": 2}
    course = {"data": folder / "data", "steps": 1, "batch_size": 3, "learning_rate": 1e-9}
    with serving(folder) as server:
        url = f"{server.url}/{tiny.weights.name}#sha256={file_digest(tiny.weights)}"
        made = segexport.train("Tiny", folder / "trained", pretrained=url, **wanted, **course)
    assert "2 of its 2 weights begin as in tiny.pdparams" in made.manifest.lineage[0].notes
    graph = program.read(made.file("model"), made.file("params"))
    kernel = next(value for value in graph.params.values() if value.shape == (3, 3, 1, 1))
    np.testing.assert_allclose(kernel[:, :, 0, 0], np.eye(3), atol=1e-6)


# -- pruning before the training --------------------------------------------------------------------------------------


def test_a_network_is_pruned_by_sensitivities_before_it_is_trained(folder):
    require_worker("paddleseg")
    course = {"data": folder / "data", "steps": 2, "batch_size": 3, "head": "keep", "seed": 1}
    course["paddleseg"] = tiny_checkpoint(folder, classes=3).checkout
    whole = segexport.train("Pair", folder / "whole", **course)
    (group,) = analyze(program.read(whole.file("model"), whole.file("params"))).groups
    file = folder / "sensitivities.json"
    file.write_text(json.dumps({"baseline": {"0": 0.5}, group.name: {"0.25": 0.0, "0.5": 0.01, "0.75": 0.4}}))
    before = file.read_bytes()
    made = segexport.train("Pair", folder / "pruned", sensitivities_file=file, eval_metric_loss=0.01, **course)
    assert [entry.step for entry in made.manifest.lineage] == ["import", "prune", "finetune"]
    shapes = [value.shape for value in program.read(made.file("model"), made.file("params")).params.values()]
    assert (8, 3, 3, 3) in shapes
    assert file.read_bytes() == before


def test_a_network_of_half_the_width(folder):
    require_worker("paddleseg")
    course = {"data": folder / "data", "steps": 2, "batch_size": 3, "head": "keep", "seed": 1, "width": 0.5}
    course["paddleseg"] = tiny_checkpoint(folder, classes=3).checkout
    made = segexport.train("Pair", folder / "narrow", **course)
    assert [entry.step for entry in made.manifest.lineage] == ["import", "prune", "finetune"]
    shapes = [value.shape for value in program.read(made.file("model"), made.file("params")).params.values()]
    assert (8, 3, 3, 3) in shapes  # of 16


def test_a_width_beside_sensitivities(folder):
    error = refused(folder, "FastSCNN", wanted={"width": 0.5, "sensitivities_file": folder / "sensitivities.json"})
    assert error.what == "--width and --sensitivities-file: both set the number of channels"


def test_sensitivities_that_are_not_there(folder):
    require_worker("paddleseg")
    tiny = tiny_checkpoint(folder, classes=3)
    wanted = {"sensitivities_file": folder / "gone.json", "paddleseg": tiny.checkout}
    assert refused(folder, "Pair", wanted=wanted).what == f"{folder / 'gone.json'}: no such file"
    (folder / "other.json").write_text(json.dumps({"elsewhere": {"0.5": 0.0}}))
    error = refused(folder, "Pair", wanted={**wanted, "sensitivities_file": folder / "other.json"})
    assert error.what == f"{folder / 'other.json'}: sensitivities of another model"
