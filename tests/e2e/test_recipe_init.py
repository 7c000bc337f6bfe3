"""`recipe init` writes what `run` takes, wherever the recipe lies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from workplace import make_workplace

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "exporter"))

from graphs import Graph

from segexport.recipe.reader import read_recipe


@pytest.fixture
def workplace(tmp_path, shared_cache):
    return make_workplace(tmp_path / "a: place", shared_cache)


def test_it_runs_from_another_folder(workplace):
    done = workplace.segexport("recipe", "init", "model", "--data", "data", "-o", "recipes/my.yaml")
    assert done.code == 0, done.stderr
    assert "exports onnx-fp32, onnx-int8; segexport run recipes/my.yaml" in done.stderr
    recipe = read_recipe(workplace.root / "recipes/my.yaml")
    assert (recipe.model.path, recipe.data.path) == ("../model", "../data")
    assert (recipe.data.split, recipe.data.calibration_split) == ("val", "train")
    path = workplace.root / "recipes/my.yaml"
    path.write_text(path.read_text().replace("latency_seconds: 10", "latency_seconds: 0"))
    ran = workplace.segexport("run", path, "-o", "out")
    assert ran.code in (0, 1), ran.stderr
    assert [export["name"] for export in workplace.report()["exports"]] == ["onnx-fp32", "onnx-int8"]


def test_a_folder_of_images_and_mistakes(workplace):
    done = workplace.segexport("recipe", "init", "model", "--data", "data/images")
    assert done.code == 0, done.stderr
    assert read_recipe(workplace.root / "recipe.yaml").data.split == "val"
    again = workplace.segexport("recipe", "init", "model", "--data", "data/images")
    assert (again.code, again.error) == (2, "recipe.yaml: exists")
    for model, data in (("nowhere", "data"), ("model", "nowhere")):
        done = workplace.segexport("recipe", "init", model, "--data", data, "-o", "other.yaml")
        assert (done.code, done.error.startswith("nowhere: no such")) == (2, True), done.stderr
        assert not (workplace.root / "other.yaml").exists()


def free_network(folder: Path) -> None:
    """A network that takes images of any size, as PaddleSeg writes it."""
    graph = Graph()
    program = graph.program(graph.op("softmax", {"X": graph.feed(1, 3, -1, -1)}, (1, 3, -1, -1), axis=1))
    folder.mkdir()
    program.write(folder)
    (folder / "deploy.yaml").write_text(
        "Deploy:\n  model: model.pdmodel\n  params: model.pdiparams\n  transforms:\n"
        "  - {type: Resize, target_size: [96, 64]}\n"
        "  - {type: Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}\n"
    )


def test_every_target_of_a_network_of_any_size(workplace):
    """LiteRT's and ncnn's files hold one size: that of the first image, after the network's own preprocessing."""
    free_network(workplace.root / "free")
    done = workplace.segexport("recipe", "init", "free", "--data", "data/images", "--to", "all")
    assert done.code == 0, done.stderr
    recipe = read_recipe(workplace.root / "recipe.yaml")
    assert recipe.exports[0].to == "onnx"
    assert {export.to for export in recipe.exports} >= {"onnx", "litert", "ncnn", "mnn", "openvino", "paddle-lite"}
    assert {export.precision for export in recipe.exports} == {"fp32"}
    assert recipe.model.input_size == (96, 64)


def test_one_target_of_a_network_of_any_size(workplace):
    free_network(workplace.root / "free")
    one = workplace.segexport("recipe", "init", "free", "--data", "data/images", "--to", "mnn")
    assert one.code == 0, one.stderr
    recipe = read_recipe(workplace.root / "recipe.yaml")
    assert ([export.to for export in recipe.exports], recipe.model.input_size) == (["mnn"], None)
    unknown = workplace.segexport("recipe", "init", "free", "--data", "data/images", "--to", "nccn", "-o", "no.yaml")
    assert (unknown.code, unknown.error) == (2, "there is no target 'nccn'")
    assert "did you mean 'ncnn'?" in unknown.stderr
