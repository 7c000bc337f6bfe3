"""Decoding: every kind of pixel, and every kind of file that is not an image."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segexport.data.images import decode_image, decode_label, image_size
from segexport.errors import InputError

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
SMOOTH = np.stack([*np.meshgrid(np.linspace(10, 240, 24), np.linspace(30, 200, 16)), np.full((16, 24), 90)], 2)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def png(width: int, height: int, bit_depth: int = 8, colour_type: int = 2, data: bytes = b"") -> bytes:
    """A PNG file with any header, made by hand."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm"])
def test_colours_survive_and_the_order_is_chosen(tmp_path, suffix):
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(COLOURS))
    image = decode_image(path)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, COLOURS)
    bgr = decode_image(path, order="bgr")
    np.testing.assert_array_equal(bgr, COLOURS[:, :, ::-1])
    assert bgr.flags.c_contiguous
    np.testing.assert_array_equal(decode_image(path.read_bytes()), COLOURS)


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_files_are_close(tmp_path, suffix):
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(SMOOTH.astype(np.uint8)), quality=95)
    assert np.abs(decode_image(path).astype(int) - SMOOTH).mean() < 4


def test_alpha_is_dropped_and_not_blended(tmp_path):
    alpha = np.linspace(0, 255, 35).reshape(5, 7, 1).astype(np.uint8)
    path = saved(tmp_path / "a.png", Image.fromarray(np.concatenate([COLOURS, alpha], 2)))
    np.testing.assert_array_equal(decode_image(path), COLOURS)
    grey_alpha = Image.fromarray(np.concatenate([COLOURS[:, :, :1], alpha], 2), "LA")
    np.testing.assert_array_equal(
        decode_image(saved(tmp_path / "la.png", grey_alpha)), np.repeat(COLOURS[:, :, :1], 3, 2)
    )


def test_grey_is_repeated(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(COLOURS[:, :, 0]))
    np.testing.assert_array_equal(decode_image(path), np.repeat(COLOURS[:, :, :1], 3, 2))
    bits = COLOURS[:, :, 0] > 128
    one_bit = decode_image(saved(tmp_path / "b.png", Image.fromarray(bits)))
    np.testing.assert_array_equal(one_bit[:, :, 1], bits * 255)


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_of_sixteen_bits_the_upper_eight_stay(tmp_path, suffix):
    wide = np.array([[0, 255, 256, 511, 65535, 32768]], np.uint16)
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(wide))
    assert decode_image(path)[0, :, 0].tolist() == [0, 0, 1, 1, 255, 128]


def test_sixteen_bit_colours(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), COLOURS[:, :, ::-1].astype(np.uint16) * 256 + 200)
    np.testing.assert_array_equal(decode_image(path), COLOURS)


def test_a_palette_becomes_its_colours(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    path = saved(tmp_path / "a.png", image, transparency=1)
    assert decode_image(path).tolist() == [[[10, 20, 30], [40, 50, 60]], [[70, 80, 90], [40, 50, 60]]]


def test_cmyk_becomes_rgb(tmp_path):
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[:, :4] = (255, 0, 0, 0)  # cyan
    inks[:, 4:] = (0, 0, 0, 255)  # black
    image = decode_image(saved(tmp_path / "a.jpg", Image.fromarray(inks, "CMYK"), quality=100)).astype(int)
    assert np.abs(image[:, :3] - (0, 255, 255)).max() < 12
    assert np.abs(image[:, 5:] - 0).max() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations_are_applied_as_opencv_does(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.jpg", Image.fromarray(SMOOTH.astype(np.uint8)), quality=95, exif=exif)
    image = decode_image(path, order="bgr")
    # PaddleSeg and PaddleX read with OpenCV; another version of libjpeg may round otherwise by a level.
    np.testing.assert_allclose(image, cv2.imread(str(path)), rtol=0, atol=1)
    assert image_size(path) == image.shape[1::-1] == ((24, 16) if orientation < 5 else (16, 24))


def test_a_broken_exif_block_does_not_cost_the_picture(tmp_path):
    path = saved(tmp_path / "a.jpg", Image.fromarray(COLOURS), exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 40)
    assert decode_image(path).shape == (5, 7, 3)
    exif = Image.Exif()
    exif[0x0112] = 77
    assert decode_image(saved(tmp_path / "b.jpg", Image.fromarray(COLOURS), exif=exif)).shape == (5, 7, 3)


def test_a_gif_gives_its_first_frame(tmp_path):
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (7, 200)]
    path = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (decode_image(path) == 7).all()


def test_one_pixel(tmp_path):
    assert decode_image(saved(tmp_path / "a.png", Image.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [[[1, 2, 3]]]


BOMBS = {
    "side": (png(20_001, 1), "20001x1 pixels\ncause: the limits are 64 million pixels and 20000 pixels on a side"),
    "area": (png(20_000, 20_000), "20000x20000 pixels|400000000 pixels"),
    "overflow": (png(2**31 - 1, 2**31 - 1), "too large"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, name):
    data, message = BOMBS[name]  # the pixels are not even there: reading them would be another error
    path = tmp_path / "bomb.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        decode_image(path)
    assert "bomb.png: the image is too large" in str(caught.value)
    with pytest.raises(InputError, match="too large"):
        image_size(path)


def test_limits_can_be_chosen(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(COLOURS))
    with pytest.raises(InputError, match="7x5 pixels"):
        decode_image(path, max_pixels=34)
    with pytest.raises(InputError, match="7x5 pixels"):
        decode_image(path, max_side_pixels=6)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "the file is empty"),
        (b"hello, I am a text\n" * 5, "its 95 bytes are text"),
        (b"\x00\x01\x02" * 30, "its 90 bytes are of an unknown kind"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "it is a Git LFS pointer"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "are text"),  # would start Ghostscript
    ],
)
def test_what_is_no_image(tmp_path, data, cause):
    path = tmp_path / "x.png"
    path.write_bytes(data)
    for decode in (decode_image, decode_label):
        with pytest.raises(InputError, match=rf"x.png: not an image\ncause: .*{cause}"):
            decode(path)
    with pytest.raises(InputError, match=r"upload: not an image"):
        decode_image(data, name="upload")


def test_a_png_whose_rows_are_broken_is_refused_not_filled_with_black(tmp_path):
    rows = bytes([0, *range(9)]) + bytes([99, *range(9)])  # there is no filter 99
    data = png(3, 2, data=rows)
    with pytest.raises(InputError, match="the image cannot be decoded"):
        decode_image(data, name="broken")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "PPM"])
