"""Opens the exports of a check, each in a separate process; one that cannot be opened keeps its error."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from segexport.check.request import CheckRequest
from segexport.errors import OptionError, capture_error
from segexport.judge.results import Export, Measured
from segexport.measure.parity import ModelUnderTest
from segexport.pipeline.entry_points import require_known
from segexport.pipeline.registry import runtimes
from segexport.recipe.schema import CheckRecipe
from segexport.references.base import Reference
from segexport.references.live_model import LiveModel
from segexport.runtimes.base import RunOptions
from segexport.runtimes.watched import proof_of, timed_graph, with_graph
from segexport.spec import Preprocess


@dataclass(kw_only=True)
class RunningExport(Measured):
    """An export whose model was opened.

    Attributes:
        model: The model and its options.
        opened: The opened session.
    """

    model: LiveModel
    opened: ModelUnderTest

    @property
    def graph(self) -> str:
        """The graph to time (`watched.timed_graph`)."""
        return timed_graph(proof_of(self.opened.session))


@dataclass(frozen=True)
class OpenModels:
    """The opened models of a check.

    Attributes:
        reference: The reference, with the preprocessing of the comparison.
        exports: A `RunningExport` for each row, or why it could not be opened.
        contract: The exports' preprocessing, if the reference takes it for its own.
    """

    reference: ModelUnderTest
    exports: tuple[Measured, ...]
    contract: Preprocess | None

    @property
    def running(self) -> list[RunningExport]:
        return [export for export in self.exports if isinstance(export, RunningExport)]

    def fresh(self) -> OpenModels:
        """The same sessions without measurements."""
        exports = (
            RunningExport(one.export, model=one.model, opened=one.opened) if isinstance(one, RunningExport) else one
            for one in self.exports
        )
        return replace(self, exports=tuple(exports))


def open_models(request: CheckRequest, rows: Sequence[Export], stack: ExitStack) -> OpenModels:
    """Opens reference and exports until `stack` closes.

    Raises:
        SegexportError: The reference cannot be run; an export keeps its error.
    """
    own = open_model(request.reference, stack)
    exports = open_exports(rows, request.options, stack)
    artifacts = [export.model.artifact for export in exports if isinstance(export, RunningExport)]
    contract = request.reference.shared_preprocess(artifacts)
    return OpenModels(replace(own, preprocess=contract or own.preprocess), tuple(exports), contract)


def open_model(model: LiveModel | Reference, stack: ExitStack) -> ModelUnderTest:
    """Opens a model until `stack` closes; raises SegexportError if it cannot be run."""
    opened = model.open()
    stack.callback(opened.session.close)
    return opened


def require_runtimes(wanted: Sequence[str], exports: Sequence[Export]) -> None:
    """Raises InputError for an unknown runtime, and for one that runs none of the exports."""
    for name in wanted:
        require_known("runtime", name, runtimes())
        runs = runtimes()[name].runs
        if not any(export.format in runs for export in exports):
            formats = ", ".join(sorted({export.format for export in exports}))
            raise OptionError(f"runtime {name!r} runs {', '.join(runs)}, and the exports are {formats}")


def in_each_runtime(exports: Sequence[Export], wanted: Sequence[str]) -> tuple[Export, ...]:
    """The exports, one per requested runtime, named `name@runtime` if there are several.

    An export that no requested runtime supports is run by its format's first runtime.

    Raises:
        InputError: As `require_runtimes`.
    """
    require_runtimes(wanted, exports)
    rows: list[Export] = []
    for export in exports:
        found = [name for name in dict.fromkeys(wanted) if export.format in runtimes()[name].runs]
        if len(found) > 1:
            rows += [replace(export, name=f"{export.name}@{name}", runtime=name) for name in found]
        else:
            rows.append(replace(export, runtime="".join(found)))
    return tuple(rows)


def open_exports(exports: Sequence[Export], options: CheckRecipe, stack: ExitStack) -> list[Measured]:
    """Opens all exports; those that fail keep their error."""
    return [_opened(export, run_options(options), stack) for export in exports]


def _opened(export: Export, options: RunOptions, stack: ExitStack) -> Measured:
    failed = Measured(export, error=export.error)
    if export.artifact is not None and export.error is None:
        with capture_error(failed):
            model = LiveModel(export.name, export.artifact, replace(options, runtime=export.runtime))
            return RunningExport(export, model=model, opened=open_model(model, stack))
    return failed


def run_options(options: CheckRecipe) -> RunOptions:
    """The options of the runs of a check's exports.

    For timing, Paddle programs are watched: the optimized program is timed if it gives the plain program's masks.
    """
    found = RunOptions(options.device, options.threads, options.timeout_s)
    return with_graph(found, "watched" if options.timing_seconds else "plain")
