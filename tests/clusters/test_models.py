"""Models with a `postprocess`: what `predict` gives, as pictures and JSON, at the size of the image."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest
from PIL import Image

import segexport
from segexport import preprocess
from segexport.artifact import read_artifact
from segexport.errors import InputError, UnsupportedModelError
from segexport.exporter.import_options import ImportOptions
from segexport.spec import Lanes, MultiScale, SpatialEmbedding

COLORS = [(250, 40, 40), (40, 250, 40), (40, 40, 250)]
# Lane where any colour is bright; the embedding is the colour.
LANE_OUTPUTS = {
    "binary": (np.array([[0, 0, 0], [1, 1, 1]]), np.array([200, 0]), "logits"),
    "embedding": (np.eye(3) / 50, np.zeros(3), "other"),
}


def line(height: int, foot: float, lean: float, y: np.ndarray) -> np.ndarray:
    """x of a straight lane."""
    return foot + (height - y) * lean


def street(size=(256, 128)) -> tuple[np.ndarray, list]:
    """BGR picture of three straight lanes, and the x(y) of each."""
    width, height = size
    picture = np.full((height, width, 3), 20, np.uint8)
    ys, xs = np.mgrid[:height, :width]
    lines = [functools.partial(line, height, *one) for one in ((40, 0.4), (120, 0.1), (210, -0.5))]
    for color, lane in zip(COLORS, lines, strict=True):
        picture[(np.abs(xs - lane(ys)) <= 4) & (ys > 20)] = color[::-1]
    return picture, lines


def test_lanes_at_the_size_of_the_image(saved, tmp_path):
    """A letterbox of 128x128: lanes come back to 256x128, with a point every 10 rows."""
    rule = Lanes(min_samples=100)
    folder = saved("lanes", LANE_OUTPUTS, size=(128, 128), letterbox=(128, 128), postprocess=rule)
    picture, lines = street()
    Image.fromarray(picture[..., ::-1]).save(tmp_path / "street.png")
    with segexport.load(folder) as model:
        (found,) = model.predict(tmp_path / "street.png")
    assert found.summary == "3 lanes"
    for lane, x_of in zip(found.lanes, lines, strict=True):
        assert np.abs(lane.points[:, 0] - x_of(lane.points[:, 1])).max() < 2
        assert [y for y in lane.points[:, 1] if y % 10 == 0] == [*range(30, 130, 10)]
        assert lane.pixels > 150
    assert found.label_map.shape == (128, 256)
    assert set(np.unique(found.label_map)) == {0, 1, 2, 3}
    saved_json = json.loads(found.save_to_json(tmp_path).read_text())
    assert saved_json == found.json["res"]
    assert [lane["pixels"] for lane in saved_json["lanes"]] == [lane.pixels for lane in found.lanes]
    assert np.asarray(found.picture("mask")).max() == 3
    assert np.asarray(found.picture()).shape == (128, 256, 3)


def test_an_image_without_lanes(saved, tmp_path):
    folder = saved("lanes", LANE_OUTPUTS, postprocess=Lanes())
    with segexport.load(folder) as model:
        (found,) = model.predict(np.full((64, 80, 3), 20, np.uint8))
        assert (found.summary, found.lanes, found.label_map.max()) == ("no lane", (), 0)
        assert json.loads(found.save_to_json(tmp_path).read_text())["lanes"] == []
        with pytest.raises(InputError, match="tiles: the outputs of this model"):
            model.predict(np.zeros((8, 8, 3), np.uint8), slice_size=4)


def test_embeddings_with_nan_are_an_error(saved):
    broken = {**LANE_OUTPUTS, "embedding": (np.eye(3), np.full(3, np.nan), "other")}
    folder = saved("lanes", broken, postprocess=Lanes())
    with segexport.load(folder) as model, pytest.raises(InputError, match="array_0: the model's embeddings hold NaN"):
        list(model.predict(street()[0]))


def test_a_model_without_an_embedding_is_refused(saved):
    folder = saved("lanes", {"binary": LANE_OUTPUTS["binary"]}, postprocess=Lanes())
    with (
        segexport.load(folder) as model,
        pytest.raises(UnsupportedModelError, match="postprocess lanes needs") as caught,
    ):
        model.predict(street()[0])
    assert "binary [1, 2, -1, -1] (logits)" in caught.value.cause


# Offsets in red and green, 100 pixels to a unit; the seed in blue. 128 is no offset.
RAW = np.array([[0.01, 0, 0], [0, 0.01, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0.1]])
RAW_BIAS = np.array([-1.28, -1.28, 1500, 1500, -12.8])
CENTRES = [(30, 24), (62, 24), (50, 44)]


def instance_picture() -> tuple[np.ndarray, list[np.ndarray]]:
    """BGR picture that encodes three discs, and their masks."""
    ys, xs = np.mgrid[:64, :96]
    picture = np.zeros((64, 96, 3), np.uint8)
    masks = []
    for x, y in CENTRES:
        mask = (xs - x) ** 2 + (ys - y) ** 2 <= 81
        distance = np.hypot(xs - x, ys - y)
        picture[mask, 2], picture[mask, 1] = 128 + x - xs[mask], 128 + y - ys[mask]
        picture[mask, 0] = 190 - distance[mask]
        masks.append(mask)
    return picture, masks


@pytest.mark.parametrize("heads", [1, 2])
def test_instances_at_the_size_of_the_image(saved, tmp_path, heads):
    rule = SpatialEmbedding(activated=True, min_pixels=40, unit_px=(100, 100))
    outputs = {"all": (RAW, RAW_BIAS, "logits")}
    labels = tuple("abcde")
    if heads == 2:
        outputs = {"seeds": (RAW[4:], RAW_BIAS[4:], "probability"), "instance": (RAW[:4], RAW_BIAS[:4], "other")}
        labels = ("nothing", "car")
    folder = saved("cells", outputs, postprocess=rule, labels=labels)
    picture, masks = instance_picture()
    with segexport.load(folder) as model:
        (found,) = model.predict(picture)
        assert len(found) == 3
        for mask in masks:
            assert (
                max((one["mask"].astype(bool) & mask).sum() / (one["mask"].astype(bool) | mask).sum() for one in found)
                > 0.97
            )
        assert {one["category"] for one in found} == {"object" if heads == 1 else "car"}
        left, top, width, height = found[0]["bbox"]
        ys, xs = np.nonzero(found[0]["mask"])
        assert (left, top, left + width, top + height) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert np.asarray(found.picture("mask")).max() == 3
        assert len(json.loads(found.save_to_json(tmp_path).read_text())["objects"]) == 3
        (none,) = model.predict(np.zeros((64, 96, 3), np.uint8))
        assert (len(none), none.summary) == (0, "nothing")


def test_activations_are_the_published_ones(saved):
    """tanh of the offsets and exp(10 s) of the bandwidths where the network does not compute them."""
    raw_bias = np.array([-1.28, -1.28, np.log(1500) / 10, np.log(1500) / 10, -12.8])
    rule = SpatialEmbedding(min_pixels=40, unit_px=(100, 100))
    folder = saved("raw", {"all": (RAW, raw_bias, "logits")}, postprocess=rule, labels=tuple("abcde"))
    picture, masks = instance_picture()
    with segexport.load(folder) as model:
        (found,) = model.predict(picture)  # tanh(0.09) is 0.0898: the discs are the same
    assert len(found) == len(masks)


def test_the_command_takes_a_threshold_of_instances(saved, tmp_path):
    rule = SpatialEmbedding(activated=True, min_pixels=40, unit_px=(100, 100))
    folder = saved("cells", {"all": (RAW, RAW_BIAS, "logits")}, postprocess=rule, labels=tuple("abcde"))
    Image.fromarray(instance_picture()[0][..., ::-1]).save(tmp_path / "cells.png")
    (found,) = segexport.predict(folder, tmp_path / "cells.png", tmp_path / "out", with_json=True)
    assert len(found) == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cells.json", "cells.png"]
    (none,) = segexport.predict(folder, tmp_path / "cells.png", score_threshold=1.0)
    assert len(none) == 0


def test_wrong_channels_are_named(saved):
    rule = SpatialEmbedding(bandwidths=1)
    outputs = {"seeds": (RAW[4:], RAW_BIAS[4:], "probability"), "instance": (RAW[:4], RAW_BIAS[:4], "other")}
    folder = saved("cells", outputs, postprocess=rule)
    with segexport.load(folder) as model, pytest.raises(InputError, match="'instance' has 4 channels") as caught:
        list(model.predict(instance_picture()[0]))
    assert caught.value.cause == "3 are expected: 2 offsets and 1 of bandwidth"


# Three classes whose scores are the colours.
PARTS = {"parts": (np.eye(3), np.zeros(3), "logits")}


def test_scores_are_averaged_over_sizes_and_mirrored_images(saved):
    rule = MultiScale(sizes=((40, 32), (64, 48)), flip=True, swap=((1, 2),))
    folder = saved("parts", PARTS, postprocess=rule, labels=("body", "left", "right"))
    picture = np.random.default_rng(0).integers(0, 256, (30, 50, 3)).astype(np.uint8)
    with segexport.load(folder) as model:
        (found,) = model.predict(picture)
        image = np.ascontiguousarray(picture[..., ::-1])
        total = np.zeros((30, 50, 3))
        for size in rule.sizes:
            small = preprocess.resized(image.astype(np.float32), size)
            whole = preprocess.resized(small, (50, 30))
            total += whole + whole[..., [0, 2, 1]]  # a network of single pixels sees the same in the mirrored image
        np.testing.assert_allclose(model.average(image), total / 4, atol=0.01)
        np.testing.assert_array_equal(found.label_map, model.average(image).argmax(axis=2))
        np.testing.assert_allclose(found.score_map.sum(axis=2), 1, atol=1e-5)
        with pytest.raises(InputError, match="predicted at the sizes of its postprocess"):
            model.predict(picture, target_size=32)


def test_swaps_of_classes_that_are_not_there(saved):
    folder = saved(
        "parts", PARTS, postprocess=MultiScale(sizes=((8, 8),), flip=True, swap=((1, 3),)), labels=("a", "b", "c")
    )
    with segexport.load(folder) as model, pytest.raises(InputError, match=r"swap \[1, 3\]") as caught:
        list(model.predict(np.zeros((8, 8, 3), np.uint8)))
    assert caught.value.cause == "the model has 3 classes"


def test_the_rule_is_part_of_the_manifest(saved):
    rule = Lanes(min_samples=77)
    folder = saved("lanes", LANE_OUTPUTS, postprocess=rule)
    assert read_artifact(folder).manifest.postprocess == rule
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"min_samples": 77', '"min_samples": 0'))
    with pytest.raises(InputError, match="not a valid manifest"):
        read_artifact(folder)


def test_an_artifact_takes_another_rule(saved):
    folder = saved("lanes", LANE_OUTPUTS)
    picture = street()[0]
    with segexport.load(folder) as model:
        assert type(next(iter(model.predict(picture)))).__name__ == "SegmentationResult"
    importing = ImportOptions(postprocess=Lanes(min_samples=100))
    with segexport.load(folder, importing=importing) as model:
        (found,) = model.predict(picture)
    assert found.summary == "3 lanes"


def test_inspect_shows_the_rule(saved):
    folder = saved("lanes", LANE_OUTPUTS, postprocess=Lanes(min_samples=77))
    shown = segexport.inspect(folder).render("table", color=False, width=100)
    assert "postprocess" in shown
    assert "min_samples=77" in shown


def test_several_sizes_need_a_free_input(saved):
    rule = MultiScale(sizes=((16, 16), (32, 32)))
    folder = saved("parts", PARTS, size=(16, 16), postprocess=rule, labels=("a", "b", "c"))
    with segexport.load(folder) as model, pytest.raises(UnsupportedModelError, match="dynamic input size") as caught:
        list(model.predict(np.zeros((8, 8, 3), np.uint8)))
    assert caught.value.cause == "its input is 16x16"


def test_a_rule_is_given_by_name_or_file(tmp_path):
    assert ImportOptions.from_strings(postprocess="lanes").postprocess == Lanes()
    assert ImportOptions.from_strings(postprocess="spatial_embedding").postprocess == SpatialEmbedding()
    file = tmp_path / "p.yaml"
    file.write_text("kind: multi_scale\nsizes: [[377, 377], [473, 473]]\nflip: true\n")
    assert ImportOptions.from_strings(postprocess=str(file)).postprocess.sizes == ((377, 377), (473, 473))
    file.write_text("kind: lanes\nepsilon: 3\n")
    with pytest.raises(InputError, match=r"p\.yaml: not a postprocess") as caught:
        ImportOptions.from_strings(postprocess=str(file))
    assert "epsilon" in caught.value.cause
    with pytest.raises(InputError, match="--postprocess circles: no such file"):
        ImportOptions.from_strings(postprocess="circles")
