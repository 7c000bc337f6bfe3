"""`segexport recipe validate`: finds all faults of a recipe without running it."""

from __future__ import annotations

from pathlib import Path

from segexport.pipeline.plan import steps_of
from segexport.pipeline.registry import make_step
from segexport.pipeline.step import check_chain
from segexport.recipe.export import export_name
from segexport.recipe.reader import read_recipe
from segexport.spec import Format


def validate_recipe(path: Path) -> list[str]:
    """The names of a valid recipe's exports; raises InputError with all faults of an invalid one."""
    recipe = read_recipe(path)
    for export in recipe.exports:
        steps = [make_step(entry.step, dict(entry.params)) for entry in recipe.steps_for(export)]
        check_chain([*steps, *steps_of(export)], Format.PADDLE)
    return [export_name(export) for export in recipe.exports]
