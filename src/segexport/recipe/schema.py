"""The recipe: what is to be made of a model and how it is checked. Plain data; `recipe_yaml` reads it from a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from segexport.recipe.limits import Limits
from segexport.recipe.step_order import fault_in
from segexport.recipe.tolerances import Tolerances
from segexport.spec import Format, Frozen, HeadKind, MaskDtype, Precision, Preprocess

# The name of the export's folder and of its pictures: no path.
ExportName = Annotated[str, Field(pattern=r"^(\w[\w.+-]*)?$", max_length=60)]
RESERVED_NAMES = frozenset({"reference"})
MASK_HEADS: tuple[HeadKind, ...] = ("argmax", "argmax_small")


class ModelRecipe(Frozen):
    """The trained model: a PaddleSeg or PaddleX export folder, a bare program, or an artifact.

    Attributes:
        path: Folder or file, relative to the recipe.
        preprocess: Only where the export does not say it, or says it wrong.
        labels: Class names; else the export's, else the data's `labels.txt`.
        input_size: (width, height) that a free input is fixed to.
        mask_output: The output that the mask is made from, of a network with several heads.
    """

    path: str
    preprocess: Preprocess | None = None
    labels: tuple[str, ...] | None = None
    input_size: tuple[PositiveInt, PositiveInt] | None = None
    mask_output: str | None = None
    ignore_index: int = 255


class DataRecipe(Frozen):
    """Images in PaddleSeg's form: `<split>.txt` with `image label` pairs, `labels.txt`.

    Attributes:
        path: Folder, relative to the recipe.
        split: Images of the check.
        calibration_split: Images for steps that calibrate or train; never those of the check unless you say so.
        part: `2/3`: the second of three equal runs of the split's list, for the check; neighbours stay together.
        label_map: Class of the model -> class of the data, by name, where the two differ.
        limit: At most so many images for the check, spread over the split.
    """

    path: str
    split: str = "val"
    calibration_split: str = "train"
    part: str | None = Field(default=None, pattern=r"^[1-9]\d*/[1-9]\d*$")
    label_map: dict[str, str] | None = None
    limit: int | None = Field(default=None, ge=1)


class StepRecipe(Frozen):
    """A step of the chain that every export goes through, with its own parameters."""

    step: str
    params: dict[str, Any] = Field(default_factory=dict)


class Calibration(Frozen):
    """How a model is quantized to int8 after training; see docs/quantization.md for what each part brings.

    Attributes:
        method: How activation ranges are chosen from what was observed. `minmax`: all of it. `percentile`: all but the
            outermost `percentile` of it. `mse`: the range with the least squared error of rounding and clipping.
            `entropy`: the range whose 256 levels keep the most information (Migacz 2017).
        percentile: Percent of the observed values that stay inside the range.
        images: Calibration images taken from the data, spread over it.
        per_channel: A scale for each output channel of the weights, not one for all of them.
        equalize: Cross-layer equalization (Nagel et al. 2019, section 4.1), where it changes no float output.
        bias_correction: Takes the mean error of each channel out of its bias (Nagel et al. 2019, section 4.2).
        float_operators: ONNX operator types that are left in float.
        float_nodes: Names of single operators that are left in float.
    """

    method: Literal["minmax", "percentile", "mse", "entropy"] = "mse"
    percentile: float = Field(default=99.99, gt=50, le=100)
    images: int = Field(default=32, ge=1)
    per_channel: bool = True
    equalize: bool = False
    bias_correction: bool = False
    float_operators: tuple[str, ...] = ("Resize",)
    float_nodes: tuple[str, ...] = ()


class _Export(Frozen):
    """What every export has.

    Attributes:
        head: What leaves the network; see `exporter.set_head`.
        mask_dtype: Of the mask, where the head is an argmax.
        without: Steps of the recipe that this export does not go through: an ablation.
    """

    name: ExportName = ""
    without: tuple[str, ...] = ()
    head: HeadKind = "keep"
    mask_dtype: MaskDtype = "int32"
    limits: Limits | None = None

    @model_validator(mode="after")
    def _only_masks_have_the_mask_dtype(self) -> _Export:
        if self.mask_dtype != "int32" and self.head not in MASK_HEADS:
            raise ValueError(f"mask_dtype is for the heads {' and '.join(MASK_HEADS)}, the head is {self.head}")
        return self


class OnnxExport(_Export):
    """An ONNX export."""

    to: Literal[Format.ONNX]
    precision: Literal[Precision.FP32, Precision.FP16, Precision.INT8] = Precision.FP32
    opset: Literal["auto"] | int = "auto"
    simplify: bool = True
    calibration: Calibration = Field(default_factory=Calibration)


class PaddleLiteExport(_Export):
    """A Paddle-Lite export for ARM, with its x86 twin for the check; see `exporter.to_paddle_lite`."""

    to: Literal[Format.PADDLE_LITE]
    precision: Literal[Precision.FP32, Precision.FP16, Precision.W8, Precision.INT8] = Precision.FP32
    weight_bits: Literal[8, 16] = 8
    calibration: Calibration = Field(default_factory=Calibration)


ExportRecipe = Annotated[OnnxExport | PaddleLiteExport, Field(discriminator="to")]


class CheckRecipe(Frozen):
    """How exports are run and compared.

    Attributes:
        reference: A recorded reference, relative to the recipe; without it the original runs beside the exports.
        baseline: An earlier report.json, relative to the recipe; whoever got worse than there fails.
        tolerances: What may be lost against it.
        device: Where the exports run.
        reference_device: Where the original runs.
        threads: Threads of every runtime, for masks and for times.
        latency_seconds: Time for the timed runs of all exports together; 0 leaves them out. Opening each of them up to
            eight times, and warming up, comes on top.
        worst_images: How many of the worst images are drawn.
    """

    reference: str | None = None
    baseline: str | None = None
    tolerances: Tolerances = Field(default_factory=Tolerances)
    device: str = "cpu"
    reference_device: str = "cpu"
    threads: int = Field(default=1, ge=1, le=256)
    latency_seconds: float = Field(default=10.0, ge=0, le=3600)
    worst_images: int = Field(default=10, ge=0, le=100)
    timeout_s: float = Field(default=300.0, gt=0, le=86400)


class Recipe(Frozen):
    """Everything that `segexport run` needs."""

    schema_version: Literal[1] = 1
    title: str = ""
    model: ModelRecipe
    data: DataRecipe
    steps: tuple[StepRecipe, ...] = ()
    exports: tuple[ExportRecipe, ...] = Field(min_length=1)
    check: CheckRecipe = Field(default_factory=CheckRecipe)
    seed: int = Field(default=0, ge=0)

    @field_validator("steps")
    @classmethod
    def _order_makes_sense(cls, steps: tuple[StepRecipe, ...]) -> tuple[StepRecipe, ...]:
        if fault := fault_in([(entry.step, entry.params) for entry in steps]):
            raise ValueError(fault)
        return steps

    @field_validator("exports")
    @classmethod
    def _names_are_unique(cls, exports: tuple[ExportRecipe, ...]) -> tuple[ExportRecipe, ...]:
        names = [export_name(export) for export in exports]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two exports are called {', '.join(twice)}; give each a `name`")
        if reserved := sorted(RESERVED_NAMES.intersection(names)):
            raise ValueError(f"{', '.join(reserved)}: not a name for an export, reports call the original so")
        return exports

    @model_validator(mode="after")
    def _only_its_steps_are_left_out(self) -> Recipe:
        for export in self.exports:
            self._require_steps(export.without)
        return self

    def steps_for(self, export: OnnxExport | PaddleLiteExport) -> tuple[StepRecipe, ...]:
        """The steps that an export goes through before its own."""
        return tuple(entry for entry in self.steps if entry.step not in export.without)

    def ablated(self, kinds: Sequence[str]) -> Recipe:
        """The recipe without its steps of these kinds.

        Raises:
            ValueError: It has none of one kind.
        """
        self._require_steps(kinds)
        left = tuple(entry for entry in self.steps if entry.step not in kinds)
        exports = [
            export.model_copy(update={"without": tuple(kind for kind in export.without if kind not in kinds)})
            for export in self.exports
        ]
        return self.model_copy(update={"steps": left, "exports": tuple(exports)})

    def _require_steps(self, kinds: Sequence[str]) -> None:
        known = [entry.step for entry in self.steps]
        if unknown := [kind for kind in kinds if kind not in known]:
            has = f"its steps are {', '.join(known)}" if known else "it has no steps"
            raise ValueError(f"the recipe has no step {unknown[0]!r} to leave out; {has}")


def export_name(export: OnnxExport | PaddleLiteExport) -> str:
    """The export's name, by default `<format>-<precision>` and its head if it has one of its own; its folder's too."""
    parts = [export.to.value, export.precision.value]
    if export.head != "keep":
        parts.append(export.head)
    if export.mask_dtype != "int32":
        parts.append(export.mask_dtype)
    return export.name or "-".join(parts)
