"""Defines the interface of an export target: one class holds everything segexport needs for one export format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, get_args

from segexport.errors import UnsupportedModelError
from segexport.measure.audit import Audit, not_audited, precision_check
from segexport.spec import Precision

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from segexport.artifact import Manifest, ModelArtifact
    from segexport.diagnose.graph_probe import Diagnosed, Side
    from segexport.exporter.converters import Converter
    from segexport.exporter.inspect import TargetSupport
    from segexport.exporter.program import Program
    from segexport.exporter.targets.layers import Layers
    from segexport.files.store import Store
    from segexport.pipeline.step import Step
    from segexport.recipe.export import ExportRecipe
    from segexport.recipe.limits import Limits
    from segexport.runtimes.base import RunOptions, Runtime
    from segexport.spec import Format


class ExportTarget(ABC):
    """An export target. Recipes, the command line, `inspect`, `check` and all other code read it from this class.

    segexport finds a target by its entry point in the group `segexport.targets`; the entry point has the target's name.
    The recipe schema imports the target's module, so import heavy packages, and `recipe.schema`, inside methods only.

    Attributes:
        name: Name in recipes (`to:`), on the command line (`--to`) and in the default names of exports.
        title: Display name.
        format: Format of the artifacts that the steps write.
        Recipe: Recipe entry of this export: `to` (a Literal of the name), the precisions and the target's own options.
        runtimes: Names of the runtimes that run the export; the first is the default.
        toolchains: Names of the environments that contain the target's tools.
        converters: Tools that read the program; they determine which rewrites run and what `inspect` reports.
        suffix: Suffix of a single model file that can be checked without a manifest; empty if the format has none.
        beside: Suffix of a companion file with the same stem that the model file needs; empty if it needs none.
        one_size: Whether a file holds one input size, so that a dynamic one must be fixed before.
        packed: Roles of the artifact's files that go into the Android app; empty if the app does not run the format.
        as_on_device: Runtime options that make this machine compute as the device does.
        limits: Check limits per precision that differ from the defaults; the recipe's limits override them.
        searched: Precisions that `compress` tries, fp32 first.
        searched_whole: Others that it tries with their own calibration as it is, because this machine cannot time them.
        fits: Name of a purpose (`exporter.targets.purpose`) -> precisions of its candidates.
        next_command: Purpose -> the next command for an export; `{export}` is its folder, `{image}` one of the images
            of its check.
        untimed: Reason why times on this machine do not represent the target device; empty if they do.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    format: ClassVar[Format]
    Recipe: ClassVar[type[ExportRecipe]]
    runtimes: ClassVar[tuple[str, ...]]
    toolchains: ClassVar[tuple[str, ...]] = ()
    converters: ClassVar[tuple[Converter, ...]] = ()
    suffix: ClassVar[str] = ""
    beside: ClassVar[str] = ""
    one_size: ClassVar[bool] = False
    packed: ClassVar[tuple[str, ...]] = ()
    as_on_device: ClassVar[Mapping[str, object]] = {}
    limits: ClassVar[Mapping[Precision, Limits]] = {}
    searched: ClassVar[tuple[Precision, ...]] = (Precision.FP32,)
    searched_whole: ClassVar[tuple[Precision, ...]] = ()
    fits: ClassVar[Mapping[str, tuple[Precision, ...]]] = {}
    next_command: ClassVar[Mapping[str, str]] = {}
    untimed: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        if not hasattr(cls, "Recipe"):
            return  # an abstract base class
        to = cls.Recipe.model_fields.get("to")
        if to is None or get_args(to.annotation) != (cls.name,):
            raise TypeError(f"{cls.__name__}.Recipe must declare `to: Literal[{cls.name!r}]`")

    # -- making it ---------------------------------------------------------------------------------------------

    @abstractmethod
    def steps(self, recipe: ExportRecipe) -> list[Step]:
        """Returns the steps that turn a Paddle program into the export; the program already has the recipe's head.

        Args:
            recipe: An instance of `Recipe`.
        """

    def verdict_before(self, program: Program) -> tuple[TargetSupport, ...]:
        """Reports for each converter whether it supports the program and which operators block it; converts nothing."""
        from segexport.exporter.inspect import support_by

        found = [support_by(converter, program) for converter in self.converters]
        if len(found) == 1:
            return (found[0].model_copy(update={"target": self.name}),)
        return tuple(found)

    # -- reading it --------------------------------------------------------------------------------------------

    def verify(self, root: Path, manifest: Manifest) -> None:  # noqa: B027 - most formats need no more
        """Raises InputError if an artifact's files are not valid files of the format although their digests match."""

    def adopt(self, file: Path, reference: ModelArtifact, store: Store) -> ModelArtifact:
        """Turns a single model file into an artifact; information that the file lacks comes from the reference.

        Raises:
            InputError: The file is not a valid model of this format.
        """
        from segexport.artifact import read_artifact

        return read_artifact(file.parent)

    # -- checking it -------------------------------------------------------------------------------------------

    def audit(
        self, artifact: ModelArtifact, inputs: Sequence[Sequence[np.ndarray]], options: RunOptions, runtime: Runtime
    ) -> Audit:
        """Lists which operators ran in which precision; says so if the runtime does not report them.

        Args:
            artifact: An export to this target.
            inputs: Input tensors of at least one image.
            options: The check's run options.
            runtime: The runtime that runs the export in the check.

        Raises:
            SegexportError: The profile could not be read.
        """
        from segexport.exporter.targets.profile import profiled

        if not runtime.profiles:
            return not_audited(f"{runtime.title} does not report which operators ran in which precision")
        ran = profiled(artifact, inputs[0], options, runtime)
        asked, source = artifact.manifest.target.precision, f"{runtime.title}'s optimized graph"
        narrow = self.narrow(artifact, options)
        return Audit(ran, (precision_check(asked, ran, source, no_fp16=runtime.no_fp16(ran), narrow=narrow),))

    def narrow(self, artifact: ModelArtifact, options: RunOptions) -> Collection[str]:
        """Returns the names of the operators with integer weights; empty if the audit does not count them."""
        return ()

    # -- diagnosing it -----------------------------------------------------------------------------------------

    def graph_probe(self, diagnosed: Diagnosed) -> Side:
        """Opens the export so that its tensors can be compared with the reference's one by one.

        Raises:
            UnsupportedModelError: The target does not expose intermediate tensors.
            SegexportError: The export cannot be read.
        """
        raise UnsupportedModelError(
            f"{diagnosed.artifact.path}: {self.title} exports cannot be diagnosed",
            cause="the target has no graph probe that reads inner tensors",
        )

    # -- compressing it ----------------------------------------------------------------------------------------

    def layers(
        self,
        fp32: ModelArtifact,
        int8: Callable[[], ModelArtifact] | None,
        tensors: Sequence[np.ndarray],
        *,
        threads: int,
        timeout_s: float,
    ) -> Layers | None:
        """Lists the layers that calibration can keep in float; None if the target cannot keep single layers in float.

        Args:
            fp32: The fp32 export.
            int8: Makes the int8 export, so that both are timed; None: no times.
            tensors: The input tensors of one image.
        """
        return None
