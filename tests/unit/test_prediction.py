"""The result of one image: names, forms and files as PaddleX has them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from segexport.errors import InputError, StorageError
from segexport.predict.prediction import SegmentationResult
from segexport.ui.pictures import default_labels

MASK = np.array([[0, 1, 1], [2, 1, 1]], np.uint8)
LABELS = default_labels(["背景", "road", "sky", "absent"])


def result(input_path="photos/a.jpg", image=None) -> SegmentationResult:
    image = np.full((2, 3, 3), 100, np.uint8) if image is None else image
    return SegmentationResult(str(input_path), image, MASK, np.zeros((2, 3, 4), np.float32), LABELS)


def test_it_is_a_mapping_too():
    found = result()
    assert list(found) == ["input_path", "page_index", "pred", "label_map", "score_map"]
    assert found["label_map"] is found.label_map is found["pred"]
    assert found["score_map"].shape == (2, 3, 4)
    assert found["page_index"] is None
    with pytest.raises(KeyError):
        found["labels"]


def test_json():
    assert result().json == {
        "res": {
            "input_path": "photos/a.jpg",
            "page_index": None,
            "label_list": ["背景", "road", "sky", "absent"],
            "pred": [[0, 1, 1], [2, 1, 1]],
        }
    }


def test_img_is_the_image_under_the_colours():
    picture = result().img["res"]
    assert picture.size == (3, 2)
    # 0.4 * 100 + 0.6 * (230, 159, 0), the colour of class 1
    assert picture.getpixel((1, 0)) == (178, 135, 40)


def test_shares():
    assert result().shares == pytest.approx({"背景": 1 / 6, "road": 4 / 6, "sky": 1 / 6})


def test_print(capsys):
    result().print()
    said = capsys.readouterr().out
    assert said.startswith('{\n    "res": {\n        "input_path": "photos/a.jpg",')
    assert "背景" in said
    assert json.loads(said)["res"]["pred"] == "..."
    result().print(indent=1, ensure_ascii=True)
    said = capsys.readouterr().out
    assert said.startswith('{\n "res"')
    assert "\\u80cc" in said
    result().print(format_json=False)
    assert capsys.readouterr().out.startswith("{'res': {'input_path': 'photos/a.jpg', 'page_index': None")


@pytest.mark.parametrize("options", [{}, {"indent": 2}, {"indent": 0}, {"indent": None}, {"ensure_ascii": True}])
def test_saved_json_is_the_same_data(tmp_path, options):
    path = result().save_to_json(tmp_path / "res.json", **options)
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == result().json["res"]
    assert ("背景" in text) is not options.get("ensure_ascii", False)


def test_saved_json_has_a_row_of_the_mask_on_each_line(tmp_path):
    text = result().save_to_json(tmp_path / "res.json").read_text(encoding="utf-8")
    assert text.splitlines()[-5:] == ['    "pred": [', "        [0, 1, 1],", "        [2, 1, 1]", "    ]", "}"]


def test_in_a_folder_files_are_called_as_the_image(tmp_path):
    assert result().save_to_img(tmp_path) == tmp_path / "a.jpg"
    assert result().save_to_json(tmp_path) == tmp_path / "a.json"
    assert result().save_to_json(f"{tmp_path}/new/output/") == tmp_path / "new/output/a.json"
    assert result().save_to_img(tmp_path / "v1.0") == tmp_path / "v1.0/a.jpg"
    assert result("array_0").save_to_img(tmp_path) == tmp_path / "array_0.png"
    assert result("http://host/x/b.webp?v=1").save_to_img(tmp_path) == tmp_path / "b.webp"
    assert result("http://host").save_to_json(tmp_path) == tmp_path / "download.json"
    assert result().save_to_img(tmp_path, kind="mask") == tmp_path / "a.png"
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_kinds_of_pictures(tmp_path):
    mask = np.asarray(Image.open(result().save_to_img(tmp_path / "mask.png", kind="mask")))
    assert mask.tolist() == MASK.tolist()
    color = np.asarray(Image.open(result().save_to_img(tmp_path / "color.png", kind="color")))
    assert color[:, 0].tolist() == [[0, 0, 0], [86, 180, 233]]
    with pytest.raises(InputError, match="'heat': not a kind of picture") as caught:
        result().save_to_img(tmp_path / "x.png", kind="heat")
    assert caught.value.cause == "it is overlay, color or mask"
    with pytest.raises(InputError, match=r"x\.jpg: class ids are kept by PNG only"):
        result().save_to_img(tmp_path / "x.jpg", kind="mask")
    assert not (tmp_path / "x.jpg").exists()


def test_a_mask_of_many_classes(tmp_path):
    wide = SegmentationResult("a.png", np.zeros((1, 2, 3), np.uint8), np.array([[0, 300]], np.uint16), None, ())
    read = np.asarray(Image.open(wide.save_to_img(tmp_path / "wide.png", kind="mask")))
    assert read.tolist() == [[0, 300]]


def test_the_image_itself_is_never_overwritten(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (3, 2)).save(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"a\.png: this is the image itself"):
        result(path).save_to_img(tmp_path)
    assert path.read_bytes() == before


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        result().save_to_json(tmp_path / "file" / "res.json")
