"""Other forms of data sets, written here file by file, and what they become."""

from __future__ import annotations

import base64
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segexport.data import labelme as labelme_form
from segexport.data.cityscapes import to_train_ids
from segexport.data.coco import decode_rle
from segexport.data.convert import convert, recognise
from segexport.data.dataset import Dataset
from segexport.errors import InputError

GOLDEN = Path(__file__).parent.parent / "golden" / "labelme" / "shapes.json"
SHAPES = json.loads(GOLDEN.read_text())


def png_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def write_image(path: Path, width: int = 20, height: int = 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(path)


def square(name: str, x: int, y: int, side: int) -> dict:
    """LabelMe draws both ends: a square of side + 1 pixels."""
    points = [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]
    return {"label": name, "points": points, "shape_type": "polygon", "group_id": None, "flags": {}}


def labelme(path: Path, *shapes: dict, image: str = "", **more: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"version": "5.0", "shapes": list(shapes), "imagePath": image or f"{path.stem}.png", "imageData": None}
    path.write_text(json.dumps(content | more))
    return path


def labels_of(folder: Path, split: str = "train") -> dict[str, np.ndarray]:
    return {Path(sample.name).stem: sample.label for sample in Dataset.open(folder, split)}


@pytest.mark.parametrize("shape", SHAPES["shapes"], ids=lambda shape: str(shape["shape_type"]))
def test_shapes_are_drawn_as_labelme_draws_them(shape):
    width, height = SHAPES["width"], SHAPES["height"]
    bits = np.unpackbits(np.frombuffer(base64.b64decode(shape["mask"]), np.uint8))[: width * height]
    expected = bits.reshape(height, width).astype(bool)
    assert expected.sum() == shape["pixels"]
    entry = {"label": "x", "shape_type": shape["shape_type"], "points": shape["points"]}
    drawn = labelme_form.draw([entry], {"x": 3}, width, height, Path("file"))
    assert set(np.unique(drawn)) == {0, 3}
    assert np.count_nonzero((drawn > 0) != expected) <= 1


def test_labelme(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    write_image(source / "a.png")
    labelme(source / "a.json", square("road", 0, 0, 9), square("car", 2, 2, 3), square("__ignore__", 15, 0, 2))
    write_image(source / "deep" / "b c.png")
    labelme(source / "deep" / "b c.json", square("_background_", 0, 0, 1), square("car", 0, 0, 0))
    (source / "other.json").write_text('{"something": "else"}')
    result = convert(source, out)
    assert (result.form, result.labels) == ("LabelMe", ("_background_", "car", "road"))
    assert result.counts == {"train": 2}
    assert result.notes == ("no list names the splits: all images are in train.txt",)
    assert (out / "train.txt").read_text() == "images/a.png labels/a.png\nimages/b_c.png labels/b_c.png\n"
    expected = np.zeros((10, 20), np.uint8)
    expected[:10, :10] = 2
    expected[2:6, 2:6] = 1
    expected[0:3, 15:18] = 255
    labels = labels_of(out)
    np.testing.assert_array_equal(labels["a"], expected)
    assert labels["b_c"].sum() == 1
    assert Dataset.open(out, "train").labels == result.labels
    assert Image.open(out / "labels/a.png").mode == "P"


def test_labelme_splits_orders_of_labels_and_images_elsewhere(tmp_path):
    source = tmp_path / "in"
    write_image(source / "images" / "x.jpg")
    labelme(source / "annotations" / "x.json", square("car", 0, 0, 1), image="..\\images\\x.jpg")
    labelme(
        source / "annotations" / "y.json",
        square("dog", 0, 0, 1),
        image="gone.jpg",
        imageData=base64.b64encode(png_bytes(np.zeros((10, 20, 3), np.uint8))).decode(),
    )
    (source / "train_anno_list.txt").write_text("annotations/x.json\n")
    (source / "val_anno_list.txt").write_text("annotations/y.json\n")
    result = convert(source, tmp_path / "out", labels=["_background_", "dog", "car"])
    assert result.counts == {"train": 1, "val": 1}
    assert labels_of(tmp_path / "out")["x"].max() == 2
    val = next(iter(Dataset.open(tmp_path / "out", "val")))
    assert (val.name, val.label.max()) == ("images/y.png", 1)


def test_a_mask_of_labelme(tmp_path):
    mask = np.array([[1, 0], [1, 1]], np.uint8)
    shape = {"label": "x", "shape_type": "mask", "points": [[3, 4], [4, 5]]}
    shape["mask"] = base64.b64encode(png_bytes(mask)).decode()
    drawn = labelme_form.draw([shape], {"x": 7}, 6, 8, Path("file"))
    np.testing.assert_array_equal(drawn[4:6, 3:5], mask * 7)
    assert drawn.sum() == 21


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"points": [[0, 0], [1, 1]]}, "shape 1 .x.: a polygon of 2 points\ncause: it takes 3 or more"),
        ({"points": [[0, 0]], "shape_type": "circle"}, "a circle of 1 points\ncause: it takes 2"),
        ({"points": [[0, 0]], "shape_type": "blob"}, "shape_type 'blob' is unknown"),
        ({"points": [[0, 0], [1, "a"], [2, 2]]}, r"a point is \[1, 'a'\], two numbers"),
        ({"points": [[0, 0], [1e300, 0], [2, 2]]}, r"a point is \[1e\+300, 0\]"),
        ({"points": [[0, 0], [float("nan"), 0], [2, 2]]}, "a point is .nan, 0."),
        ({"points": None}, "a polygon of 0 points"),
        ({"points": [[0, 0], [1, 1]], "shape_type": "mask", "mask": "?"}, "its mask is not base64"),
        ({"points": [[0, 0], [1, 1]], "shape_type": "mask", "mask": "QUJD"}, "not an image"),
    ],
)
def test_bad_shapes(tmp_path, shape, message):
    source = tmp_path / "in"
    write_image(source / "a.png")
    labelme(source / "a.json", {"label": "x"} | shape)
    with pytest.raises(InputError, match=message):
        convert(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]  # nothing half-written


