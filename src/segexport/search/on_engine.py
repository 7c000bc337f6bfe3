"""A search on an engine: the candidates of a stage are made and counted in parallel, then timed, each alone.

They are recorded in their order, so the search decides as in one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from segexport.check.tasks import require_paths
from segexport.engine.base import EngineTask, Shared, TaskEngine, TaskOutcome
from segexport.errors import Interrupted, KilledWorkers, WorkerFailed
from segexport.pipeline.on_engine import local_model, local_store, require_tools
from segexport.pipeline.step import tool_versions
from segexport.process.stopping import until_stopped
from segexport.progress import silent
from segexport.search.candidate import Attempt, Candidate, Fidelity, Trial
from segexport.search.evaluate import Evaluator, Workbench
from segexport.search.loop import Record
from segexport.search.search_space_builder import look_at
from segexport.search.space import Space


@dataclass(frozen=True)
class SearchSetting:
    """What all tasks of a search share.

    Attributes:
        bench: The client's.
        paths: Files and folders that every worker has to have.
    """

    bench: Workbench
    paths: tuple[Path, ...]

    def local_bench(self) -> Workbench:
        """The bench of a worker; its work ends with its task."""
        require_paths(self.paths)
        store = local_store(self.bench.store)
        source = local_model(self.bench.source, store)
        return replace(self.bench, store=store, source=source, progress=until_stopped)


@dataclass(frozen=True)
class AttemptOrder:
    """An attempt, and what its worker has to know besides.

    Attributes:
        rival: The candidate with the key `attempt.against`, if any.
        tools: Versions of the tools that make the candidate; they are part of its keys.
    """

    attempt: Attempt
    baseline: Candidate
    rival: Candidate | None
    tools: Mapping[str, str]


def count(setting: SearchSetting, order: AttemptOrder) -> Trial:
    """Makes a candidate and counts it, in a worker."""
    return _evaluator(setting, order).counted(order.attempt)


def take_times(setting: SearchSetting, order: AttemptOrder) -> Trial:
    """Times a candidate that was counted, in a worker."""
    return _evaluator(setting, order).timed(order.attempt)


def survey_model(setting: SearchSetting, to: str, teacher: str, train: bool) -> Space:
    """`search_space_builder.look_at` in a worker; it times the layers."""
    return look_at(setting.local_bench(), to, teacher, train)


def _evaluator(setting: SearchSetting, order: AttemptOrder) -> Evaluator:
    require_tools(order.attempt.idea, order.tools)
    evaluator = Evaluator(setting.local_bench(), order.baseline)
    if order.rival is not None:
        evaluator.know(order.rival)
    return evaluator


@contextmanager
def searching(engine: TaskEngine, bench: Workbench, model: Path) -> Iterator[SearchOnEngine]:
    """A block in which the workers of an engine search.

    Args:
        model: The original, which the workers' trainings read.
    """
    folders = (bench.images.root, *(() if bench.learning is None else (bench.learning.root,)))
    setting = SearchSetting(replace(bench, progress=silent), (*folders, model))
    with engine.share(setting) as shared:
        yield SearchOnEngine(engine, bench, shared)


class SearchOnEngine:
    """The parts of a search that its workers do.

    Args:
        shared: The `SearchSetting`.
    """

    def __init__(self, engine: TaskEngine, bench: Workbench, shared: Shared) -> None:
        self._engine, self._bench, self._shared = engine, bench, shared
        self._candidates: dict[str, Candidate] = {}

    def know(self, candidate: Candidate) -> None:
        """Registers a candidate that later attempts may be timed against."""
        self._candidates[candidate.key] = candidate

    def look(self, _bench: Workbench, to: str, teacher: str, train: bool) -> Space:
        """As `search_space_builder.look_at`."""
        given = (self._shared, to, teacher, train)
        (outcome,) = self._engine.run([EngineTask(survey_model, given, "a look at the layers", alone=True)])
        if outcome is None:
            raise WorkerFailed("the look at the layers has no result")
        return outcome.get()

    def evaluate(self, baseline: Candidate, attempts: Sequence[Attempt], record: Record) -> None:
        """Measures the attempts of a stage; records them in their order.

        Raises:
            SegexportError: The engine or its workers cannot be used, or `record` raises it.
        """
        for attempt in attempts:
            self.know(attempt.candidate)
        orders = [self._order(baseline, attempt) for attempt in attempts]
        in_order = _InOrder(attempts, record)
        counted: dict[int, Trial] = {}

        def keep(index: int, found: Trial | Interrupted) -> None:
            if attempts[index].timed and isinstance(found, Trial) and found.error is None:
                counted[index] = found
            else:
                in_order.put(index, found)

        def add(index: int, found: Trial | Interrupted) -> None:
            in_order.put(index, _joined(counted[index], found) if isinstance(found, Trial) else found)

        with self._engine.counting():
            for indices in self._rounds(attempts):
                self._run(count, {index: orders[index] for index in indices}, keep)
        self._run(take_times, {index: orders[index] for index in sorted(counted)}, add, alone=True)

    def _rounds(self, attempts: Sequence[Attempt]) -> list[list[int]]:
        """Indices of the attempts; first those that run the original on new images, whose results the others find."""
        rungs: list[Fidelity] = [attempt.rung for attempt in attempts]
        first = sorted(rungs.index(rung) for rung in set(rungs) if not self._bench.remembers(rung))
        return [first, [index for index in range(len(attempts)) if index not in first]]

    def _order(self, baseline: Candidate, attempt: Attempt) -> AttemptOrder:
        needs = (name for planned in self._bench.chain(attempt.candidate) for name in planned.step.needs)
        tools = tool_versions(tuple(dict.fromkeys(needs)))
        return AttemptOrder(attempt, baseline, self._candidates.get(attempt.against), tools)

    def _run(
        self,
        function: Callable[[SearchSetting, AttemptOrder], Trial],
        orders: Mapping[int, AttemptOrder],
        done: Callable[[int, Trial | Interrupted], None],
        *,
        alone: bool = False,
    ) -> None:
        indices = list(orders)
        tasks = [EngineTask(function, (self._shared, one), one.attempt.idea, alone=alone) for one in orders.values()]
        if tasks:
            self._engine.run(
                tasks, done=lambda place, outcome: done(indices[place], _found(orders[indices[place]].attempt, outcome))
            )


class _InOrder:
    """Records results in the order of their attempts, as soon as those before them are there."""

    def __init__(self, attempts: Sequence[Attempt], record: Record) -> None:
        self._attempts, self._record = attempts, record
        self._waiting: dict[int, Trial | Interrupted] = {}
        self._next = 0

    def put(self, index: int, found: Trial | Interrupted) -> None:
        self._waiting[index] = found
        while self._next in self._waiting:
            self._next += 1
            self._record(self._attempts[self._next - 1], self._waiting.pop(self._next - 1))


def _found(attempt: Attempt, outcome: TaskOutcome) -> Trial | Interrupted:
    """What a task tells of its attempt; raises what is no result."""
    if isinstance(outcome.error, Interrupted):
        return outcome.error
    if isinstance(outcome.error, KilledWorkers):
        return Trial(attempt=attempt, error=str(outcome.error))
    return outcome.get()


def _joined(counted: Trial, timed: Trial) -> Trial:
    """The trial of a candidate that was counted and timed by different tasks."""
    seconds = round(counted.seconds + timed.seconds, 2)
    if timed.error is not None:
        return timed.model_copy(update={"seconds": seconds})
    times = {name: getattr(timed, name) for name in timed.model_fields_set}
    return counted.model_copy(update=times | {"seconds": seconds})
