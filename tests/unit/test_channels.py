"""Images of any number of channels, of 8, 16 and 32 bits: a model gets the channels that it needs, or an error."""

from __future__ import annotations

import contextlib
import io
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tiff_files import tiff

from segexport.data.images import GREY, decode_image, image_size
from segexport.errors import InputError, TooLargeError
from segexport.spec import Pixels

RANDOM = np.random.default_rng(5)


def channels(count: int, dtype: str = "uint8", height: int = 21, width: int = 37) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return RANDOM.normal(size=(height, width, count)).astype(dtype)
    limits = np.iinfo(dtype)
    return RANDOM.integers(max(limits.min, -(2**24)), min(limits.max, 2**24), (height, width, count)).astype(dtype)


def own(count: int, depth: str = "stored") -> Pixels:
    return Pixels(color="channels", channels=count, depth=depth)


def read(data: bytes | Path, pixels: Pixels) -> np.ndarray:
    found = decode_image(data, pixels=pixels)
    assert not found.flags.writeable
    assert found.flags.c_contiguous
    if not isinstance(data, Path):
        assert image_size(data) == found.shape[1::-1]
    return found


def png(array: np.ndarray) -> bytes:
    """As OpenCV writes it: its colours come blue first."""
    return cv2.imencode(".png", array)[1].tobytes()


# -- TIFF ----------------------------------------------------------------------------------------------------------

FORMS = [
    {},
    {"order": ">"},
    {"big": True},
    {"big": True, "order": ">"},
    {"planar": True},
    {"rows": 4},
    {"tile": 16},
    {"tile": 16, "planar": True, "compression": "deflate", "predictor": 2},
    {"compression": "deflate"},
    {"compression": "lzw", "rows": 8},
    {"compression": "packbits", "rows": 5},
    {"compression": "deflate", "predictor": 2},
    {"compression": "lzw", "predictor": 2, "order": ">"},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize(("count", "dtype"), [(1, "uint8"), (2, "uint16"), (3, "uint16"), (4, "uint8"), (6, "uint16")])
def test_whole_numbers_in_every_form(form, count, dtype):
    array = channels(count, dtype)
    found = read(tiff(array, **form), own(count))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


FLOATS = [{}, {"order": ">"}, {"predictor": 3, "compression": "lzw"}, {"predictor": 3}]


@pytest.mark.parametrize("form", FLOATS, ids=str)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floating_point(form, dtype):
    array = channels(5, dtype)
    found = read(tiff(array, **form), own(5))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, array.astype(np.float32))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint32"])
def test_other_whole_numbers_become_floats_exactly(dtype):
    array = channels(2, dtype)
    np.testing.assert_array_equal(read(tiff(array), own(2)), array.astype(np.float32))
    if array.itemsize == 4:
        array[0, 0, 0] = 2**24 + 1
        with pytest.raises(InputError, match="cannot be decoded") as told:
            read(tiff(array), own(2))
        assert "whole numbers up to 16777216" in told.value.cause


OPENCV = [(1, "uint8"), (3, "uint8"), (4, "uint8"), (1, "uint16"), (3, "uint16"), (4, "uint16"), (4, "float32")]


@pytest.mark.parametrize(("count", "dtype"), OPENCV)
def test_what_opencv_writes(count, dtype):
    array = channels(count, dtype)
    data = cv2.imencode(".tiff", array)[1].tobytes()
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[count]
    np.testing.assert_array_equal(read(data, own(count)), array[:, :, order])


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_what_pillow_writes(compression, mode):
    array = channels(len(Image.new(mode, (1, 1)).getbands()))
    stream = io.BytesIO()
    Image.fromarray(array.squeeze(), mode).save(stream, "TIFF", compression=compression)
    np.testing.assert_array_equal(read(stream.getvalue(), own(array.shape[2])), array)