def test_labelmes_own_class_list_begins_with_what_is_ignored(tmp_path):
    """`__ignore__` is class -1 there, so `_background_` is 0 and `car` is 1, with `--labels` and without."""
    source = tmp_path / "in"
    write_image(source / "a.png")
    labelme(source / "a.json", square("car", 0, 0, 3), square("__ignore__", 5, 5, 2))
    names = ["__ignore__", "_background_", "bus", "car"]
    (source / "labels.txt").write_text("\n".join(names) + "\n")
    for labels, out in ((names, "given"), (None, "found")):
        result = convert(source, tmp_path / out, labels=labels)
        assert result.labels == ("_background_", "bus", "car")
        assert set(np.unique(labels_of(tmp_path / out)["a"])) == {0, 2, 255}
        assert (tmp_path / out / "labels.txt").read_text() == "_background_\nbus\ncar\n"


def test_what_labelme_ignores_stands_first_or_nowhere(tmp_path):
    source = tmp_path / "in"
    write_image(source / "a.png")
    labelme(source / "a.json", square("car", 0, 0, 3))
    with pytest.raises(InputError, match="__ignore__ is line 2 of the class names"):
        convert(source, tmp_path / "out", labels=["_background_", "__ignore__", "car"])


def test_a_class_for_what_no_shape_covers_is_said(tmp_path):
    source = tmp_path / "in"
    write_image(source / "a.png")
    labelme(source / "a.json", square("car", 0, 0, 3))
    assert "pixels outside of all shapes become class 0, 'car'" in convert(source, tmp_path / "o", labels=["car"]).notes


