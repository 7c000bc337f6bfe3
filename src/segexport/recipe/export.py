"""A recipe's entry for an export: the base to which each target adds its options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from segexport.recipe.limits import Limits
from segexport.spec import Frozen, HeadKind, MaskDtype

if TYPE_CHECKING:
    pass

# An export's name is also that of its folder and pictures: it must not be a path.
ExportName = Annotated[str, Field(pattern=r"^(\w[\w.+-]*)?$", max_length=60)]
MASK_HEADS: tuple[HeadKind, ...] = ("argmax", "argmax_small")


class ExportRecipe(Frozen):
    """Options of every export. A target's class adds `to`, a Literal of its name, `precision`, and its options.

    Attributes:
        name: Name of the export and its folder; default: `export_name`.
        without: Steps of the recipe that this export skips, for an ablation.
        head: The network's output; see `exporter.set_head`.
        mask_dtype: Element type of the mask, for an argmax head.
        limits: Changes to the precision's limits.
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
