"""The palette: distinct for every kind of colour vision, and made by the search that it says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from segexport.ui.palette import PALETTE, color_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import palette as made_by


def test_it_begins_with_okabe_and_ito_and_goes_on_as_the_search_does() -> None:
    assert PALETTE[:3] == ((0, 0, 0), (230, 159, 0), (86, 180, 233))
    assert list(PALETTE[:40]) == made_by.made(40)
    assert len(set(PALETTE)) == 256
    assert color_of(257) == PALETTE[1]


@pytest.mark.parametrize(("classes", "least"), [(8, 0.07), (21, 0.06), (64, 0.03), (150, 0.02)])
def test_no_two_classes_look_alike_to_anyone(classes: int, least: float) -> None:
    ours = made_by.least_distances(np.array(PALETTE[:classes]))
    assert min(ours.values()) > least
    assert min(ours.values()) > 2 * min(made_by.least_distances(made_by.voc(classes)).values())


def test_marks_of_a_difference_are_told_apart_by_everyone() -> None:
    from segexport.ui.pictures import BOTH_WRONG_RGB, DIFFERS_RGB

    dimmed = [(20, 20, 20), (122, 122, 122)]  # the image behind them is between these greys
    found = made_by.least_distances(np.array([DIFFERS_RGB, BOTH_WRONG_RGB, *dimmed]))
    assert min(found.values()) > 0.14