def test_pages_of_one_channel_are_channels():
    array = channels(5, "uint16")
    pages = tiff(*(array[:, :, [channel]] for channel in range(5)))
    np.testing.assert_array_equal(read(pages, own(5)), array)
    np.testing.assert_array_equal(read(pages, own(1)), array[:, :, :1])
    with pytest.raises(InputError) as told:
        decode_image(pages, pixels=own(4))
    assert told.value.cause == "1 channels; the model takes 4"
    odd = tiff(array[:, :, :1], array[:9, :, :1], array[:, :, :1])  # a page of another size ends the stack
    np.testing.assert_array_equal(read(odd, own(1)), array[:, :, :1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied_as_pillow_does(orientation):
    array = channels(3)
    data = tiff(array, orientation=orientation)
    np.testing.assert_array_equal(read(data, own(3)), decode_image(data))
    many = tiff(channels(6), orientation=orientation)
    assert decode_image(many, pixels=own(6)).shape[1::-1] == image_size(many) == image_size(data)


def test_white_may_be_zero():
    array = channels(1, "uint16")
    np.testing.assert_array_equal(read(tiff(array, photometric=0), own(1)), 65535 - array)


def test_a_palette_is_left_to_pillow():
    stream = io.BytesIO()
    picture = Image.fromarray(channels(1).squeeze() % 4, "P")
    picture.putpalette([0, 0, 0, 10, 20, 30, 40, 50, 60, 70, 80, 90] + [0] * 756)
    picture.save(stream, "TIFF")
    np.testing.assert_array_equal(read(stream.getvalue(), own(3)), decode_image(stream.getvalue()))


# -- PNG and other pictures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("count", [1, 3, 4])
def test_a_png_keeps_its_channels_and_its_bits(dtype, count):
    array = channels(count, dtype)
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[count]
    np.testing.assert_array_equal(read(png(array), own(count)), array[:, :, order])
    upper = array if dtype == "uint8" else (array >> 8).astype(np.uint8)
    np.testing.assert_array_equal(read(png(array), own(count, "uint8")), upper[:, :, order])


def test_grey_with_alpha_has_two_channels():
    array = channels(2)
    stream = io.BytesIO()
    Image.fromarray(array, "LA").save(stream, "PNG")
    np.testing.assert_array_equal(read(stream.getvalue(), own(2)), array)


def test_colours_of_16_bits():
    array = channels(3, "uint16")
    wide = Pixels(depth="stored")
    np.testing.assert_array_equal(read(png(array), wide), array[:, :, ::-1])
    np.testing.assert_array_equal(read(png(array[:, :, :1]), wide), np.repeat(array[:, :, :1], 3, 2))
    alpha = channels(4, "uint16")
    np.testing.assert_array_equal(read(png(alpha), wide), alpha[:, :, [2, 1, 0]])
    np.testing.assert_array_equal(read(tiff(array), wide), array)


def test_grey_is_what_opencv_makes_of_colours():
    array = channels(3)
    wanted = cv2.cvtColor(array, cv2.COLOR_RGB2GRAY)[:, :, None]
    for data in (png(array[:, :, ::-1]), tiff(array), tiff(array, planar=True)):
        np.testing.assert_array_equal(read(data, GREY), wanted)
    np.testing.assert_array_equal(read(png(array[:, :, :1]), GREY), array[:, :, :1])
    wide = channels(3, "uint16")
    expected = cv2.cvtColor(wide, cv2.COLOR_RGB2GRAY)[:, :, None]
    np.testing.assert_array_equal(read(tiff(wide), Pixels(color="gray", channels=1, depth="stored")), expected)


def test_grey_of_16_bits():
    array = channels(1, "uint16")
    np.testing.assert_array_equal(read(png(array), GREY), (array >> 8).astype(np.uint8))
    np.testing.assert_array_equal(read(png(array), Pixels(color="gray", channels=1, depth="stored")), array)


@pytest.mark.parametrize(
    ("data", "pixels", "cause"),
    [
        (png(channels(3)), own(4), "3 channels; the model takes 4"),
        (png(channels(4)), own(3), "4 channels; the model takes 3"),
        (tiff(channels(6)), Pixels(depth="stored"), "6 channels; the model takes colours"),
        (tiff(channels(6)), Pixels(color="gray", channels=1, depth="stored"), "6 channels; the model takes grey"),
        (tiff(channels(2, "float32")), own(2, "uint8"), "floating-point pixels; the model takes 8 bits"),
        (tiff(np.full((2, 2, 5), np.nan, "float32")), own(5), "values that are NaN or infinite"),
    ],
)
def test_what_does_not_fit(data, pixels, cause):
    with pytest.raises(InputError, match="upload: the image cannot be decoded") as told:
        decode_image(data, pixels=pixels, name="upload")
    assert told.value.cause == cause


def test_colours_of_8_bits_are_read_from_many_channels_by_nobody():
    with pytest.raises(InputError):
        decode_image(tiff(channels(6)))


# -- arrays --------------------------------------------------------------------------------------------------------


def array_file(path: Path, array: np.ndarray) -> Path:
    np.savez_compressed(path, array) if path.suffix == ".npz" else np.save(path, array)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "int16", "float32", "float64", "bool"])
