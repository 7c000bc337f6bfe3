"""Groups of images: how they are told, that they are never torn apart, and that they travel with what is recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import recordings
from recordings import write_recording

from segexport.commands.compress import CompressOptions, split
from segexport.data.dataset import Dataset
from segexport.data.dataset_list import DatasetEntry
from segexport.data.groups import names_without_counter
from segexport.errors import InputError
from segexport.recipe.schema import DataRecipe
from segexport.references.reference_file import read_reference


@pytest.fixture
def street(tmp_path: Path) -> Dataset:
    """12 images with labels: images/0.png to images/11.png."""
    return recordings.make_data(tmp_path / "street")


def rewrite(data: Dataset, line: str) -> None:
    """Writes the list anew; `line` may use {image}, {label} and {group}, of which there are three."""
    lines = [line.format(image=e.image, label=e.label, group=f"drive {k // 4}") for k, e in enumerate(data.entries)]
    (data.root / "val.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("images", "groups"),
    [
        (["images/0016E5_07959.jpg", "images/0016E5_07961.jpg"], ["images/0016E5_#"] * 2),
        (["0016E5_1.png", "0001TP_1.png", "0006R0_f1.png", "0016E5_2.png", "0001TP_2.png"], None),
        # the drive and the frame vary: the frame is the last one
        (["a/s1_1.png", "a/s1_2.png", "a/s2_1.png", "a/s2_2.png"], ["a/s1_#", "a/s1_#", "a/s2_#", "a/s2_#"]),
        # a fixed number behind the counter
        (["bonn_000001_000019_8bit.png", "bonn_000002_000019_8bit.png"], ["bonn_#_000019_8bit"] * 2),
        (["d1/data/05.png", "d1/data/06.png", "d2/data/05.png"], ["d1/data/#", "d1/data/#", "d2/data/#"]),
        (["cat.png", "dog.png"], ["cat", "dog"]),
        (["x/1.png"], ["x/1"]),
        (["1.jp2", "2.jp2"], ["#", "#"]),
        ([], []),
    ],
)
def test_names_that_count_up(images, groups):
    three_drives = ["0016E5_#", "0001TP_#", "0006R0_f1", "0016E5_#", "0001TP_#"]
    assert names_without_counter(images) == (three_drives if groups is None else groups)


def test_images_stand_for_themselves_unless_the_data_says_otherwise(street):
    assert (street.groups, street.image_groups, street.units) == ("", None, 12)
    found = street.grouped("auto")
    assert (found.groups, set(found.image_groups), found.units) == ("auto", {"images/#"}, 1)
    assert Dataset.open(street.root, groups="auto").image_groups == found.image_groups


@pytest.mark.parametrize("line", ["{image}\t{label}\t{group}", "{image} {label} drive{group[6]}"])
def test_the_last_column(street, line):
    rewrite(street, line)
    for groups in (None, "column"):
        found = Dataset.open(street.root, groups=groups)
        assert [(e.image, e.label) for e in found.entries] == [(e.image, e.label) for e in street.entries]
        assert (found.groups, found.units, found.image_groups[4:5] * 4) == ("column", 3, found.image_groups[4:8])


def test_the_last_column_without_labels(street):
    rewrite(street, "{image} - a{group[6]}")
    found = Dataset.open(street.root)
    assert (found.labelled, found.image_groups[:5]) == (False, ("a0", "a0", "a0", "a0", "a1"))
    rewrite(street, "{image}\t-\t{group}")
    assert Dataset.open(street.root).image_groups[3:5] == ("drive 0", "drive 1")


def test_a_pattern_on_names(street):
    found = street.grouped(r"images/(?P<group>\d)")
    assert found.image_groups == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "1", "1")


@pytest.mark.parametrize(
    ("groups", "message", "more"),
    [
        ("column", r"street, split 'val': the list's lines have no group for 12 of 12 images", "image label group"),
        (r"(?P<group>\d\d)", r"the pattern .* does not fit for 10 of 12 images\ncause: images/0.png, ", ", ..."),
        (r"(?P<group>x*)", r"does not fit for 12 of 12", "must not be empty"),
        (r"(\d+)", r"groups .*: the pattern names no part \(\?P<group>\.\.\.\)", "auto, column, or a pattern"),
        ("(", "not a regular expression: ", "auto, column, or a pattern"),
        ("video", "the pattern names no part", "auto, column, or a pattern"),
    ],
)
def test_groups_that_cannot_be_told(street, groups, message, more):
    with pytest.raises(InputError, match=message) as caught:
        street.grouped(groups)
    assert more in str(caught.value)


def test_every_line_has_a_group_or_none(street):
    rewrite(street, "{image}\t{label}\t{group}")
    text = (street.root / "val.txt").read_text().replace("labels/5.png\tdrive 1", "labels/5.png")
    (street.root / "val.txt").write_text(text)
    with pytest.raises(InputError, match=r"line 6: images/5.png has no group, line 1 has one"):
        Dataset.open(street.root)


def test_a_recipe_says_it_too():
    assert DataRecipe(path="d", groups="auto").groups == "auto"
    with pytest.raises(ValueError, match="the pattern names no part"):
        DataRecipe(path="d", groups="val_(.*)")


def test_groups_are_part_of_the_data(street):
    rewrite(street, "{image}\t{label}\t{group}")
    found = Dataset.open(street.root)
    assert found.fingerprint != street.fingerprint == found.ungrouped().fingerprint
    other = replace(found, entries=tuple(replace(e, group="one") for e in found.entries))
    assert other.fingerprint != found.fingerprint


def grouped(*sizes: int) -> Dataset:
    entries = [DatasetEntry(f"{g}-{k}.png", None, group=f"g{g}") for g, size in enumerate(sizes) for k in range(size)]
    return Dataset(Path("data"), "val", tuple(entries), groups="column")


@pytest.mark.parametrize("sizes", [(5, 5), (1, 9, 2), (3, 1, 1, 7, 2, 2), (2,) * 30, (1, 1, 1, 1, 50)])
@pytest.mark.parametrize("shuffled", [False, True])
def test_no_group_lies_in_two_parts(sizes, shuffled):
    data = grouped(*sizes)
    if shuffled:
        data = replace(data, entries=data.entries[::2] + data.entries[1::2])
    first, second = (data.part(index, 2) for index in (1, 2))
    assert not set(first.image_groups) & set(second.image_groups)
    assert {e.image for e in (*first.entries, *second.entries)} == {e.image for e in data.entries}
    assert abs(len(first) - len(second)) <= max(sizes)


def test_groups_of_one_image_are_parted_as_images_are():
    data = grouped(*(1,) * 11)
    for index in (1, 2, 3):
        assert data.part(index, 3).entries == data.ungrouped().part(index, 3).entries


def test_one_group_cannot_be_parted():
    with pytest.raises(InputError, match=r"part 1/2 of 9 images in 1 group is empty") as caught:
        [grouped(9).part(index, 2) for index in (1, 2)]
    assert "whole groups" in caught.value.cause


# -- what is recorded ------------------------------------------------------------------------------------------


def test_a_recording_lends_its_groups_to_data_that_names_none(street, tmp_path):
    rewrite(street, "{image}\t{label}\t{group}")
    recorded = write_recording(tmp_path / "street.ref", Dataset.open(street.root)).as_reference()
    plain = Dataset.open(street.root).ungrouped()
    for data in (plain, plain.grouped("auto")):
        recorded.require_data(data)  # groups change no mask
    assert recorded.with_groups(plain).image_groups == Dataset.open(street.root).image_groups
    assert recorded.with_groups(plain.grouped("auto")).units == 1  # what is said last holds
    assert recorded.with_groups(plain.subset(3)).units == 3
    header = read_reference(tmp_path / "street.ref").header
    assert (header.data.groups, header.images[5].group) == ("column", "drive 1")


def options(root: Path, **changes) -> CompressOptions:
    return CompressOptions(data=root, **changes)


def test_the_search_and_the_verdict_share_no_group(tmp_path):
    data = recordings.make_data(tmp_path / "long", 72)
    lines = [f"{e.image}\t{e.label}\tvideo {k * 30 // 72}" for k, e in enumerate(data.entries)]
    (data.root / "val.txt").write_text("\n".join(lines) + "\n")
    found = split(options(data.root))
    assert (found.search.units, found.verdict.units, found.apart) == (15, 15, True)
    assert len(found.search) + len(found.verdict) == 72
    assert split(options(data.root, groups="column")).recipe.groups == "column"
    with pytest.raises(InputError, match=r"1 groups are too few for a search and a separate verdict") as caught:
        split(options(data.root, groups="auto"))
    assert (caught.value.cause, caught.value.hint) == (
        "both halves need 14 to pass anything, and share none",
        "give more images, or others for the verdict: --verdict-split NAME",
    )


def test_a_verdict_on_too_few_groups_is_refused_before_the_search(tmp_path):
    data = recordings.make_data(tmp_path / "long", 40)
    (data.root / "other.txt").write_text((data.root / "val.txt").read_text())
    with pytest.raises(InputError, match=r"split 'other': 40 images in 1 group for the verdict"):
        split(options(data.root, groups="auto", verdict_split="other"))
