"""`recipe init` writes what `run` takes, wherever the recipe lies."""

from __future__ import annotations

import pytest
from workplace import make_workplace

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
