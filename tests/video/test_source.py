"""Reading videos: every frame, in order, or an error that says what is wrong with the file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from segexport.errors import InputError
from segexport.video.source import Camera, VideoReader, video_source

from .conftest import frames


def test_every_frame_comes_in_its_order(video):
    with VideoReader(video(count=12)) as reader:
        assert (reader.fps, reader.frames) == (25, 12)
        found = list(reader)
    assert len(found) == 12
    for frame, expected in zip(found, frames(12), strict=True):
        assert np.abs(frame.astype(int) - expected).mean() < 4
    assert reader.damage == ""


def test_a_loop_may_end_early(video):
    with VideoReader(video(count=12)) as reader:
        assert next(iter(reader)).shape == (96, 128, 3)


@pytest.mark.parametrize(
    ("name", "data", "cause"),
    [
        ("empty.mp4", b"", "the file is empty"),
        ("text.mp4", b"not a video", "the file is text"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\nother.mp4\n", "the file is text"),
        ("noise.mkv", bytes(range(256)) * 9, "the file is of an unknown kind"),
    ],
)
def test_refuses_what_is_no_video(tmp_path, name, data, cause):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=f"{name}: not a video") as caught:
        VideoReader(tmp_path / name)
    assert cause in caught.value.cause


def test_refuses_what_is_not_there_and_a_pipe(tmp_path):
    with pytest.raises(InputError, match=r"none\.mp4: no such file"):
        VideoReader(tmp_path / "none.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match=r"pipe\.mp4: not a file"):
        VideoReader(tmp_path / "pipe.mp4")


def test_a_file_that_was_cut_off_is_an_error_with_the_number_of_good_frames(video):
    path = video(count=40)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with (
        VideoReader(path) as reader,
        pytest.raises(InputError, match=r"the video ends after (\d+) of 40 frames") as caught,
    ):
        count = sum(1 for _ in reader)
    count = int(str(caught.value.what).split("after ")[1].split()[0])
    assert 10 < count < 30
    assert f"--frames {count}" in caught.value.hint


def test_an_mp4_without_its_index_is_an_error(video):
    path = video("clip.mp4", count=40, codec="mp4v")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"clip\.mp4: not a video that FFmpeg can read, or a damaged one") as caught:
        VideoReader(path)
    assert "moov atom not found" in caught.value.cause
    assert "0x" not in caught.value.cause


def test_damage_in_the_middle_is_reported(video):
    path = video(count=20)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = np.random.default_rng(0).integers(0, 255, 400, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    with VideoReader(path) as reader:
        assert len(list(reader)) >= 19
    assert "mjpeg" in reader.damage


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("clip.mp4", Path("clip.mp4")),
        ("a/CLIP.WebM", Path("a/CLIP.WebM")),
        ("0", Camera(0)),
        ("camera:2", Camera(2)),
        ("/dev/video1", Camera("/dev/video1")),
        ("photo.jpg", None),
        ("folder", None),
        ("camera:front", None),
    ],
)
def test_which_inputs_are_videos(text, source):
    assert video_source(text) == source


def test_a_file_named_by_digits_is_no_camera(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("7").write_bytes(b"")
    assert video_source("7") is None


def test_a_video_at_a_url_is_refused():
    with pytest.raises(InputError, match="a video at a URL"):
        video_source("https://example.com/clip.mp4")


def test_a_camera_that_is_not_there():
    with pytest.raises(InputError, match="camera 99: no such camera, or another program uses it"):
        VideoReader(Camera(99))
