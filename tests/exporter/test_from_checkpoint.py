"""A checkpoint and its configuration become what the model's own class computes, without running the checkpoint."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from installed import require_worker
from tiny_checkpoint import tiny_checkpoint

from segexport.artifact import ModelArtifact, read_artifact
from segexport.cli.main import cli
from segexport.errors import InputError, StorageError, WorkerFailed
from segexport.exporter import paddleseg_network, program
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.paddleseg_network import MODULE, WORKER
from segexport.exporter.set_head import set_head
from segexport.files import disk
from segexport.files.store import Store
from segexport.importers.training_config import TrainingConfig
from segexport.pipeline.registry import runtime_for
from segexport.process.worker import Worker
from segexport.runtimes.base import RunOptions

NETWORKS = {
    "fast_scnn": {"type": "FastSCNN", "num_classes": 5},
    "pp_liteseg": {
        "type": "PPLiteSeg",
        "num_classes": 5,
        "backbone": {"type": "STDC1"},
        "arm_out_chs": [16, 32, 32],
        "seg_head_inter_chs": [16, 16, 16],
        "cm_out_ch": 32,
    },
    "fcn_of_four_channels": {
        "type": "FCN",
        "num_classes": 3,
        "backbone": {"type": "HRNet_W18_Small_V1", "in_channels": 4},
    },
}
DATA = {
    "train_dataset": {"type": "Dataset"},
    "val_dataset": {
        "type": "Dataset",
        "transforms": [{"type": "Resize", "target_size": [96, 64]}, {"type": "Normalize"}],
    },
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of each network, its configuration, and what its own class computes."""
    python = require_worker(MODULE)
    folder = tmp_path_factory.mktemp("checkpoints")
    (folder / "networks.json").write_text(json.dumps(NETWORKS))
    script = Path(__file__).with_name("paddleseg_checkpoints.py")
    done = subprocess.run([python, "-I", script, folder], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for name, section in NETWORKS.items():
        # The pretrained weights are not downloaded.
        model = {**section, "pretrained": "https://example.invalid/model.pdparams"}
        (folder / f"{name}.yml").write_text(yaml.safe_dump({"model": model, **DATA}))
    return folder


def imported(folder: Path, name: str, store: Path, **options) -> ModelArtifact:
    given = ImportOptions(config=folder / f"{name}.yml", **options)
    return import_model(folder / f"{name}.pdparams", given, Store(store))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("fast_scnn", None),
        pytest.param("pp_liteseg", (96, 64), marks=pytest.mark.slow),
        pytest.param("fcn_of_four_channels", None, marks=pytest.mark.slow),
    ],
)
def test_it_computes_what_the_models_own_class_computes(checkpoints, tools, tmp_path, name, size):
    artifact = imported(checkpoints, name, tmp_path, input_size=size)
    own = np.load(checkpoints / f"{name}.npz")
    graph = program.read(artifact.file("model"), artifact.file("params"))
    (mask,) = tools.paddle(graph, [own["image"]])
    np.testing.assert_array_equal(mask, own["scores"].argmax(axis=1))
    (scores,) = tools.paddle(set_head(graph, "logits")[0], [own["image"]])
    assert np.abs(own["scores"]).max() > 0.1
    np.testing.assert_allclose(scores, own["scores"], rtol=0, atol=1e-5)
    manifest = artifact.manifest
    assert manifest.num_classes == NETWORKS[name]["num_classes"]
    assert manifest.image.shape == ((1, *own["image"].shape[1:]) if size else (-1, own["image"].shape[1], -1, -1))
    assert [op.op for op in manifest.preprocess.geometry] == ["resize"]
    assert any("pretrained was not loaded" in note for note in manifest.lineage[0].notes)


@pytest.mark.slow
def test_one_command_makes_an_nb_that_computes_what_the_models_own_class_computes(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path / "cache"))
    words = [
        "export",
        checkpoints / "fast_scnn.pdparams",
        "--config",
        checkpoints / "fast_scnn.yml",
        "--input-size",
        "96x64",
    ]
    words += ["--to", "paddle-lite", "--head", "logits", "-o", tmp_path / "lite"]
    ended = CliRunner().invoke(cli, [str(word) for word in words])
    assert ended.exit_code == 0, ended.output
    own = np.load(checkpoints / "fast_scnn.npz")
    made = read_artifact(tmp_path / "lite")
    with runtime_for(made.manifest.format).open(made, RunOptions()) as session:
        (scores,) = session.outputs([own["image"]])
    np.testing.assert_array_equal(scores.argmax(axis=1), own["scores"].argmax(axis=1))
    assert np.abs(scores - own["scores"]).max() <= 1e-5 * np.abs(own["scores"]).max()


def test_the_second_time_it_is_found_in_the_store(checkpoints, tmp_path, monkeypatch):
    first = imported(checkpoints, "fast_scnn", tmp_path)
    monkeypatch.setattr(Worker, "__init__", lambda *_args, **_options: pytest.fail("PaddleSeg was started"))
    assert imported(checkpoints, "fast_scnn", tmp_path).path == first.path


