"""Groups the images of a data set: frames of a video, slices of a patient, tiles of a scene."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from segexport.data.dataset_list import DatasetEntry
from segexport.errors import DataError, OptionError
from segexport.recipe.groups import AUTO, COLUMN, HINT, PART, fault_in_groups

_SHOWN = 3


def with_groups(entries: Sequence[DatasetEntry], groups: str, where: str) -> tuple[DatasetEntry, ...]:
    """The entries with the names of their groups.

    Args:
        groups: `auto`: each name without its counter. `column`: the list's last column, which the entries already
            have. Else a regular expression that is searched in the image's path.
        where: The list, for messages.

    Raises:
        InputError: The value is invalid, the list has no such column, or the pattern does not match every name.
    """
    if fault := fault_in_groups(groups):
        raise OptionError(f"groups {groups!r}: {fault}", hint=f"give {HINT}")
    if groups == AUTO:
        names = names_without_counter([entry.image for entry in entries])
        return tuple(replace(entry, group=name) for entry, name in zip(entries, names, strict=True))
    if groups == COLUMN:
        named, what = list(entries), "the list's lines have no group"
        hint = "write `image label group` in each line, or `image - group` where there are no labels"
    else:
        named, what = [], f"the pattern {groups!r} does not fit"
        hint = f"the pattern is searched in the image's path, and its part {PART!r} must not be empty"
        for entry in entries:
            match = re.search(groups, entry.image)
            named.append(replace(entry, group=(match[PART] or "") if match else ""))
    if without := [entry.image for entry in named if not entry.group]:
        more = ", ..." if len(without) > _SHOWN else ""
        raise DataError(
            f"{where}: {what} for {len(without)} of {len(entries)} images",
            cause=f"{', '.join(without[:_SHOWN])}{more}",
            hint=hint,
        )
    return tuple(named)


def names_without_counter(images: Sequence[str]) -> list[str]:
    """The group of each image: its path with `#` instead of the counter of the group's images.

    Among paths that differ only in their numbers, the last number that varies is the counter: the frame in
    `0016E5_00390.png`, and in `seq_000012_8bit.png`. A path that resembles no other is a separate group.
    """
    alike: dict[tuple[str, ...], dict[int, list[str]]] = defaultdict(dict)
    for index, image in enumerate(images):
        parts = re.split(r"(\d+)", str(PurePosixPath(image).with_suffix("")))
        alike[tuple(parts[::2])][index] = parts
    found = [""] * len(images)
    for paths in alike.values():
        columns = list(zip(*paths.values(), strict=True))
        varying = [place for place in range(1, len(columns), 2) if len(set(columns[place])) > 1]
        for index, parts in paths.items():
            if varying:
                parts[varying[-1]] = "#"
            found[index] = "".join(parts)
    return found
