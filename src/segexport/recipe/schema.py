"""The recipe: how exports are made from a model and checked. Plain data; `recipe.reader` reads it from a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import Field, PositiveInt, field_validator, model_validator

from segexport.pipeline.entry_points import instances
from segexport.recipe.export import ExportRecipe, export_name
from segexport.recipe.groups import HINT, fault_in_groups
from segexport.recipe.label_map import as_label_map
from segexport.recipe.step_order import fault_in
from segexport.recipe.tolerances import Tolerances
from segexport.spec import Frozen, Postprocess, Preprocess

RESERVED_NAMES = frozenset({"reference"})


class ModelRecipe(Frozen):
    """The trained model: a PaddleSeg or PaddleX export folder, a bare program, a training checkpoint, or an artifact.

    Attributes:
        path: Folder or file, relative to the recipe.
        preprocess: The preprocessing, if it is missing or wrong in the export.
        labels: Class names; else the export's, else the data's `labels.txt`.
        input_size: (width, height) in pixels: fixes a dynamic input size.
        mask_output: Name of the mask's output, for a network with several heads.
        config: PaddleSeg's configuration of a training checkpoint, relative to the recipe.
        paddleseg: Checkout of PaddleSeg that builds its network, relative to the recipe; None: the toolchain's.
        postprocess: Processing of the outputs: lanes, instances, or scores averaged over sizes.
    """

    path: str
    preprocess: Preprocess | None = None
    labels: tuple[str, ...] | None = None
    input_size: tuple[PositiveInt, PositiveInt] | None = None
    mask_output: str | None = None
    ignore_index: int = 255
    config: str | None = None
    paddleseg: str | None = None
    postprocess: Postprocess | None = None


class DataRecipe(Frozen):
    """Images in PaddleSeg's form: `<split>.txt` with `image label` pairs, `labels.txt`.

    Attributes:
        path: Folder, relative to the recipe.
        split: Images of the check.
        calibration_split: Images for steps that calibrate or train; never those of the check unless given here.
        part: `2/3`: the second of three equal runs of the split's list, for the check; neighbours stay together.
        calibration_part: The same of the calibration split; for images without lists.
        label_map: Class of the model -> class of the data, by name or by id, if they differ.
        limit: Largest number of images for the check, spread over the split.
        groups: Grouping of images that are not independent, such as frames of a video. `auto`: numbered names with a
            common prefix. `column`: the last column of the list. Otherwise a regular expression on the image's path;
            its part `(?P<group>...)` is the group.
    """

    path: str
    split: str = "val"
    calibration_split: str = "train"
    groups: str | None = None
    part: str | None = Field(default=None, pattern=r"^[1-9]\d*/[1-9]\d*$")
    calibration_part: str | None = Field(default=None, pattern=r"^[1-9]\d*/[1-9]\d*$")
    label_map: dict[str, str] | None = None
    limit: int | None = Field(default=None, ge=1)

    @field_validator("label_map", mode="before")
    @classmethod
    def _ids_are_numbers(cls, value: object) -> object:
        return value if value is None else as_label_map(value)

    @field_validator("groups")
    @classmethod
    def _groups_can_be_told(cls, groups: str | None) -> str | None:
        if groups is not None and (fault := fault_in_groups(groups)):
            raise ValueError(f"{fault}; give {HINT}")
        return groups


class StepRecipe(Frozen):
    """A step that all exports share, with its parameters."""

    step: str
    params: dict[str, Any] = Field(default_factory=dict)


if TYPE_CHECKING:
    AnyExport = ExportRecipe
else:
    AnyExport = Annotated[
        Union[tuple(target.Recipe for target in instances("target").values())],  # noqa: UP007 - as many as are installed
        Field(discriminator="to"),
    ]
"""An export to any of the installed targets, each with its options."""


LatencyPolicy = Literal["off", "warn", "gate"]


class CheckRecipe(Frozen):
    """Options of running and comparing exports.

    Attributes:
        reference: A recorded reference, relative to the recipe; default: the original model runs too.
        baseline: An earlier report.json, relative to the recipe; an export with worse results fails.
        tolerances: Allowed losses relative to the baseline.
        device: Device of the exports.
        reference_device: Device of the original.
        threads: Threads of every runtime, for masks and for times.
        latency: `off`: no timing. `warn`: an export that is slower than its limit or than the baseline is reported and
            passes. `gate`: it fails. By default, an export is gated if its `limits` have a `latency_ratio_max`, and the
            baseline's latency if `tolerances` have it; everything else is only reported.
        latency_seconds: Longest duration of the timed runs of all exports together; 0: no timing. Opening each export
            three to eight times is not included; timing ends when every interval is within 3 % of its ratio.
        count: Whether to count the instructions of one inference, for ONNX exports.
        worst_images: Number of worst images to draw.
        runtimes: Names of runtimes to use instead of the first one of their formats; an export gets one row per runtime
            that supports its format.
    """

    reference: str | None = None
    baseline: str | None = None
    tolerances: Tolerances = Field(default_factory=Tolerances)
    device: str = "cpu"
    reference_device: str = "cpu"
    threads: int = Field(default=1, ge=1, le=256)
    latency: LatencyPolicy | None = None
    latency_seconds: float = Field(default=10.0, ge=0, le=3600)
    count: bool = False
    worst_images: int = Field(default=10, ge=0, le=100)
    timeout_s: float = Field(default=300.0, gt=0, le=86400)
    runtimes: tuple[str, ...] = ()

    @field_validator("latency", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: object) -> object:
        return "off" if value is False else value  # YAML reads `off` as false

    @model_validator(mode="after")
    def _a_gate_needs_times(self) -> CheckRecipe:
        if self.latency == "gate" and not self.latency_seconds:
            raise ValueError("latency: gate needs times, and latency_seconds is 0")
        return self

    @property
    def timing_seconds(self) -> float:
        """Duration of timing in seconds; 0: no timing."""
        return 0.0 if self.latency == "off" else self.latency_seconds


class Recipe(Frozen):
    """Everything that `segexport run` needs."""

    schema_version: Literal[1] = 1
    title: str = ""
    model: ModelRecipe
    data: DataRecipe
    steps: tuple[StepRecipe, ...] = ()
    exports: tuple[AnyExport, ...] = Field(min_length=1)
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
    def _names_are_unique(cls, exports: tuple[AnyExport, ...]) -> tuple[ExportRecipe, ...]:
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

    def steps_for(self, export: ExportRecipe) -> tuple[StepRecipe, ...]:
        """The recipe's steps for an export, which run before the export's own."""
        return tuple(entry for entry in self.steps if entry.step not in export.without)

    def ablated(self, kinds: Sequence[str]) -> Recipe:
        """Returns the recipe without its steps of these kinds.

        Raises:
            ValueError: It has no step of a kind.
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
