"""Runs the steps of a plan in the workers of an engine: chains in parallel, a step that several share once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from segexport.artifact import ModelArtifact, read_artifact, write_artifact
from segexport.engine.base import EngineTask, TaskEngine, TaskOutcome
from segexport.errors import ClusterError, MissingInputError, SegexportError
from segexport.files.store import Store
from segexport.pipeline.plan import CacheStats, Planned
from segexport.pipeline.step import StepContext, tool_versions
from segexport.progress import silent


@dataclass(frozen=True)
class Workshop:
    """What all steps of a run share."""

    source: ModelArtifact
    context: StepContext
    store: Store


def local_store(store: Store) -> Store:
    """The cache of a worker: the client's, if it is here, or one of its own before the same shared store."""
    return store if store.objects.parent.parent.is_dir() else Store(shared=store.shared)


def local_model(source: ModelArtifact, store: Store) -> ModelArtifact:
    """The model that the client has imported, in a worker."""
    return source if source.path.is_dir() else _found(store, source.path.name)


def require_tools(what: str, tools: Mapping[str, str]) -> None:
    """Raises ClusterError if the tools of steps have other versions in this worker than at the client."""
    if (here := tool_versions(tuple(tools))) != tools:
        differing = [f"{name} {here.get(name) or 'none'} there, {tools[name] or 'none'} here" for name in tools]
        raise ClusterError(
            f"{what}: other tools on a worker",
            cause="; ".join(differing),
            hint="install the same",
        )


@dataclass(frozen=True)
class MadeOutput:
    """A step's output in the cache."""

    key: str
    seconds: float


def make_output(
    workshop: Workshop, before: MadeOutput | None, planned: Planned, tools: Mapping[str, str]
) -> MadeOutput:
    """Runs a step in a worker, unless its output is there.

    Args:
        before: The output that it takes; None: the model.
        tools: Versions of the step's tools, which are part of its key.
    """
    store, start = local_store(workshop.store), time.monotonic()
    source = local_model(workshop.source, store) if before is None else _found(store, before.key)
    if store.find_artifact(planned.key) is None:
        require_tools(f"step {planned.step.kind!r}", tools)
        context = replace(workshop.context, key=planned.key, store=store)

        def work(folder: Path) -> None:
            write_artifact(folder, planned.step.run(source, folder, context))

        store.keep(planned.key, work)
    return MadeOutput(planned.key, time.monotonic() - start)


def build_on(
    engine: TaskEngine,
    store: Store,
    context: StepContext,
    source: ModelArtifact,
    chains: Mapping[str, tuple[Planned, ...]],
    say: Callable[[str], None],
) -> tuple[dict[str, ModelArtifact | SegexportError], CacheStats]:
    """Makes the end of every chain, or says why not; and what was made and found.

    Raises:
        SegexportError: The engine was lost, or its workers have another cache.
    """
    stats = CacheStats()
    bare = replace(context, progress=silent)
    workshop = Workshop(source, bare, store)
    tasks: dict[str, EngineTask] = {}
    ends: dict[str, EngineTask | ModelArtifact] = {}
    with engine.share(workshop) as shared:
        for name, chain in chains.items():
            current: EngineTask | ModelArtifact = source
            for planned in chain:
                known = tasks.get(planned.key)
                if known is None and isinstance(current, ModelArtifact):
                    found = store.find_artifact(planned.key)
                    if found is not None:
                        stats.found += 1
                        say(f"{name}: {planned.step.kind} found in the {store.origin(planned.key)}")
                        current = found
                        continue
                if known is None:
                    before = _output_of(current, source)
                    tools = tool_versions(planned.step.needs)
                    title = f"{name}: {planned.step.kind}"
                    known = EngineTask(make_output, (shared, before, planned, tools), title, key=f"step-{planned.key}")
                    tasks[planned.key] = known
                current = known
            ends[name] = current
        order = list(tasks.values())

        def done(index: int, outcome: TaskOutcome) -> None:
            if outcome.error is None:
                stats.made += 1
                say(f"{order[index].title} done in {outcome.value.seconds:.1f} s")

        outcomes = dict(zip(order, engine.run(order, done=done), strict=True))
    return {name: _end(store, end, outcomes) for name, end in ends.items()}, stats


def _output_of(current: EngineTask | ModelArtifact, source: ModelArtifact) -> EngineTask | MadeOutput | None:
    if isinstance(current, EngineTask):
        return current
    return None if current is source else MadeOutput(current.path.name, 0.0)


def _end(
    store: Store, end: EngineTask | ModelArtifact, outcomes: Mapping[EngineTask, TaskOutcome | None]
) -> ModelArtifact | SegexportError:
    if isinstance(end, ModelArtifact):
        return end
    outcome = outcomes[end]
    if outcome is None:
        return ClusterError(f"{end.title}: no result")
    if outcome.error is not None:
        return outcome.error
    return _found(store, outcome.value.key)


def _found(store: Store, key: str) -> ModelArtifact:
    artifact = store.find_artifact(key)
    if artifact is None:
        raise MissingInputError(
            f"{store.objects / key[:2] / key}: not in the cache",
            cause="it was made on another machine, which does not share its cache",
            hint="share the cache folder (SEGEXPORT_CACHE), or give --store URL",
        )
    return read_artifact(artifact.path, verify=False)
