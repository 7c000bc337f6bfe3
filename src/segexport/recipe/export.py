"""A recipe's entry for an export: the base to which each target adds its options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from segexport.recipe.limits import Limits
from segexport.spec import Frozen, HeadKind, MaskDtype

if TYPE_CHECKING:
    pass

# The name of the export's folder and of its pictures: no path.
ExportName = Annotated[str, Field(pattern=r"^(\w[\w.+-]*)?$", max_length=60)]
MASK_HEADS: tuple[HeadKind, ...] = ("argmax", "argmax_small")


class ExportRecipe(Frozen):
    """What every export has. A target's own class adds `to`, a Literal of its name, `precision`, and its options.

    Attributes:
        name: Of the export's folder; without one, `export_name` makes it.
        without: Steps of the recipe that this export does not go through: an ablation.
        head: What leaves the network; see `exporter.set_head`.
        mask_dtype: Of the mask, where the head is an argmax.
        limits: Changes to those of the precision.
    """

    if TYPE_CHECKING:
        to: Any
        precision: Any

    name: ExportName = ""
    without: tuple[str, ...] = ()
    head: HeadKind = "keep"
    mask_dtype: MaskDtype = "int32"
    limits: Limits | None = None

    @model_validator(mode="after")
    def _only_masks_have_the_mask_dtype(self) -> ExportRecipe:
        if self.mask_dtype != "int32" and self.head not in MASK_HEADS:
            raise ValueError(f"mask_dtype is for the heads {' and '.join(MASK_HEADS)}, the head is {self.head}")
        return self


def export_name(export: ExportRecipe) -> str:
    """The export's name and folder, by default `<target>-<precision>`, and its head if the export sets one."""
    parts = [export.to, export.precision.value]
    if export.head != "keep":
        parts.append(export.head)
    if export.mask_dtype != "int32":
        parts.append(export.mask_dtype)
    return export.name or "-".join(parts)
