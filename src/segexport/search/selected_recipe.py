"""Writes the recipe of a candidate, with which `segexport run` reproduces it and checks it together with fp32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from segexport.recipe.export import ExportRecipe
from segexport.recipe.limits import Limits, limits_for
from segexport.recipe.schema import CheckRecipe, DataRecipe, ModelRecipe, Recipe
from segexport.search.candidate import Candidate
from segexport.search.objective import Goal

COMPRESSED = "compressed"
BASELINE = "fp32"


def recipe_of(
    candidate: Candidate | None, baseline: ExportRecipe, goal: Goal, model: ModelRecipe, data: DataRecipe, **check: Any
) -> Recipe:
    """Returns a recipe of the candidate and the original's fp32 export; only fp32 without a candidate."""
    if candidate is None:
        exports: tuple[ExportRecipe, ...] = (baseline.model_copy(update={"name": BASELINE}),)
        steps = ()
    else:
        steps = candidate.steps
        plain = baseline.model_copy(update={"name": BASELINE, "without": tuple(step.step for step in steps)})
        named = candidate.export.model_copy(update={"name": COMPRESSED, "limits": limits_of(candidate, goal)})
        exports = (plain, named)
    title = f"{Path(model.path).name}: at most {goal.max_miou_drop:g} mIoU lost, least {goal.objective}"
    return Recipe(
        title=title, model=model, data=data, steps=steps, exports=exports, check=CheckRecipe.model_validate(check)
    )


def limits_of(candidate: Candidate, goal: Goal) -> Limits:
    """Replaces the precision's margin by the accuracy budget.

    A retrained model need not agree with the original where the original was wrong, so it is compared with the ground
    truth and not with the original's masks.
    """
    changes: dict[str, Any] = {"miou_margin": goal.max_miou_drop, "agreement_mask_iou_min": 1 - goal.max_miou_drop}
    if goal.objective == "latency":
        changes["latency_ratio_max"] = 1.0
    elif limits_for(candidate.precision).latency_ratio_max is not None:
        changes["latency_ratio_max"] = None
    if candidate.trained:
        changes |= dict.fromkeys(
            ("agreement_min", "agreement_worst_image_min", "agreement_confident_min", "agreement_class_min")
        )
        changes |= {"class_iou_margin": 0.05, "boundary_iou_margin": 0.02}
    return Limits(**changes)


def to_yaml(recipe: Recipe, head: Mapping[str, str]) -> str:
    """Renders the recipe's explicit settings under a comment with its origin."""
    lines = [f"# {name}: {text}" for name, text in head.items()]
    content = recipe.model_dump(mode="json", exclude_unset=True)
    return "\n".join([*lines, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)])