@pytest.mark.parametrize("name", ["car\nvan", "car\rvan", "car\u2028van", "car\x0cvan", " car", "car\n"])
def test_a_class_name_that_a_line_cannot_hold_is_refused(tmp_path, name):
    """It would shift the names of all classes behind it."""
    source = tmp_path / "in"
    write_image(source / "a.png")
    labelme(source / "a.json", square(name, 0, 0, 3), square("tree", 5, 5, 2))
    with pytest.raises(InputError) as caught:
        convert(source, tmp_path / "out")
    assert f"is called {name!r}" in caught.value.what


@pytest.mark.parametrize(
    "shape",
    [
        {"shape_type": [1]},
        {"shape_type": {"a": 1}},
        {"shape_type": 3},
        {"points": {"a": 1}},
        {"shape_type": "circle", "points": [[0, 0], [1e6, 1e6]]},
        {"shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": 7},
    ],
)
def test_fields_of_another_type_and_huge_circles_are_errors(tmp_path, shape):
    source = tmp_path / "in"
    write_image(source / "a.png")
    labelme(source / "a.json", square("x", 0, 0, 3) | shape)
    start = time.process_time()
    with pytest.raises(InputError, match=r"shape 1 \(x\)"):
        convert(source, tmp_path / "out")
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("categories", "id", float("inf")),
        ("categories", "id", [1]),
        ("annotations", "category_id", [1]),
        ("annotations", "category_id", {"a": 1}),
        ("annotations", "image_id", [1]),
        ("images", "id", [1]),
        ("images", "file_name", 5),
        ("annotations", "segmentation", "text"),
    ],
)
def test_coco_fields_of_another_type_are_errors(tmp_path, place, key, value):
    source = tmp_path / "in"
    write_image(source / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]}],
        "categories": [{"id": 1, "name": "c"}],
    }
    content[place][0][key] = value
    (source / "train.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"train\.json"):
        convert(source, tmp_path / "out")


def test_bad_labelme_folders(tmp_path):
    source = tmp_path / "in"
    labelme(source / "a.json", square("car", 0, 0, 3))
    with pytest.raises(InputError, match=r"a.json: its image 'a.png' is not there"):
        convert(source, tmp_path / "out")
    write_image(source / "a.png")
    with pytest.raises(InputError, match="class 'car' is not among the labels, perhaps 'cat'"):
        convert(source, tmp_path / "out", labels=["_background_", "cat"])
    labelme(source / "a.json", square("car", 0, 0, 3), imageWidth=21, imageHeight=10)
    with pytest.raises(InputError, match="drawn on an image of 21x10, the image is 20x10"):
        convert(source, tmp_path / "out")
    labelme(source / "a.json", square("car", 0, 0, 3), imageData="!!", image="no.png")
    with pytest.raises(InputError, match="its imageData is not base64"):
        convert(source, tmp_path / "out")
    (source / "a.json").write_text('{"shapes": [3]}')
    with pytest.raises(InputError, match="not a LabelMe file"):
        convert(source, tmp_path / "out", form="labelme")
    (source / "a.json").write_text('{"shapes": [')
    with pytest.raises(InputError, match=r"a.json: not JSON"):
        convert(source, tmp_path / "out")
    labelme(source / "a.json", *[square(f"c{k}", 0, 0, 1) for k in range(255)])
    with pytest.raises(InputError, match="256 classes, at most 255"):
        convert(source, tmp_path / "out")
    (source / "train_anno_list.txt").write_text("../outside.json\n")
    with pytest.raises(InputError, match="no such file in the folder"):
        convert(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_output_folder_that_exists_is_left_alone(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    write_image(source / "a.png")
    labelme(source / "a.json", square("car", 0, 0, 3))
    out.mkdir()
    (out / "precious").write_text("x")
    with pytest.raises(InputError, match="the output folder exists and is not empty"):
        convert(source, out)
    assert [path.name for path in out.iterdir()] == ["precious"]


def test_equal_names_in_two_folders(tmp_path):
    source = tmp_path / "in"
    for folder in ("one", "two"):
        write_image(source / folder / "a.png")
        labelme(source / folder / "a.json", square("car", 0, 0, 3))
    convert(source, tmp_path / "out")
    assert sorted(labels_of(tmp_path / "out")) == ["one_a", "two_a"]


def coco(path: Path, annotations: list[dict], images: list[dict] | None = None, **more: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": images or [{"id": 5, "file_name": "a.png", "width": 20, "height": 10}],
        "annotations": [{"id": k, "image_id": 5} | entry for k, entry in enumerate(annotations)],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
    }
    path.write_text(json.dumps(content | more))


def test_coco_polygons_and_run_lengths(tmp_path):
    pytest.importorskip("pycocotools")
    source = tmp_path / "in"
    write_image(source / "train2017" / "a.png")
    small = {"size": [10, 20], "counts": [0, 2, 198]}  # column after column: the first two pixels of column 0
    coco(
        source / "annotations" / "instances_train2017.json",
        [
            {"category_id": 3, "segmentation": small, "iscrowd": 1},
            {"category_id": 18, "segmentation": [[0, 0, 6, 0, 6, 5, 0, 5]]},
        ],
    )
    result = convert(source, tmp_path / "out")
    assert (result.form, result.labels, result.counts) == ("COCO", ("_background_", "car", "dog"), {"train": 1})
    expected = np.zeros((10, 20), np.uint8)
    expected[:5, :6] = 2  # a pixel is in when its centre is
    expected[:2, 0] = 1  # the smaller object lies above
    np.testing.assert_array_equal(labels_of(tmp_path / "out")["a"], expected)


def test_compressed_run_lengths_are_those_of_pycocotools():
    mask_api = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for width, height in [(1, 1), (7, 5), (300, 200)]:
        for share in (0.0, 0.02, 0.5, 1.0):
            mask = rng.random((height, width)) < share
            code = mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
            np.testing.assert_array_equal(decode_rle(code, width, height, "it"), mask)


@pytest.mark.parametrize("counts", [[5], [-1, 201], "zz~", None, [100, "x"], "0" * 40, {"a": 1}])
def test_bad_run_lengths(counts):
    with pytest.raises(InputError, match="it: its run-length code"):
        decode_rle(counts, 20, 10, "it")


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"category_id": 4, "segmentation": []}, "annotation 0 has no known category"),
        ({"category_id": 3, "segmentation": []}, "annotation 0: no segmentation"),
        ({"category_id": 3, "segmentation": [[1, 2, 3]]}, "a polygon is not a list of x and y"),
        ({"category_id": 3, "segmentation": [[0, 0, 1e9, 0, 3, 3]]}, "a polygon is not a list of x and y"),
    ],
)
def test_bad_coco(tmp_path, annotation, message):
    source = tmp_path / "in"
    write_image(source / "a.png")
    coco(source / "train.json", [annotation])
    with pytest.raises(InputError, match=message):
        convert(source, tmp_path / "out")


