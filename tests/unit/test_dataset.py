"""Data sets on disk: what is read, in which order, and how each kind of bad input is refused."""

from __future__ import annotations

import gc
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segexport.data.dataset import Dataset
from segexport.data.dataset_list import DatasetEntry
from segexport.errors import InputError


def write_image(path: Path, width: int = 6, height: int = 4, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(path)


def write_label(path: Path, values: object = 0, width: int = 6, height: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    label = np.broadcast_to(np.asarray(values), (height, width))
    Image.fromarray(label.astype(np.uint16 if label.max() > 255 else np.uint8)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five images with labels of three classes; image k is filled with k."""
    lines = []
    for k in range(5):
        write_image(tmp_path / f"images/{k}.png", value=k)
        write_label(tmp_path / f"labels/{k}.png", k % 3)
        lines.append(f"images/{k}.png labels/{k}.png")
    (tmp_path / "val.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "labels.txt").write_text("sky\nroad\ncar\n")
    return tmp_path


def rewrite(root: Path, text: str | bytes) -> None:
    (root / "val.txt").write_bytes(text if isinstance(text, bytes) else text.encode())


def test_samples_come_in_order_and_decoded(root):
    data = Dataset.open(root)
    assert (len(data), data.labelled, data.labels, data.num_classes) == (5, True, ("sky", "road", "car"), 3)
    for k, sample in enumerate(data):
        assert (sample.index, sample.name) == (k, f"images/{k}.png")
        assert sample.image.shape == (4, 6, 3)
        assert sample.image.dtype == np.uint8
        assert (sample.image == k).all()
        assert (sample.label == k % 3).all()
        assert sample.label.dtype == np.uint8
    assert [s.index for s in data] == [0, 1, 2, 3, 4]  # again: a data set is no one-way stream


@pytest.mark.parametrize(
    "text",
    [
        b"images/0.png labels/0.png\nimages/1.png labels/1.png\n",
        b"\xef\xbb\xbfimages/0.png labels/0.png\r\nimages/1.png labels/1.png\r\n",  # a list from Windows
        b"# comment\n\nimages/0.png\tlabels/0.png\n  images/1.png\tlabels/1.png  \n\n",
        b"images\\0.png labels\\0.png\n./images/1.png labels/../labels/1.png\n",
        b"images/0.png   labels/0.png\nimages/1.png labels/1.png",
        b"images/0.png,labels/0.png\nimages/1.png, labels/1.png\n",
        b"images/0.png;labels/0.png\nimages/1.png | labels/1.png\n",
    ],
)
def test_dialects_of_lists(root, text):
    rewrite(root, text)
    assert [(e.image, e.label) for e in Dataset.open(root).entries] == [
        ("images/0.png", "labels/0.png"),
        ("images/1.png", "labels/1.png"),
    ]


def test_a_list_of_training_images_may_repeat_lines(root):
    (root / "train.txt").write_text("images/1.png labels/1.png\n" * 3 + "images/2.png labels/2.png\n")
    data = Dataset.open(root, "train")
    assert [sample.name for sample in data] == ["images/1.png"] * 3 + ["images/2.png"]
    (root / "val.txt").write_text("images/1.png labels/1.png\n" * 2)
    with pytest.raises(InputError, match=r"line 2: images/1.png is in line 1 already"):
        Dataset.open(root)


def test_a_list_in_gbk_says_how_to_convert_it(root):
    rewrite(root, "图像/0.png 标签/0.png\n".encode("gbk"))
    with pytest.raises(InputError, match="not UTF-8 text") as caught:
        Dataset.open(root)
    assert "iconv -f GB18030 -t UTF-8 val.txt" in caught.value.hint


def test_a_label_of_an_image_that_exif_turns(root):
    image = Image.new("RGB", (6, 4))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(root / "images/0.jpg", exif=exif)
    rewrite(root, "images/0.jpg labels/0.png")
    with pytest.raises(InputError, match=r"the label is 6x4, its image images/0\.jpg is 4x6") as caught:
        Dataset.open(root).read(0)
    assert caught.value.cause == "the label was drawn before the EXIF orientation turned the image"


def test_paths_with_spaces(root):
    write_image(root / "my images/a b.png")
    write_label(root / "my labels/a b.png")
    for separator in ("\t", " "):
        rewrite(root, f"my images/a b.png{separator}my labels/a b.png\n")
        data = Dataset.open(root)
        assert [(e.image, e.label) for e in data.entries] == [("my images/a b.png", "my labels/a b.png")]
    rewrite(root, "my images/a b.png\n")
    assert not Dataset.open(root).labelled


def test_a_line_that_can_be_read_in_two_ways_is_refused(root):
    for name in ("a", "a b", "b c", "c"):
        Image.new("RGB", (2, 2)).save(root / name, "PNG")
    rewrite(root, "a b c\n")
    with pytest.raises(
        InputError, match=r"val.txt: line 1: 'a b c' can be read in 2 ways; separate the paths by a tab"
    ):
        Dataset.open(root)


def test_images_without_labels(root):
    rewrite(root, "images/0.png\nimages/3.png\n")
    data = Dataset.open(root)
    assert not data.labelled
    assert [sample.label for sample in data] == [None, None]


def test_a_plain_folder(tmp_path):
    for name in ("b.png", "a.jpg", "c.txt"):
        if name.endswith("txt"):
            (tmp_path / name).write_text("no image")
        else:
            write_image(tmp_path / name)
    data = Dataset.open(tmp_path)
    assert [sample.name for sample in data] == ["a.jpg", "b.png"]
    assert (data.labelled, data.labels) == (False, None)
    inside = tmp_path / "set"
    write_image(inside / "images/x.png")
    assert [sample.name for sample in Dataset.open(inside)] == ["images/x.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images/0.png labels/9.png\n", r"val.txt: line 1: labels/9.png: no such file"),
        ("\n\nimages/9.png labels/0.png\n", r"val.txt: line 3: images/9.png: no such file"),
        ("/etc/passwd labels/0.png\n", r"line 1: /etc/passwd is an absolute path"),
        ("C:\\x.png labels/0.png\n", r"line 1: C:/x.png is an absolute path"),
        ("../secret.png\n", r"line 1: ../secret.png leaves the data set's folder"),
        ("images/../../secret.png labels/0.png\n", r"line 1: images/../../secret.png leaves"),
        ("images/0.png labels/0.png\nimages/1.png\n", r"line 2: images/1.png has no label, line 1 has one"),
        ("images/0.png\nimages/1.png labels/1.png\n", r"line 2: images/1.png has a label, line 1 has none"),
        (
            "images/0.png labels/0.png\nimages/1.png labels/1.png\nimages/0.png labels/0.png\n",
            r"line 3: images/0.png is in line 1 already",
        ),
        ("images/0.png\tlabels/0.png\tlabels/1.png\n", r"line 1: 3 columns, but an image and its label are 2"),
        ("a b c d\n", r"line 1: 'a b c d' names no existing files"),
        ("", "val.txt: the list is empty"),
        ("# nothing\n\n", "val.txt: the list is empty"),
        (b"\xff\xfe\x00i", "val.txt: not UTF-8 text"),
        ("images/\0.png\n", "no such file"),
        ("images\n", "line 1: images: no such file"),
        ("a\nb\n", r"line 1: a: no such file; line 2: b: no such file"),
        ("\n".join(map(str, range(30))), r"line 10: 9: no such file; and 20 more"),
    ],
)
def test_bad_lists(root, text, message):
    rewrite(root, text)
    with pytest.raises(InputError, match=message):
        Dataset.open(root)


def test_a_missing_split_names_the_others(root):
    with pytest.raises(
        InputError, match=r"test.txt: no such list\ncause: the lists there are val\nhint: .*--split val"
    ):
        Dataset.open(root, "test")
    with pytest.raises(InputError, match="is not the name of a split"):
        Dataset.open(root, "../val")


def test_missing_folders_and_empty_ones(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        Dataset.open(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no lists and no images"):
        Dataset.open(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: not a folder"):
        Dataset.open(tmp_path / "file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "labels.txt: no class names in it"),
        ("\n\n", "labels.txt: no class names in it"),
        ("sky\n\ncar\n", r"labels.txt: line 2 is empty\ncause: it would be the name of class 1"),
        ("sky\nroad\nsky\n", r"labels.txt: line 3: 'sky' is the name of class 0 already"),
    ],
)
def test_bad_class_names(root, text, message):
    (root / "labels.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        Dataset.open(root)


def test_class_names_from_windows(root):
    (root / "labels.txt").write_bytes("\ufeff天空\r\nroad \r\ncar\r\n\r\n".encode())
    assert Dataset.open(root).labels == ("天空", "road", "car")


def test_label_values_out_of_range_name_file_line_and_values(root):
    write_label(root / "labels/2.png", [[0, 1, 2, 3, 77, 255]])
    with pytest.raises(
        InputError, match=r"labels/2.png \(val.txt, line 3\): label values out of range: 3, 77\n"
    ) as caught:
        list(Dataset.open(root))
    assert "3 classes (0 to 2), and 255 is ignored" in str(caught.value)
    assert len(list(Dataset.open(root, num_classes=78))) == 5
    with pytest.raises(InputError, match="out of range: 255"):
        list(Dataset.open(root, num_classes=78, ignore_index=100))


def test_sixteen_bit_labels(root):
    write_label(root / "labels/0.png", [[0, 1, 2, 300, 65535, 0]])
    label = next(iter(Dataset.open(root, num_classes=301, ignore_index=65535))).label
    assert label.dtype == np.uint16
    assert label[0].tolist() == [0, 1, 2, 300, 65535, 0]


def test_sizes_that_differ(root):
    write_label(root / "labels/1.png", width=5)
    with pytest.raises(
        InputError, match=r"labels/1.png \(val.txt, line 2\): the label is 5x4, its image images/1.png is 6x4"
    ):
        list(Dataset.open(root))


def test_a_broken_image_names_the_line(root):
    path = root / "images/3.png"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match=r"images/3.png: .*decoded \(val.txt, line 4\)"):
        list(Dataset.open(root))


def test_a_file_that_vanishes_is_an_input_error(root):
    data = Dataset.open(root)
    os.remove(root / "images/1.png")
    with pytest.raises(InputError, match=r"images/1.png: no such file"):
        list(data)
    with pytest.raises(InputError, match=r"images/1.png: cannot be read"):
        _ = data.fingerprint


def test_an_iteration_that_is_left_early_leaves_no_threads(root):
    for sample in Dataset.open(root):
        assert sample.index == 0
        break
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_few_samples_are_decoded_ahead(root, monkeypatch):
    lines = []
    for k in range(40):
        write_image(root / f"images/n{k}.png")
        lines.append(f"images/n{k}.png")
    rewrite(root, "\n".join(lines))
    started = []
    read = Dataset.read
    monkeypatch.setattr(Dataset, "read", lambda self, index: started.append(index) or read(self, index))
    most = max(len(started) - taken for taken, _ in enumerate(Dataset.open(root)))
    assert most <= 4
    assert len(started) == 40


def test_the_fingerprint_follows_the_content(root):
    first = Dataset.open(root).fingerprint
    assert first == Dataset.open(root).fingerprint
    for path in root.rglob("*"):  # the same files at another time are the same data
        os.utime(path, ns=(1, 1))
    assert first == Dataset.open(root).fingerprint
    stat = (root / "labels/0.png").stat()
    content = bytearray((root / "labels/0.png").read_bytes())
    content[-1] ^= 1
    (root / "labels/0.png").write_bytes(bytes(content))
    os.utime(root / "labels/0.png", ns=(2, stat.st_mtime_ns + 1))
    changed = Dataset.open(root).fingerprint
    assert changed != first
    rewrite(root, "images/1.png labels/1.png\nimages/0.png labels/0.png\n")
    swapped = Dataset.open(root).fingerprint
    rewrite(root, "images/0.png labels/0.png\nimages/1.png labels/1.png\n")
    assert len({first, changed, swapped, Dataset.open(root).fingerprint}) == 4


def test_the_fingerprint_does_not_depend_on_the_place(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "data"
    shutil.copytree(root, other)
    assert Dataset.open(root).fingerprint == Dataset.open(other).fingerprint


def test_subsets_are_spread_and_repeatable(root):
    names = [f"images/m{k:02}.png" for k in range(20)]
    for name in names:
        write_image(root / name)
    rewrite(root, "\n".join(names))
    data = Dataset.open(root)
    chosen = [entry.image for entry in data.subset(5, seed=3).entries]
    assert chosen == [entry.image for entry in data.subset(5, seed=3).entries]
    assert [names.index(name) // 4 for name in chosen] == [0, 1, 2, 3, 4]  # one of each fifth
    assert len({tuple(data.subset(5, seed=seed).entries) for seed in range(8)}) > 1
    assert data.subset(20) is data
    assert data.subset(99) is data
    assert [sample.index for sample in data.subset(3)] == [0, 1, 2]
    with pytest.raises(InputError, match="a subset of 0 images"):
        data.subset(0)


def test_shards_are_the_data_set_together(root):
    data = Dataset.open(root)
    parts = [data.shard(index, 3) for index in range(3)]
    assert sorted(entry.image for part in parts for entry in part.entries) == [e.image for e in data.entries]
    assert [len(part) for part in parts] == [2, 2, 1]
    with pytest.raises(InputError, match="shard 3 of 3"):
        data.shard(3, 3)


def test_the_microscopy_tiles(shared_dir):
    data = Dataset.open(shared_dir / "data" / "nuclei_stardist16", "train")
    assert (len(data), data.labels) == (10, ("background", "nucleus"))
    for sample in data:
        assert sample.image.shape == (128, 128, 3)
        assert set(np.unique(sample.label)) <= {0, 1, 255}


@pytest.mark.parametrize("count", [1, 7, 60, 100, 101])
def test_a_subset_holds_no_image_twice(tmp_path, count):
    entries = tuple(DatasetEntry(f"{index}.png", None, index) for index in range(101))
    for seed in range(20):
        chosen = Dataset(tmp_path, "val", entries).subset(count, seed)
        assert len({entry.image for entry in chosen.entries}) == len(chosen) == count


def test_parts_are_runs_of_the_list_that_leave_none_out(tmp_path):
    entries = tuple(DatasetEntry(f"{index}.png", None, index + 1) for index in range(11))
    data = Dataset(tmp_path, "val", entries)
    names = [[entry.image for entry in data.part(index, 3).entries] for index in (1, 2, 3)]
    assert [len(part) for part in names] == [3, 4, 4]
    assert [name for part in names for name in part] == [entry.image for entry in entries]
    for index, count in ((0, 3), (4, 3), (1, 12)):
        with pytest.raises(InputError, match=f"part {index}/{count} of 11 images is empty"):
            data.part(index, count)