def test_a_truncated_file_is_refused_at_every_length(tmp_path, kind):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(buffer, kind)
    data = buffer.getvalue()
    whole = decode_image(data)
    for length in sorted({1, 10, len(data) // 3, len(data) // 2, len(data) * 9 // 10}):
        path = tmp_path / f"x.{kind.lower()}"
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"x\.\w+: (not an image|the image cannot be decoded)"):
            decode_image(path)
    assert whole.shape == (40, 40, 3)


@pytest.mark.filterwarnings("ignore")  # Pillow's, about the damage
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "PPM"])
def test_flipped_bits_give_an_image_or_an_input_error(kind):
    buffer = io.BytesIO()
    Image.fromarray(COLOURS.repeat(4, 0).repeat(4, 1)).save(buffer, kind)
    data = bytearray(buffer.getvalue())
    rng = np.random.default_rng(1)
    refused = []
    for _ in range(300):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            broken[place] = rng.integers(0, 256)
        try:
            decode_image(bytes(broken), max_pixels=1_000_000)
        except InputError as error:
            refused.append(str(error))
    assert refused
    assert all(message.startswith("image: ") for message in refused)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match=r"gone.png: no such file"):
        decode_image(tmp_path / "gone.png")
    with pytest.raises(InputError, match="not a file"):
        decode_image(tmp_path)


def test_float_images_are_refused(tmp_path):
    path = saved(tmp_path / "a.tiff", Image.fromarray(np.ones((3, 3), np.float32)))
    with pytest.raises(InputError, match=r"a.tiff: the image cannot be decoded\ncause: floating-point pixels"):
        decode_image(path)


def test_label_indices_are_kept(tmp_path):
    ids = np.array([[0, 1, 2], [255, 19, 7]], np.uint8)
    palette = Image.fromarray(ids, "P")
    palette.putpalette(list(range(255, -1, -1)) * 3)
    for image in (Image.fromarray(ids), palette):
        label = decode_label(saved(tmp_path / "a.png", image))
        assert label.dtype == np.uint8
        np.testing.assert_array_equal(label, ids)
    np.testing.assert_array_equal(decode_label(saved(tmp_path / "p4.png", palette.crop((0, 0, 3, 1)), bits=4)), ids[:1])
    assert decode_label(saved(tmp_path / "b.png", Image.fromarray(ids > 1))).tolist() == [[0, 0, 1], [1, 1, 1]]


def test_sixteen_bit_labels(tmp_path):
    ids = np.array([[0, 300, 65535]], np.uint16)
    label = decode_label(saved(tmp_path / "a.png", Image.fromarray(ids)))
    assert label.dtype == np.uint16
    np.testing.assert_array_equal(label, ids)
    with pytest.raises(InputError, match="class ids from 0 to 70000"):
        decode_label(saved(tmp_path / "b.tiff", Image.fromarray(np.array([[0, 70000]], np.int32))))


@pytest.mark.parametrize(("mode", "bands"), [("RGB", "R.G.B"), ("RGBA", "R.G.B.A"), ("LA", "L.A")])
def test_a_colour_picture_is_no_label(tmp_path, mode, bands):
    path = saved(tmp_path / "a.png", Image.new(mode, (3, 3)))
    with pytest.raises(InputError, match=rf"a.png: not a label image, it has the channels {bands}\n"):
        decode_label(path)


def test_a_jpeg_is_no_label(tmp_path):
    path = saved(tmp_path / "a.jpg", Image.new("L", (3, 3)))
    with pytest.raises(InputError, match="it is a JPEG, which changes class ids; labels must be PNG"):
        decode_label(path)
