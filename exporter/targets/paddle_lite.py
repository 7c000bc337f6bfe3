"""Paddle-Lite: a `.nb` for ARM, with its x86 twin for the check where x86 has the operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from segexport.exporter.converters import OPT_ARM, OPT_X86
from segexport.exporter.targets.base import ExportTarget
from segexport.pipeline.registry import make_step
from segexport.recipe.calibration import Calibration
from segexport.recipe.export import ExportRecipe
from segexport.spec import Format, Precision

if TYPE_CHECKING:
    from segexport.pipeline.step import Step


class PaddleLiteExport(ExportRecipe):
    """A Paddle-Lite export for ARM, with its x86 twin for the check; see `exporter.to_paddle_lite`."""

    to: Literal["paddle-lite"]
    precision: Literal[Precision.FP32, Precision.FP16, Precision.W8, Precision.INT8] = Precision.FP32
    weight_bits: Literal[8, 16] = 8
    calibration: Calibration = Field(default_factory=Calibration)


class PaddleLite(ExportTarget):
    """By Paddle-Lite's own Opt, from the program."""

    name = "paddle-lite"
    title = "Paddle-Lite"
    format = Format.PADDLE_LITE
    Recipe = PaddleLiteExport
    runtimes = ("paddle-lite",)
    toolchains = ("paddle-lite",)
    converters = (OPT_ARM, OPT_X86)
    searched = (Precision.FP32, Precision.FP16, Precision.W8)
    searched_after: ClassVar[Mapping[Precision, str]] = {Precision.INT8: "calibrate"}
    untimed = "the x86 twins' times here say nothing about a phone"

    def steps(self, recipe: PaddleLiteExport) -> list[Step]:
        return [make_step("to_paddle_lite", recipe.model_dump(include={"precision", "weight_bits", "calibration"}))]
