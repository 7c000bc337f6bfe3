"""What an export target is: everything that segexport has to know of one kind of export, in one class."""

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
    from segexport.diagnose.graph_probe import Side
    from segexport.diagnose.trace import Trace
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
    """A kind of export. Recipes, the command line, `inspect`, `check` and all others learn of it from its class.

    It is found by its entry point in the group `segexport.targets`, whose name is its own. Its module is imported with
    the recipe's schema, so it imports what is heavy, and `recipe.schema` itself, inside its methods only.

    Attributes:
        name: In recipes (`to:`), on the command line (`--to`), in the default names of its exports.
        title: What people call it.
        format: Of the artifacts that its steps make.
        Recipe: The recipe's entry for such an export: `to`, a Literal of the name; the precisions; its own options.
        runtimes: Names of the runtimes that run it; the first one is the default.
        toolchains: The environments that its tools live in, by name.
        converters: The tools that read the program; they decide which rewrites run before, and what `inspect` reports.
        suffix: Of a bare file of the format, which may be checked without a manifest; empty where there is none.
        beside: Suffix of a file of the same name that a bare file of the format needs; empty where it needs none.
        packed: Roles of the artifact's files that go into the Android app; none where the app does not run the format.
        as_on_device: Options of its runtime with which it computes here as it does on the device.
        limits: What an export of a precision must hold where that is not what every export must; recipes come after.
        searched: The precisions that `compress` tries, fp32 first.
        searched_after: Further ones, each with the step of a recipe that it needs before.
        untimed: Why times on this machine do not represent the target device; empty if they do.
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
    packed: ClassVar[tuple[str, ...]] = ()
    as_on_device: ClassVar[Mapping[str, object]] = {}
    limits: ClassVar[Mapping[Precision, Limits]] = {}
    searched: ClassVar[tuple[Precision, ...]] = (Precision.FP32,)
    searched_after: ClassVar[Mapping[Precision, str]] = {}
    untimed: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        if not hasattr(cls, "Recipe"):
            return  # a base of others
        to = cls.Recipe.model_fields.get("to")
        if to is None or get_args(to.annotation) != (cls.name,):
            raise TypeError(f"{cls.__name__}.Recipe must declare `to: Literal[{cls.name!r}]`")

    # -- making it ---------------------------------------------------------------------------------------------

    @abstractmethod
    def steps(self, recipe: ExportRecipe) -> list[Step]:
        """The steps from a Paddle program, whose head is already as the recipe asks, to the export.

        Args:
            recipe: One of `Recipe`.
        """

    def verdict_before(self, program: Program) -> tuple[TargetSupport, ...]:
        """Whether each of its converters takes a program, and which operators are in the way; nothing is converted."""
        from segexport.exporter.inspect import support_by

        found = [support_by(converter, program) for converter in self.converters]
        if len(found) == 1:
            return (found[0].model_copy(update={"target": self.name}),)
        return tuple(found)

    # -- reading it --------------------------------------------------------------------------------------------

    def verify(self, root: Path, manifest: Manifest) -> None:  # noqa: B027 - most formats need no more
        """Raises InputError where an artifact's files, whose digests are right, cannot be what they should be."""

    def adopt(self, file: Path, reference: ModelArtifact, store: Store) -> ModelArtifact:
        """A bare file of the format as an artifact; what the file does not contain is taken from the reference.

        Raises:
            InputError: It cannot be one.
        """
        from segexport.artifact import read_artifact

        return read_artifact(file.parent)

    # -- checking it -------------------------------------------------------------------------------------------

    def audit(
        self, artifact: ModelArtifact, inputs: Sequence[Sequence[np.ndarray]], options: RunOptions, runtime: Runtime
    ) -> Audit:
        """Which operators ran in which precision, as the runtime reports; nothing is known of a runtime that does not.

        Args:
            artifact: An export to this target.
            inputs: The tensors of some images, one at least.
            options: As in the check.
            runtime: Who runs it there.

        Raises:
            SegexportError: It could not be read back.
        """
        from segexport.exporter.targets.profile import profiled

        if not runtime.profiles:
            return not_audited(f"{runtime.title} does not report which operators ran in which precision")
        ran = profiled(artifact, inputs[0], options, runtime)
        asked, source = artifact.manifest.target.precision, f"{runtime.title}'s optimized graph"
        narrow = self.narrow(artifact, options)
        return Audit(ran, (precision_check(asked, ran, source, no_fp16=runtime.no_fp16(ran), narrow=narrow),))

    def narrow(self, artifact: ModelArtifact, options: RunOptions) -> Collection[str]:
        """Names of the operators whose weights an export holds in 4 bits; most targets have no such export."""
        return ()

    # -- diagnosing it -----------------------------------------------------------------------------------------

    def graph_probe(
        self,
        artifact: ModelArtifact,
        trace: Trace,
        tensors: Sequence[np.ndarray],
        source: Program,
        threads: int,
        timeout_s: float,
    ) -> Side:
        """The export, opened so that its tensors can be compared with the reference's, one by one.

        Args:
            artifact: An export to this target.
            trace: The reference's tensors on the same image.
            tensors: The image's tensors, as they are fed to both.
            source: The program that the export was made from.

        Raises:
            UnsupportedModelError: Exports to this target cannot be looked into.
            SegexportError: This one cannot be read.
        """
        raise UnsupportedModelError(
            f"{artifact.path}: {self.title} exports cannot be diagnosed",
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
        """The layers that a recipe's calibration may leave in float; None where it cannot choose among them.

        Args:
            fp32: The export in fp32.
            int8: Makes the one in int8, to time both; None: without times.
            tensors: One image's input.
        """
        return None
