"""The step that stores weights in 8 or 4 bits, for targets that compute in float with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segexport.errors import InputError
from segexport.pipeline.registry import make_step
from segexport.spec import Precision

if TYPE_CHECKING:
    from segexport.pipeline.step import Step
    from segexport.recipe.calibration import Calibration
    from segexport.recipe.export import ExportRecipe

_OPTIONS = {"images", "rounding", "ends", "group_size", "float_nodes", "fallback", "agreement"}


def weight_steps(
    recipe: ExportRecipe, calibration: Calibration, *, groups: bool = True, float_operators: tuple[str, ...] = ()
) -> list[Step]:
    """`onnx_weights` for the precisions `w8` and `w4`, else no step.

    8 bits are rounded to the nearest, without images, if there is no calibration.

    Args:
        groups: Whether the target's format has steps of groups of weights.
        float_operators: Operators whose weights the target rounds by itself.

    Raises:
        InputError: Groups are asked for, and the format has none.
    """
    if recipe.precision not in (Precision.W8, Precision.W4):
        return []
    if calibration.group_size and not groups:
        raise InputError(
            f"calibration: group_size is {calibration.group_size}, and {recipe.to} has one step per output",
            hint="leave group_size out; groups are for ONNX and OpenVINO",
        )
    options = calibration.model_dump(include=_OPTIONS) | {"float_operators": float_operators}
    if recipe.precision is Precision.W8 and "calibration" not in recipe.model_fields_set:
        options["rounding"] = "nearest"
    return [make_step("onnx_weights", {**options, "weight_bits": 4 if recipe.precision is Precision.W4 else 8})]