def test_bad_coco_images(tmp_path):
    source = tmp_path / "in"
    coco(source / "train.json", [])
    with pytest.raises(InputError, match=r"its image 'a.png' is not there"):
        convert(source, tmp_path / "out")
    write_image(source / "a.png", width=21)
    with pytest.raises(InputError, match=r"a.png is 20x10 in the file, and 21x10 on disk"):
        convert(source, tmp_path / "out")
    write_image(tmp_path / "secret.png")
    coco(source / "train.json", [], images=[{"id": 1, "file_name": "../secret.png"}])
    with pytest.raises(InputError, match=r"its image '../secret.png' is not there"):
        convert(source, tmp_path / "out")


def voc(root: Path, stem: str, mask: np.ndarray, palette: bool = True) -> None:
    write_image(root / "JPEGImages" / f"{stem}.jpg")
    folder = root / "SegmentationClass"
    folder.mkdir(exist_ok=True)
    image = Image.fromarray(mask)
    if palette:
        image.putpalette(list(range(256)) * 3)
    image.save(folder / f"{stem}.png")


def test_voc_palettes(tmp_path):
    source = tmp_path / "in"
    mask = np.zeros((10, 20), np.uint8)
    mask[0], mask[1] = 15, 255
    for stem in ("2007_1", "2007_2", "2007_3"):
        voc(source, stem, mask)
    sets = source / "ImageSets" / "Segmentation"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("2007_1\n2007_2\n")
    (sets / "val.txt").write_text("2007_3\n")
    (sets / "trainval.txt").write_text("2007_1\n2007_2\n2007_3\n")
    result = convert(source, tmp_path / "out")
    assert result.form == "Pascal VOC"
    assert result.labels[15] == "person"
    assert result.counts == {"train": 2, "val": 1}
    np.testing.assert_array_equal(labels_of(tmp_path / "out", "val")["2007_3"], mask)
    (source / "class_names.txt").write_text("__ignore__\n_background_\ncar\n")
    with pytest.raises(InputError, match=r"2007_1.png: class ids 15, but there are 2 classes"):
        convert(source, tmp_path / "out2")
    (sets / "val.txt").write_text("2007_9\n")
    with pytest.raises(InputError, match=r"val.txt: '2007_9' has no mask"):
        convert(source, tmp_path / "out2")