def test_arrays(tmp_path, suffix, dtype):
    array = channels(7, "int16").astype(dtype)
    file = array_file(tmp_path / f"a{suffix}", array)
    found = read(file, own(7))
    assert found.dtype == {">u2": np.uint16, "uint8": np.uint8, "uint16": np.uint16, "bool": np.uint8}.get(
        dtype, np.float32
    )
    np.testing.assert_array_equal(found, array)
    assert image_size(file) == (37, 21)
    np.testing.assert_array_equal(read(file.read_bytes(), own(7)), found)


def test_an_array_of_two_axes_is_grey(tmp_path):
    array = channels(1)
    file = array_file(tmp_path / "a.npy", array[:, :, 0])
    np.testing.assert_array_equal(read(file, GREY), array)
    np.testing.assert_array_equal(read(file, own(1)), array)


def test_an_array_has_no_order_of_colours(tmp_path):
    file = array_file(tmp_path / "a.npy", channels(3))
    for pixels in (Pixels(), Pixels(depth="stored")):
        with pytest.raises(InputError, match=r"a\.npy: the channel order of an array is unknown"):
            decode_image(file, pixels=pixels)
    assert decode_image(file, pixels=own(3)).shape == (21, 37, 3)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_that_are_none(tmp_path, suffix):
    bad = {
        "objects": np.array([[{}]], object),
        "text": np.array([["a"]]),
        "axes": np.zeros((2, 2, 2, 2)),
        "empty": np.zeros((0, 3, 1), np.uint8),
    }
    for name, array in bad.items():
        file = array_file(tmp_path / f"{name}{suffix}", array)
        with pytest.raises(InputError, match=f"{name}{suffix}: the image "):
            decode_image(file, pixels=own(1))
    whole = array_file(tmp_path / f"a{suffix}", channels(2)).read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / f"cut{suffix}").write_bytes(whole[:length])
        with pytest.raises(InputError):
            decode_image(tmp_path / f"cut{suffix}", pixels=own(2))


def test_an_npz_of_several_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", x=channels(1), y=channels(1))
    with pytest.raises(InputError) as told:
        decode_image(tmp_path / "a.npz", pixels=own(1))
    assert told.value.cause == "an .npz of 2 arrays (x.npy, y.npy); one is expected"


# -- hostile files -------------------------------------------------------------------------------------------------


def peak_bytes(run) -> int:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_bomb_is_refused_before_it_is_opened(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (19000, 19000, 9)})
    (tmp_path / "a.npy").write_bytes(header.getvalue())
    many = io.BytesIO()
    np.lib.format.write_array_header_1_0(many, {"descr": "|u1", "fortran_order": False, "shape": (8000, 8000, 5)})
    (tmp_path / "b.npy").write_bytes(many.getvalue())
    for name in ("a.npy", "b.npy"):

        def run(name: str = name) -> None:
            with pytest.raises(TooLargeError, match=rf"{name}: the image is too large"):
                decode_image(tmp_path / name, pixels=own(9))

        assert peak_bytes(run) < 20_000_000


def test_a_deflated_strip_yields_no_more_than_its_pixels():
    data = tiff(channels(5, height=4, width=4), compression="deflate")
    bomb = zlib.compress(bytes(200_000_000))
    place = data.index(zlib.compress(b"")[:2])
    grown = data[:place] + bomb + data[place:]  # the tags now lie: every offset is wrong, the length is too short

    def run() -> None:
        with pytest.raises(InputError):
            decode_image(grown, pixels=own(5))

    assert peak_bytes(run) < 20_000_000


@pytest.mark.parametrize("form", [{}, {"compression": "lzw"}, {"tile": 16, "planar": True}, {"big": True}], ids=str)
def test_a_truncated_or_damaged_tiff_is_an_error_or_an_image(form):
    whole = tiff(channels(5, "uint16"), **form)
    for length in range(0, len(whole), 53):
        with pytest.raises(InputError):
            decode_image(whole[:length], pixels=own(5))
    random = np.random.default_rng(1)
    for _ in range(300):
        broken = bytearray(whole)
        for place in random.integers(0, len(broken), 8):
            broken[place] = random.integers(256)
        with contextlib.suppress(InputError):
            assert decode_image(bytes(broken), pixels=own(5), max_pixels=1_000_000).ndim == 3


def test_directories_in_a_circle_end():
    data = bytearray(tiff(channels(1)))
    data[-4:] = data[4:8]  # the next directory is the first one
    assert decode_image(bytes(data), pixels=own(1)).shape == (21, 37, 1)
