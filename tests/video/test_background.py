"""What is shown behind the foreground, against sums written out."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from segexport.errors import InputError
from segexport.video.background import background_named


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8)


@pytest.fixture
def opacity():
    return np.linspace(0, 1, 24 * 40, dtype=np.float32).reshape(24, 40)


def test_a_colour_is_mixed_by_opacity(image, opacity):
    found = background_named("#ff8000")(image, opacity)
    expected = image * opacity[..., None] + np.array((0, 128, 255)) * (1 - opacity[..., None])
    assert np.abs(found - expected).max() <= 1


def test_an_image_covers_the_frame_without_being_stretched(image, opacity, tmp_path):
    behind = np.zeros((40, 40, 3), np.uint8)
    behind[:, 20:] = (255, 0, 0)  # red at the right
    Image.fromarray(behind).save(tmp_path / "office.png")
    found = background_named(str(tmp_path / "office.png"))(image, opacity * 0)
    assert found.shape == image.shape
    assert (found[:, :20] == 0).all()
    assert (found[:, 20:] == (0, 0, 255)).all()


def test_blur_has_no_halo_of_the_foreground():
    image = np.full((80, 80, 3), 100, np.uint8)
    alpha = np.zeros((80, 80), np.float32)
    alpha[30:50, 30:50], image[30:50, 30:50] = 1, 255
    found = background_named("blur")(image, alpha)
    assert (found[30:50, 30:50] == 255).all()
    assert np.abs(found[alpha == 0].astype(int) - 100).max() <= 1


def test_blur_blurs(image):
    found = background_named("blur")(image, np.zeros((24, 40), np.float32))
    assert found.std() < image.std() / 3


def test_matte_and_cutout_have_the_opacity(image, opacity):
    grey = np.floor(opacity * 255 + 0.5)
    assert (background_named("matte")(image, opacity) == grey[..., None]).all()
    found = background_named("cutout")(image, opacity)
    assert (found[..., :3] == image).all()
    assert (found[..., 3] == grey).all()


def test_anything_else_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"--background beach\.jpg: no such file") as caught:
        background_named("beach.jpg")
    assert "blur, matte, cutout" in caught.value.hint
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="not an image"):
        background_named(str(tmp_path / "x.png"))