def test_voc_colours(tmp_path):
    source = tmp_path / "in"
    mask = np.zeros((10, 20, 3), np.uint8)
    mask[2:4] = (128, 64, 128)
    mask[5] = (224, 224, 192)
    voc(source, "a", mask, palette=False)
    with pytest.raises(InputError, match="not a label image"):
        convert(source, tmp_path / "out")
    (source / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\n")
    result = convert(source, tmp_path / "out")
    assert result.labels == ("background", "road")
    label = labels_of(tmp_path / "out")["a"]
    assert (label[2:4] == 1).all()
    assert (label[5] == 255).all()
    mask[7, 3] = (1, 2, 3)
    voc(source, "a", mask, palette=False)
    with pytest.raises(InputError, match=r"the colour \(1, 2, 3\) at \(3, 7\) is not in labelmap.txt"):
        convert(source, tmp_path / "out2")


def test_cityscapes(tmp_path):
    source = tmp_path / "in"
    ids = np.zeros((10, 20), np.uint8)
    ids[0], ids[1], ids[2] = 7, 33, 16
    for split, kind in (("train", "labelIds"), ("val", "labelTrainIds")):
        write_image(source / "leftImg8bit" / split / "aachen" / "aachen_0_leftImg8bit.png")
        folder = source / "gtFine" / split / "aachen"
        folder.mkdir(parents=True)
        values = ids if kind == "labelIds" else to_train_ids(ids)
        Image.fromarray(values).save(folder / f"aachen_0_gtFine_{kind}.png")
    result = convert(source, tmp_path / "out", link=True)
    assert (result.form, len(result.labels), result.counts) == ("Cityscapes", 19, {"train": 1, "val": 1})
    for split in ("train", "val"):
        (label,) = labels_of(tmp_path / "out", split).values()
        assert label[:4, 0].tolist() == [0, 18, 255, 255]
    original = source / "leftImg8bit/train/aachen/aachen_0_leftImg8bit.png"
    assert original.stat().st_nlink == 2
    write_image(source / "leftImg8bit" / "val" / "aachen" / "aachen_1_leftImg8bit.png")
    with pytest.raises(InputError, match=r"aachen_1_leftImg8bit.png: no mask"):
        convert(source, tmp_path / "out2")


def test_forms_that_are_not_recognised(tmp_path):
    with pytest.raises(InputError, match="its form is not recognised"):
        recognise(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        convert(tmp_path / "gone", tmp_path / "out")
    write_image(tmp_path / "JPEGImages" / "a.jpg")
    (tmp_path / "SegmentationClass").mkdir()
    with pytest.raises(InputError, match="no annotated images"):
        convert(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="class names are for LabelMe only"):
        convert(tmp_path, tmp_path / "out", labels=["a"])