def test_a_configuration_of_other_classes_is_told_both_numbers(checkpoints, tmp_path):
    model = {**NETWORKS["fast_scnn"], "num_classes": 7}
    (tmp_path / "seven.yml").write_text(yaml.safe_dump({"model": model}))
    with pytest.raises(InputError, match=r"has 5 classes, seven\.yml says 7"):
        import_model(
            checkpoints / "fast_scnn.pdparams", ImportOptions(config=tmp_path / "seven.yml"), Store(tmp_path / "store")
        )
    assert list((tmp_path / "store").rglob("*.pdmodel")) == []


def test_a_checkout_is_built_from_in_place_of_the_package(checkpoints, tmp_path):
    """A package of the user's own, whose FastSCNN is no network of PaddleSeg's."""
    tiny = tiny_checkpoint(tmp_path)
    options = ImportOptions(config=tiny.config, paddleseg=tiny.checkout)
    found = import_model(tiny.weights, options, Store(tmp_path / "store"))
    assert found.manifest.num_classes == 4
    with pytest.raises(InputError, match="no checkout of PaddleSeg"):
        import_model(tiny.weights, options.model_copy(update={"paddleseg": tmp_path}), Store(tmp_path / "store"))


def test_a_full_folder_for_temporary_files_is_told(tmp_path, monkeypatch):
    """Paddle then writes an empty file and says nothing."""

    class FullDisk:
        def __init__(self, *_args, **_options):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def call(self, command, arguments, *_args, **_options):
            if command == "write":
                for name in ("model.pdmodel", "model.pdiparams"):
                    (Path(arguments["folder"]) / name).write_bytes(b"")
            return {"weights": {}, "num_classes": 2}, []

    monkeypatch.setattr(paddleseg_network, "Worker", FullDisk)
    network = paddleseg_network.PaddleSegNetwork(TrainingConfig(file=Path("net.yml"), model={"type": "Net"}))
    with pytest.raises(InputError, match="empty"):
        network.program(None, lambda _network: {})
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _folder: SimpleNamespace(free=0))
    with pytest.raises(StorageError, match="no room for temporary files"):
        network.program(None, lambda _network: {})


# -- what PaddleSeg says of a configuration --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def builder():
    require_worker(MODULE)
    with Worker(WORKER, needs=MODULE, name="PaddleSeg") as worker:
        yield worker


@pytest.mark.parametrize(
    ("model", "dataset", "what", "more"),
    [
        ({"type": "FastSCN"}, "", "model.type: PaddleSeg has no 'FastSCN'", "did you mean 'FastSCNN'?"),
        (
            {"type": "FastSCNN", "num_classes": 2, "width": 3},
            "",
            "model: FastSCNN: got an unexpected keyword argument 'width'",
            "it takes num_classes, in_channels, enable_auxiliary_loss, align_corners, pretrained",
        ),
        ({"type": "FastSCNN"}, "", "model: FastSCNN: missing a required argument: 'num_classes'", "it takes"),
        (
            {"type": "FCN", "num_classes": 2, "backbone": {"type": "HRNet_W1"}},
            "",
            "model.backbone.type: PaddleSeg has no 'HRNet_W1'",
            "did you mean 'HRNet_W18'?",
        ),
        (
            {"type": "FastSCNN", "num_classes": 5},
            "Cityscapes",
            "model: 5 in the configuration, 19 for the data set Cityscapes (NUM_CLASSES)",
            "",
        ),
        (
            {"type": "BiSeNetV2", "num_classes": 5, "lambd": "wide"},
            "",
            "model: PaddleSeg cannot build BiSeNetV2 with these parameters",
            "ValueError: invalid literal",
        ),
        ({"type": "Compose", "transforms": []}, "", "model.type: 'Compose' is not a network", ""),
    ],
    ids=["a model", "a parameter", "no classes", "a backbone", "other classes", "a value", "a transform"],
)
def test_what_cannot_be_built_is_told_with_what_can(builder, model, dataset, what, more):
    with pytest.raises(WorkerFailed) as caught:
        builder.call("build", {"model": model, "dataset": dataset, "checkout": None, "seed": 0}, timeout_s=300)
    assert caught.value.what == what
    assert more in caught.value.cause + caught.value.hint
    assert "Normalize" not in caught.value.cause


def test_classes_of_a_data_set(builder):
    building = {"model": {"type": "FastSCNN"}, "dataset": "Cityscapes", "checkout": None, "seed": 0}
    assert builder.call("build", building, timeout_s=300)[0]["num_classes"] == 19


@pytest.mark.parametrize("backbone", [{"type": "VisionTransformer", "img_size": 32}, {"type": "ViT_small_patch16_224"}])
def test_a_network_that_asks_for_weights_it_does_not_have(builder, backbone):
    small = {**backbone, "embed_dim": 8, "depth": 1, "num_heads": 1} if "img_size" in backbone else backbone
    model = {"type": "LinearSegmenter", "num_classes": 2, "backbone": small}
    building = {"model": model, "dataset": "", "checkout": None, "seed": 0}
    assert "backbone.pos_embed" in builder.call("build", building, timeout_s=300)[0]["weights"]
