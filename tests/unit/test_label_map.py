"""Which class of the data each class of a model is: by name, by id, and what is said where neither fits."""

from __future__ import annotations

import pytest

from segexport.commands.check import read_label_map
from segexport.errors import InputError
from segexport.measure.label_map import label_map_lookup
from segexport.recipe.schema import DataRecipe

MODEL, DATA = ["road", "sky", "rider"], ["street", "sky", "7"]


@pytest.mark.parametrize(
    ("mapping", "table"),
    [
        ({"road": "street"}, [0, 1, 3]),
        ({"0": "street"}, [0, 1, 3]),
        ({"road": "0", "2": "1"}, [0, 1, 1]),
        ({"rider": "7"}, [3, 1, 2]),  # a class that is called so, before one of this id
        ({"1": "2"}, [3, 2, 3]),  # over the equal name
    ],
)
def test_names_and_ids(mapping, table):
    assert label_map_lookup(MODEL, DATA, mapping).tolist() == table


@pytest.mark.parametrize(
    ("mapping", "fault"),
    [
        ({"3": "sky"}, "the model has no class '3'"),
        ({"road": "9"}, "the dataset has no class '9'"),
        ({"-1": "sky"}, "the model has no class '-1'"),
        ({"road": "sky", "0": "street"}, "the model's class 'road' is mapped twice"),
    ],
)
def test_ids_that_are_none(mapping, fault):
    with pytest.raises(InputError, match=fault):
        label_map_lookup(MODEL, DATA, mapping)


def test_the_error_prints_a_map_to_begin_with(tmp_path):
    with pytest.raises(InputError, match="none of the model's 2 classes maps") as caught:
        label_map_lookup(["roads", "x"], ["road", "sky"], {})
    lines = caught.value.hint.splitlines()
    assert "--label-map FILE" in lines[0]
    assert lines[-2:] == ["0: road  # roads", "1: ?  # x"]
    (tmp_path / "map.yaml").write_text("\n".join(lines[-2:-1]))
    assert label_map_lookup(["roads", "x"], ["road", "sky"], read_label_map(tmp_path / "map.yaml")).tolist() == [0, 2]


@pytest.mark.parametrize("text", ["- a", "a: [b]", "a: 1.5", "true: a", "3", "a: null"])
def test_what_is_no_map(tmp_path, text):
    (tmp_path / "map.yaml").write_text(text)
    with pytest.raises(InputError, match="not a label map") as caught:
        read_label_map(tmp_path / "map.yaml")
    assert "by name or by id" in caught.value.cause


def test_a_recipe_takes_ids_too():
    assert DataRecipe(path="d", label_map={0: "street", "sky": 1}).label_map == {"0": "street", "sky": "1"}
