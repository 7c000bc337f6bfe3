"""What an export target is: everything that segexport has to know of one kind of export, in one class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, get_args

from segexport.spec import Precision

if TYPE_CHECKING:
    import numpy as np

    from segexport.artifact import ModelArtifact
    from segexport.exporter.converters import Converter
    from segexport.exporter.inspect import TargetSupport
    from segexport.exporter.program import Program
    from segexport.exporter.targets.layers import Layers
    from segexport.pipeline.step import Step
    from segexport.recipe.export import ExportRecipe
    from segexport.spec import Format


class ExportTarget(ABC):
    """A kind of export. Recipes, the command line, `inspect`, `check` and all others learn of it from its class.

    It is found by its entry point in the group `segexport.targets`, whose name is its own. Its module is imported with
    the recipe's schema, so it imports what is heavy, and `recipe.schema` itself, inside its methods only.

    Attributes:
        name: In recipes (`to:`), on the command line (`--to`), in the default names of its exports.
        title: What people call it.
        format: Of the artifacts that its steps make.
        Recipe: What a recipe may say of such an export: `to`, a Literal of the name; the precisions; its own options.
        runtimes: Who runs it, by name; the first one does where nobody asks for another.
        toolchains: The environments that its tools live in, by name.
        converters: What reads the program on the way: decides which rewrites run before, and what `inspect` says.
        searched: The precisions that `compress` tries, fp32 first.
        searched_after: Further ones, each with the step of a recipe that it needs before.
        untimed: Why its times on this machine say nothing about the device that it is for; empty where they do.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    format: ClassVar[Format]
    Recipe: ClassVar[type[ExportRecipe]]
    runtimes: ClassVar[tuple[str, ...]]
    toolchains: ClassVar[tuple[str, ...]] = ()
    converters: ClassVar[tuple[Converter, ...]] = ()
    searched: ClassVar[tuple[Precision, ...]] = (Precision.FP32,)
    searched_after: ClassVar[Mapping[Precision, str]] = {}
    untimed: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        to = cls.Recipe.model_fields.get("to")
        if to is None or get_args(to.annotation) != (cls.name,):
            raise TypeError(f"{cls.__name__}.Recipe has to say `to: Literal[{cls.name!r}]`")

    # -- making it ---------------------------------------------------------------------------------------------

    @abstractmethod
    def steps(self, recipe: ExportRecipe) -> list[Step]:
        """The steps from a Paddle program, whose head is what the recipe wants already, to the export.

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
