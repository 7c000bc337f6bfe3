"""The contract against formulas worked out here in float64, against the pinned vectors, and against bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from segexport.data.images import decode_image
from segexport.errors import InputError
from segexport.preprocess import apply, place, require_fit, restore_mask, run_geometry
from segexport.spec import Preprocess, TensorSpec

GOLDEN = Path(__file__).parent.parent / "golden" / "preprocess"
CASES = {case["name"]: case for case in json.loads((GOLDEN / "cases.json").read_text())["cases"]}
BLOB = (GOLDEN / "vectors.bin").read_bytes()


def contract(*geometry: dict, **fields: object) -> Preprocess:
    return Preprocess.model_validate({"geometry": geometry, **fields})


def vector(entry: dict) -> np.ndarray:
    count = int(np.prod(entry["shape"]))
    return np.frombuffer(BLOB, np.dtype(entry["dtype"]).newbyteorder("<"), count, entry["offset"]).reshape(
        entry["shape"]
    )


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def linear_weights(size: int, to: int) -> np.ndarray:
    """(to, size) matrix of half-pixel linear interpolation in float64."""
    weights = np.zeros((to, size))
    for x in range(to):
        position = min(max((x + 0.5) * size / to - 0.5, 0), size - 1)
        left = min(int(position), size - 1)
        right = min(left + 1, size - 1)
        weights[x, left] += 1 - (position - left)
        weights[x, right] += position - left
    return weights


@pytest.mark.parametrize("name", CASES)
def test_golden_vectors(name):
    case = CASES[name]
    preprocess = Preprocess.model_validate(case["preprocess"])
    image = decode_image(GOLDEN / case["image"], pixels=preprocess.pixels)
    if not case["image"].endswith(".jpg"):  # JPEG decoders may differ by a level
        np.testing.assert_array_equal(image, vector(case["decoded"]))
    else:
        assert image.shape == tuple(case["decoded"]["shape"])
        assert np.abs(image.astype(int) - vector(case["decoded"])).max() <= 3
    image = vector(case["decoded"])
    placement = place(preprocess, image.shape[1], image.shape[0])
    after = run_geometry(preprocess, image, placement)
    if preprocess.color in ("bgr", "bgra"):
        after = after[:, :, [2, 1, 0, 3][: preprocess.channels]]
    np.testing.assert_allclose(after, vector(case["geometry"]), rtol=0, atol=case["geometry_tolerance"])
    tensor, placement = apply(preprocess, image)
    expected = vector(case["tensor"])
    allowed = case["geometry_tolerance"] * preprocess.scale / min(preprocess.std) + 1e-6 * np.maximum(1, abs(expected))
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    assert (np.abs(tensor - expected) <= allowed).all()
    np.testing.assert_array_equal(restore_mask(vector(case["mask"]), placement), vector(case["restored"]))


def test_golden_vectors_are_small_and_cover_every_operation():
    assert sum(file.stat().st_size for file in GOLDEN.rglob("*") if file.is_file()) <= 350_000
    used = {op["op"] for case in CASES.values() for op in case["preprocess"]["geometry"]}
    assert used == {
        "resize",
        "resize_short",
        "resize_long",
        "limit_long",
        "limit_short",
        "resize_to_multiple",
        "pad",
        "pad_to_ratio",
        "pad_to_multiple",
        "clip",
    }


@pytest.mark.parametrize(
    ("size", "to"), [((28, 22), (20, 14)), ((28, 22), (14, 11)), ((9, 7), (31, 40)), ((480, 360), (256, 192))]
)
def test_linear_resize_is_half_pixel_interpolation_without_rounding(size, to):
    image = noise(*size)
    preprocess = contract({"op": "resize", "width": to[0], "height": to[1]})
    got = run_geometry(preprocess, image, place(preprocess, *size))
    expected = np.einsum(
        "yY,YXc,xX->yxc",
        linear_weights(size[1], to[1]),
        image.astype(float),
        linear_weights(size[0], to[0]),
        optimize=True,
    )
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-3)


def test_nearest_resize_reads_the_pixel_under_the_centre():
    image = np.arange(5, dtype=np.uint8)[None, :, None].repeat(3, 2)
    preprocess = contract({"op": "resize", "width": 3, "height": 1, "interpolation": "nearest"})
    # centres 0.5, 1.5, 2.5 of 3 are at 0.83, 2.5, 4.17 of 5
    assert run_geometry(preprocess, image, place(preprocess, 5, 1))[0, :, 0].tolist() == [0, 2, 4]


def test_area_resize_is_the_mean_of_the_box():
    image = noise(12, 6)
    preprocess = contract({"op": "resize", "width": 4, "height": 2, "interpolation": "area"})
    got = run_geometry(preprocess, image, place(preprocess, 12, 6))
    np.testing.assert_allclose(got, image.reshape(2, 3, 4, 3, 3).mean(axis=(1, 3)), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("op", "size", "expected"),
    [
        ({"op": "resize", "width": 20, "height": 30}, (7, 9), (20, 30)),
        ({"op": "resize", "width": 512, "height": 512, "keep_ratio": True}, (480, 360), (512, 384)),
        ({"op": "resize", "width": 512, "height": 256, "keep_ratio": True}, (360, 480), (192, 256)),
        ({"op": "resize", "width": 100, "height": 100, "keep_ratio": True, "size_divisor": 32}, (480, 360), (128, 96)),
        ({"op": "resize", "width": 100, "height": 60, "size_divisor": 32}, (5, 5), (128, 64)),
        ({"op": "resize_short", "size": 512}, (480, 360), (683, 512)),
        ({"op": "resize_short", "size": 512, "max_size": 600}, (480, 360), (600, 450)),
        ({"op": "resize_short", "size": 512, "max_size": 683}, (480, 360), (683, 512)),
        ({"op": "resize_long", "size": 240}, (480, 360), (240, 180)),
        ({"op": "resize_long", "size": 5}, (2, 1), (5, 2)),  # 2.5 rounds to even
        ({"op": "resize_long", "size": 3}, (2, 1), (3, 2)),  # 1.5 rounds to even
        ({"op": "resize_long", "size": 8}, (1000, 1), (8, 1)),  # 0.008 becomes one pixel, not none
        ({"op": "limit_long", "max_size": 240, "min_size": 100}, (480, 360), (240, 180)),
        ({"op": "limit_long", "max_size": 240, "min_size": 100}, (200, 150), (200, 150)),
        ({"op": "limit_long", "max_size": 240, "min_size": 100}, (50, 20), (100, 40)),
        ({"op": "resize_to_multiple", "multiple": 32}, (481, 31), (480, 32)),
        ({"op": "pad", "width": 50, "height": 40}, (50, 30), (50, 40)),
        ({"op": "pad_to_multiple", "multiple": 32}, (50, 32), (64, 32)),
        ({"op": "pad_to_ratio", "ratio": 2.0}, (50, 30), (60, 30)),
        ({"op": "pad_to_ratio", "ratio": 1.0}, (50, 30), (50, 50)),
        ({"op": "pad_to_ratio", "ratio": 1.7777777777}, (16, 9), (16, 9)),
    ],
)
def test_sizes(op, size, expected):
    assert place(contract(op), *size).tensor == expected


def test_normalisation_by_hand_in_both_colour_orders():
    image = np.array([[[0, 51, 255]]], np.uint8)
    fields = {"mean": (0.0, 0.1, 0.5), "std": (1.0, 0.5, 0.25)}
    rgb, _ = apply(contract(**fields), image)
    assert rgb.ravel().tolist() == pytest.approx([0.0, 0.2, 2.0], abs=1e-6)
    bgr, _ = apply(contract(color="bgr", **fields), image)
    assert bgr.ravel().tolist() == pytest.approx([1.0, 0.2, -2.0], abs=1e-6)


def test_padding_is_in_the_contracts_colour_order():
    image = np.zeros((1, 1, 3), np.uint8)
    pad = {"op": "pad", "width": 2, "height": 1, "value": (1, 2, 3.5)}
    for color in ("rgb", "bgr"):
        tensor, _ = apply(contract(pad, color=color, scale=1.0, mean=(0, 0, 0), std=(1, 1, 1)), image)
        assert tensor[0, :, 0, 1].tolist() == [1, 2, 3.5]


def test_restore_cuts_the_padding_off_and_undoes_the_resize():
    preprocess = contract({"op": "resize_long", "size": 2}, {"op": "pad", "width": 3, "height": 3})
    placement = place(preprocess, 4, 2)
    mask = np.array([[1, 2, 9], [9, 9, 9], [9, 9, 9]], np.uint8)
    assert restore_mask(mask, placement).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]


def test_restore_takes_a_mask_of_a_fraction_of_the_tensor():
    placement = place(contract(), 8, 8)
    mask = np.array([[1, 2], [3, 4]], np.int64)
    assert restore_mask(mask, placement).tolist() == np.kron(mask, np.ones((4, 4), int)).tolist()


def test_restore_of_an_identity_copies_nothing():
    mask = np.zeros((6, 5), np.int32)
    assert restore_mask(mask, place(contract(), 5, 6)) is mask


@pytest.mark.parametrize("size", [(1, 1), (480, 360), (33, 500)])
def test_restore_finds_every_pixel_again_when_nothing_was_lost(size):
    preprocess = contract(
        {"op": "resize", "width": size[0] * 3, "height": size[1] * 3},
        {"op": "pad_to_ratio", "ratio": 1.5},
        {"op": "pad", "width": 2400, "height": 1600},
    )
    placement = place(preprocess, *size)
    labels = np.random.default_rng(0).integers(0, 200, (size[1], size[0]), dtype=np.uint8)
    mask = np.full(placement.tensor[::-1], 255, np.uint8)
    mask[: size[1] * 3, : size[0] * 3] = labels.repeat(3, 0).repeat(3, 1)
    np.testing.assert_array_equal(restore_mask(mask, placement), labels)


def test_a_tensor_that_does_not_fit_names_both_sizes():
    spec = TensorSpec(name="x", dtype="float32", shape=(1, 3, 224, 398), layout="NCHW")
    with pytest.raises(InputError, match=r"image of 480x360 becomes a tensor of 256x192.*'x' takes 398x224"):
        apply(contract({"op": "resize", "width": 256, "height": 192}), noise(480, 360), input_spec=spec)
    apply(contract({"op": "resize", "width": 398, "height": 224}), noise(48, 36), input_spec=spec)
    free = TensorSpec(name="x", dtype="float32", shape=(-1, 3, -1, -1), layout="NCHW")
    require_fit(place(contract(), 5, 6), free)
    half = TensorSpec(name="x", dtype="float32", shape=(1, 3, -1, 7), layout="NCHW")
    with pytest.raises(InputError, match="takes 7xany"):
        require_fit(place(contract(), 5, 6), half)


def test_an_image_larger_than_its_padding_is_refused():
    with pytest.raises(InputError, match="480x360 does not fit into a padding to 256x512"):
        apply(contract({"op": "pad", "width": 256, "height": 512}), noise(480, 360))


def test_an_absurd_result_is_refused_before_it_is_made():
    with pytest.raises(InputError, match=r"1x20000 would become 512x10240000 by resize_short"):
        apply(contract({"op": "resize_short", "size": 512}), noise(1, 20000))


@pytest.mark.parametrize(
    "image", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3), np.float32), np.zeros((0, 2, 3), np.uint8)]
)
def test_what_is_no_image_is_refused(image):
    with pytest.raises(InputError, match="not an image"):
        apply(contract(), image)


# -- any number of channels ----------------------------------------------------------------------------------------


def stored(channels: int, dtype: str = "uint16", height: int = 11, width: int = 15) -> np.ndarray:
    values = np.random.default_rng(channels).uniform(0, 60000, (height, width, channels))
    return values.astype(dtype)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 13])
@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic", "area", "lanczos4"])
def test_channels_do_not_mix(channels, interpolation):
    resize = {"op": "resize", "width": 8, "height": 6, "interpolation": interpolation}
    pad = {"op": "pad", "width": 9, "height": 9}
    values = tuple(float(channel) for channel in range(channels))
    own = {"color": "channels", "depth": "stored"}
    whole = Preprocess(**own, geometry=(resize, {**pad, "value": values}), mean=values, std=(2.0,) * channels)
    image = stored(channels)
    tensor, _ = apply(whole, image)
    assert tensor.shape == (1, channels, 9, 9)
    for channel, value in enumerate(values):
        one = Preprocess(**own, geometry=(resize, {**pad, "value": (value,)}), mean=(value,), std=(2.0,))
        np.testing.assert_allclose(tensor[:, [channel]], apply(one, image[:, :, [channel]])[0], rtol=1e-5, atol=0.02)


def test_the_first_and_the_third_channel_change_places():
    image = stored(4, "uint8")
    swapped = Preprocess(color="bgra", scale=1, mean=(1, 2, 3, 4), std=(1, 2, 4, 8))
    plain = Preprocess(color="channels", scale=1, mean=(3, 2, 1, 4), std=(4, 2, 1, 8))
    np.testing.assert_array_equal(apply(swapped, image)[0][:, [2, 1, 0, 3]], apply(plain, image)[0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"color": "rgb", "mean": (0,), "std": (1,)}, "color rgb has 3 channels, there are 1 means"),
        ({"color": "gray"}, "color gray has 1 channels, there are 3 means"),
        ({"mean": (0, 0)}, "2 means and 3 standard deviations"),
        ({"color": "channels", "mean": (), "std": ()}, "at least 1 item"),
        (
            {"color": "gray", "mean": (0,), "std": (1,), "geometry": ({"op": "pad", "width": 1, "height": 1},)},
            "pad is of 3 channels, there are 1",
        ),
        ({"geometry": ({"op": "clip", "low": (0,), "high": (9,)},)}, "clip is of 1 channels, there are 3"),
        ({"geometry": ({"op": "clip", "low": (0, 9, 0), "high": (9, 8, 9)},)}, "a low and a high of each channel"),
    ],
)
def test_a_contract_has_one_number_of_channels(fields, message):
    with pytest.raises(ValidationError, match=message):
        Preprocess(**fields)


def test_the_documentation_shows_a_contract_that_works():
    page = (Path(__file__).parents[2] / "docs" / "preprocessing.md").read_text(encoding="utf-8")
    examples = [yaml.safe_load(block.split("```")[0]) for block in page.split("```yaml")[1:]]
    (shown,) = (Preprocess.model_validate(each) for each in examples if each.get("color") == "channels")
    tensor, _ = apply(shown, np.full((8, 8, 6), 9000, np.uint16))
    assert tensor.shape == (1, 6, 512, 512)
    np.testing.assert_array_equal(tensor[0], 1)


def test_the_usual_depth_is_not_written_and_the_other_is():
    assert set(Preprocess().model_dump()) == {"color", "geometry", "scale", "mean", "std"}
    wide = Preprocess(depth="stored")
    assert wide.model_dump()["depth"] == "stored"
    assert Preprocess.model_validate_json(wide.model_dump_json()) == wide
    assert Preprocess.model_validate_json(Preprocess().model_dump_json()) == Preprocess()


def test_clipping_keeps_the_size_and_the_way_back():
    whole = contract(
        {"op": "resize", "width": 8, "height": 6},
        {"op": "pad", "width": 9, "height": 9},
        {"op": "clip", "low": (10, 20, 30), "high": (90, 100, 250)},
        color="bgr",
        scale=1,
        mean=(0, 0, 0),
        std=(1, 1, 1),
    )
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    tensor, placement = apply(whole, image)
    expected = np.clip(image[:, :, ::-1].transpose(2, 0, 1), [[[10]], [[20]], [[30]]], [[[90]], [[100]], [[250]]])
    np.testing.assert_array_equal(tensor[0, :, :6, :8], expected)
    assert (tensor[0, 0, 8, 8], tensor[0, 2, 8, 8]) == (90, 127.5)
    assert placement.content == (8, 6)
    mask = np.arange(81).reshape(9, 9)
    np.testing.assert_array_equal(restore_mask(mask, placement), mask[:6, :8])


def test_an_image_of_another_kind_is_refused():
    with pytest.raises(InputError, match=r"not an image for this model: uint8 \[11, 15, 4\]") as told:
        apply(Preprocess(), stored(4, "uint8"))
    assert told.value.cause == "uint8 (height, width, 3) is expected"
    with pytest.raises(InputError, match=r"uint16 \[11, 15, 3\]"):
        apply(Preprocess(), stored(3))
    spec = TensorSpec(name="x", dtype="float32", shape=(1, 4, -1, -1), layout="NCHW")
    with pytest.raises(InputError, match="gives 3 channels, but the model's input 'x' takes 4"):
        apply(Preprocess(), stored(3, "uint8"), input_spec=spec)


@pytest.mark.parametrize("left_out", ["exclude_none", "exclude_defaults", "exclude_unset"])
def test_a_contract_is_written_without_what_is_usual(left_out):
    assert "tiles" not in Preprocess().model_dump()
    assert not {"tiles", "depth"} & Preprocess().model_dump(**{left_out: True}).keys()
