"""`segexport predict` on videos: the files that it writes, and what is left when it does not end well."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from PIL import Image

import segexport
from segexport.errors import InputError
from segexport.video import run
from segexport.video.source import Camera

from .conftest import disc, frames


def read(path) -> list[np.ndarray]:
    reader, found = cv2.VideoCapture(str(path)), []
    while True:
        more, frame = reader.read()
        if not more:
            return found
        found.append(frame)


@pytest.mark.parametrize("name", ["clip.avi", "clip.mp4", "clip.webm", "clip.mkv"])
def test_writes_a_video_like_the_one_it_read(red_model, video, tmp_path, name):
    codec = {"avi": "MJPG", "webm": "VP80"}.get(name.split(".")[1], "mp4v")
    (found,) = segexport.predict(red_model(), video(name, codec=codec), tmp_path / "out", background="#0000ff")
    assert found.frames == 12
    shown = read(tmp_path / "out" / name)
    assert len(shown) == 12
    for index in (2, 11):
        assert np.abs(shown[index][disc(index)].mean(axis=0) - (60, 60, 230)).max() < 25
        assert np.abs(shown[index][:, -10:].mean(axis=(0, 1)) - (255, 0, 0)).max() < 25


def test_one_video_may_be_named_and_its_summary_written(red_model, video, tmp_path):
    (found,) = segexport.predict(red_model(), video(), tmp_path / "new" / "mask.mp4", with_json=True)
    assert len(read(tmp_path / "new" / "mask.mp4")) == 12
    content = json.loads((tmp_path / "new" / "mask.json").read_text())
    assert content["frames"] == 12
    assert content["size"] == [128, 96]
    share = np.mean([disc(index).mean() for index in range(12)])
    assert content["shares"]["front"] == pytest.approx(share, abs=0.02)
    assert f"front {found.shares['front']:.1%}" in found.summary
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["mask.json", "mask.mp4"]


def test_masks_and_cutouts_are_png_files(red_model, video, tmp_path):
    clip = video()
    segexport.predict(red_model(), clip, tmp_path / "ids", kind="mask", frames=3)
    pictures = sorted((tmp_path / "ids" / "clip").iterdir())
    assert [path.name for path in pictures] == ["000000.png", "000001.png", "000002.png"]
    ids = np.asarray(Image.open(pictures[2]))
    assert set(np.unique(ids)) == {0, 1}
    assert (ids == disc(2)).mean() > 0.98
    segexport.predict(tmp_path / "model_logits_2_rgb", clip, tmp_path / "cut", background="cutout", frames=1)
    cut = np.asarray(Image.open(tmp_path / "cut" / "clip" / "000000.png"))
    assert cut.shape == (96, 128, 4)
    assert np.abs(cut[..., 3] / 255 - disc(0)).mean() < 0.02


def test_pictures_and_videos_may_be_mixed_and_names_do_not_collide(red_model, video, tmp_path):
    clip = video()
    Image.fromarray(frames(1)[0][..., ::-1]).save(tmp_path / "clip.png")
    inputs = [tmp_path / "clip.png", clip, clip]
    found = segexport.predict(red_model(), inputs, tmp_path / "out")
    assert [type(one).__name__ for one in found] == ["SegmentationResult", "VideoResult", "VideoResult"]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["clip.png", "clip_2.avi", "clip_3.avi"]


def test_nothing_is_written_without_an_output(red_model, video, tmp_path):
    clip = video()
    model = red_model()
    before = sorted(tmp_path.iterdir())
    (found,) = segexport.predict(model, clip)
    assert found.frames == 12
    assert sorted(tmp_path.iterdir()) == before


def test_a_video_that_was_cut_off_leaves_no_file(red_model, video, tmp_path):
    clip = video(count=40)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(InputError, match="the video ends after"):
        segexport.predict(red_model(), clip, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "output", "message"),
    [
        ({"slice_size": 64}, "out", "--slice-size is for images"),
        ({}, "", "this is the video itself"),
        ({"background": "beach.jpg"}, "out", r"--background beach\.jpg: no such file"),
    ],
)
def test_what_does_not_fit_is_refused(red_model, video, tmp_path, options, output, message):
    with pytest.raises(InputError, match=message):
        segexport.predict(red_model(), video(), tmp_path / output, **options)


def test_the_name_of_a_video_is_no_place_for_two(red_model, video, tmp_path):
    clip = video()
    with pytest.raises(InputError, match="this is the name of one video") as caught:
        segexport.predict(red_model(), [clip, clip], tmp_path / "out.mp4")
    assert caught.value.cause == "there are 2 inputs"


def stub_ffmpeg(folder, monkeypatch, script: str) -> None:
    """A program of ffmpeg's name, which is not part of the tests' environment."""
    program = folder / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def said(feedback_lines):
    from segexport.progress import Silence

    class Heard(Silence):
        def say(self, text: str) -> None:
            feedback_lines.append(text)

    return Heard()


def test_without_ffmpeg_one_line_says_that_there_is_no_sound(red_model, video, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(shutil, "which", lambda name: None)
    segexport.predict(red_model(), video(), tmp_path / "out", feedback=said(lines))
    assert lines == [f"{tmp_path / 'out' / 'clip.avi'}: ffmpeg is not installed, so the video has no sound"]


def test_ffmpeg_that_fails_leaves_the_video(red_model, video, tmp_path, monkeypatch):
    lines = []
    stub_ffmpeg(tmp_path, monkeypatch, "echo 'codec not found' >&2; exit 1")
    segexport.predict(red_model(), video(), tmp_path / "out", feedback=said(lines))
    assert lines == [f"{tmp_path / 'out' / 'clip.avi'}: ffmpeg could not add the sound: codec not found"]
    assert len(read(tmp_path / "out" / "clip.avi")) == 12


@pytest.mark.parametrize(("name", "sound"), [("clip.avi", "pcm_s16le"), ("clip.mp4", "aac")])
def test_the_sound_of_the_original_is_kept(red_model, video, tmp_path, name, sound):
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    silent, loud = video("silent.avi"), tmp_path / name
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", silent, "-f", "lavfi", "-i", "sine=440:d=2", "-shortest"]
    subprocess.run([*map(str, command), "-c:a", sound, str(loud)], check=True)
    lines = []
    segexport.predict(red_model(), loud, tmp_path / "out", feedback=said(lines))
    assert lines == []
    seen = subprocess.run(["ffmpeg", "-i", str(tmp_path / "out" / name)], capture_output=True, text=True).stderr
    assert f"Audio: {sound}" in seen
    assert len(read(tmp_path / "out" / name)) == 12


def test_ctrl_c_ends_a_camera_and_keeps_its_video(red_model, video, tmp_path, monkeypatch):
    clip = video(count=12)

    class Interrupted(run.VideoReader):
        def __init__(self, source):
            super().__init__(clip)
            self.source = source

        def __iter__(self):
            for index, frame in enumerate(super().__iter__()):
                if index == 8:
                    raise KeyboardInterrupt
                yield frame

    monkeypatch.setattr(run, "VideoReader", Interrupted)
    with segexport.load(red_model()) as model:
        labels = model.artifact.manifest.labels
        options = run.VideoOptions()
        found = run.predict_video(model.stream(), Camera(0), labels, options, tmp_path / "call.mp4")
        assert 6 <= found.frames <= 8
        assert len(read(tmp_path / "call.mp4")) == found.frames
        with pytest.raises(KeyboardInterrupt):  # a file has an end: half of it is no result
            run.predict_video(model.stream(), clip, labels, options, tmp_path / "half.mp4")
        assert not (tmp_path / "half.mp4").exists()


def test_ctrl_c_on_a_file_leaves_nothing(red_model, video, tmp_path):
    model, clip = red_model(), video(count=600, size=(640, 480))
    command = [sys.executable, "-m", "segexport", "predict", str(model), str(clip), "-o", str(tmp_path / "out")]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's `&` has it ignored
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob(".*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages.decode()
    assert list((tmp_path / "out").iterdir()) == []
    assert b"Traceback" not in messages
