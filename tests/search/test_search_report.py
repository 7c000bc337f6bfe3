"""What a person sees of a search: the page, the plot, and a recipe that can be read again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from worlds import FP32, INT8, World

from segexport.recipe.reader import read_recipe
from segexport.recipe.schema import DataRecipe, ModelRecipe, StepRecipe
from segexport.search import plot, report
from segexport.search import selected_recipe as winner
from segexport.search.candidate import Candidate
from segexport.search.journal import Journal
from segexport.search.loop import search
from segexport.search.objective import Goal, finalists
from segexport.spec import Precision

NAMES = [f"conv{index}" for index in range(6)] + ["<b>conv</b>"]
GOAL = Goal(max_miou_drop=0.005)


@pytest.fixture
def ended(tmp_path):
    """(points, space, the chosen one) of a search with a failure, a loser and a slow layer in it."""
    gains = dict.fromkeys(NAMES, 5.0) | {"<b>conv</b>": -9.0}
    world = World(
        dict.fromkeys(NAMES, 0.0002) | {"conv3": 0.04}, gains, calibrations={"mse": 1.0, "minmax": 2.0},
        broken=frozenset({Precision.FP16}),
    )  # fmt: skip
    outcome = search(
        world.space(), GOAL, Journal(tmp_path / "j.jsonl"), world, budget=world.budget(1e6), say=lambda _line: None
    )
    return outcome.points, world.space(), finalists(GOAL, outcome.points)[0]


def summary(points, space, chosen) -> report.Summary:
    return report.Summary(
        sentence="it <held>",
        goal=GOAL,
        chosen=chosen.key,
        images={"search": 50, "verdict": 51, "learning": 367},
        spent_seconds=90.0,
        made=len(points),
        found=0,
        left_out=("prune: 3 of 3 tries left out, about 10 min of work",),
        notes=report.notes(space),
        environment={},
        tries=report.tries(GOAL, points, chosen),
    )


def test_the_page_holds_everything_and_needs_nothing(ended):
    points, space, chosen = ended
    page = report.html(summary(points, space, chosen), GOAL, points, chosen)
    assert re.findall(r"(?:src|href)=\"(?!#|report\.html)", page) == []
    assert "default-src 'none'" in page
    assert not re.search(r"url\(|@import|https?:", page)
    assert "<script" not in page
    assert "it &lt;held&gt;" in page
    assert "<b>conv</b>" not in page
    assert "&lt;b&gt;conv&lt;/b&gt; (10.00 -&gt; 19.00 ms)" in page
    assert "prune: 3 of 3 tries left out" in page
    rows = report.rows(GOAL, points, chosen)
    assert len(rows) == page.count("<tr class=")
    assert page.count('class="front-mark"') == sum(row.is_on_front for row in rows) > 0
    assert page.count('<svg class="mark') - 4 == len(plot.shown(points))  # four of them are the key
    by_idea = {row.idea: row for row in rows}
    assert by_idea["fp32 as exported"].reason == "what everything is compared with"
    assert by_idea["all fp16"].reason == "failed: no fp16 here"
    assert by_idea["all int8"].reason == "loses 0.0412 mIoU, 0.005 is allowed"
    words = "dropped: 0.2871 off the original's scores on 8 images; those that went on are 0.2030 off or less"
    assert by_idea["ranges by minmax"].reason == words
    words = "to know the layer: 0.2000 off the original's scores on 4 images"
    assert by_idea["only conv3 in int8"].reason == words
    assert [row.reason for row in rows].count("chosen") == 1
    assert {"conv3", "<b>conv</b>"} == set(chosen.candidate.float_nodes)


def test_the_plot_places_cost_and_loss(ended):
    points, _, chosen = ended
    drawn = plot.draw(GOAL, points, chosen)
    marks = {mark.point.name: mark for mark in drawn.marks}
    base, best = marks["fp32 as exported: +0.0000"], next(mark for mark in drawn.marks if mark.point.remark)
    assert (base.point.shape, base.y) == ("square", drawn.zero)
    assert best.x < base.x
    assert drawn.zero < drawn.limit  # downwards
    lost = next(mark for name, mark in marks.items() if name.startswith("all int8"))
    assert lost.is_below
    assert lost.y > drawn.limit
    assert (best.x, best.y) in drawn.front
    for objective in ("size", "flops"):
        assert plot.draw(Goal(max_miou_drop=0.005, objective=objective), points, None).marks
    assert plot.draw(GOAL, (), None) is None


@pytest.mark.parametrize("trained", [False, True])
def test_the_recipe_of_the_winner_is_read_back_as_it_was(tmp_path, trained):
    steps = (StepRecipe(step="prune", params={"keep_macs": 0.5}), StepRecipe(step="finetune", params={"steps": 9}))
    candidate = Candidate(steps=steps if trained else (), export=INT8).calibrated(
        float_nodes=("conv3",), method="minmax"
    )
    recipe = winner.recipe_of(
        candidate, FP32, GOAL, ModelRecipe(path="/m"), DataRecipe(path="/d", part="2/2"), latency_seconds=7.0
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(winner.to_yaml(recipe, {"Found by": "a search", "What it is": "1 of 6 layers float"}))
    assert path.read_text().startswith("# Found by: a search\n# What it is: 1 of 6 layers float\n")
    again = read_recipe(path)
    assert again.model_dump() == recipe.model_dump()
    plain, found = again.exports
    assert (plain.name, plain.without) == ("fp32", ("prune", "finetune") if trained else ())
    assert (found.name, found.calibration.float_nodes, found.limits.miou_margin) == ("compressed", ("conv3",), 0.005)
    assert again.steps_for(plain) == ()
    assert found.limits.latency_ratio_max == 1.0
    assert ("agreement_min" in found.limits.model_fields_set) == trained


def test_fp32_alone_where_nothing_was_chosen():
    recipe = winner.recipe_of(None, FP32, GOAL, ModelRecipe(path="/m"), DataRecipe(path="/d"))
    assert [export.name for export in recipe.exports] == ["fp32"]
    assert Path(recipe.model.path).name in recipe.title
