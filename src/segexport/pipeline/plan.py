"""Plans and runs model → steps → exports → check → report: `plan` decides, `run` executes; each output is made once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segexport.artifact import ModelArtifact, digest_of, read_artifact, write_artifact
from segexport.errors import SegexportError
from segexport.files.store import Store
from segexport.pipeline.registry import make_step, target_named
from segexport.pipeline.step import Step, StepContext, check_chain, content_key
from segexport.progress import Progress, silent
from segexport.recipe.export import ExportRecipe, export_name
from segexport.recipe.schema import Recipe
from segexport.task.registry import require_feature

Say = Callable[[str], None]


@dataclass(frozen=True)
class Planned:
    """A step and the key of its stored output."""

    step: Step
    key: str


@dataclass(frozen=True)
class Plan:
    """Export's name -> its chain of steps. Chains share their common beginning."""

    chains: dict[str, tuple[Planned, ...]]


@dataclass
class CacheStats:
    """Number of outputs that were made in this run, and that existed already."""

    made: int = 0
    found: int = 0


def plan(recipe: Recipe, source: ModelArtifact, calibration_fingerprint: str) -> Plan:
    """Plans the chains without running them.

    Raises:
        InputError: A step does not exist, its parameters are invalid, or a step does not accept its input's format.
    """
    chains = {}
    for export in recipe.exports:
        shared = [make_step(entry.step, dict(entry.params)) for entry in recipe.steps_for(export)]
        if shared:
            require_feature(source, "steps", f"step {shared[0].kind!r}")
        chains[export_name(export)] = planned(
            [*shared, *steps_of(export)], source, calibration_fingerprint, recipe.seed
        )
    return Plan(chains)


def planned(
    steps: Sequence[Step], source: ModelArtifact, calibration_fingerprint: str = "", seed: int = 0
) -> tuple[Planned, ...]:
    """Plans one chain from `source`, each step with its key.

    Raises:
        InputError: A step does not accept the output of the step before it.
    """
    check_chain(list(steps), source.manifest.format)
    made_by = [entry.key for entry in source.manifest.lineage]
    key = digest_of([source.digest, source.manifest.name, made_by])  # the stored output contains name and lineage
    chain = []
    for step in steps:
        key = content_key(step, key, calibration_fingerprint, seed)
        chain.append(Planned(step, key))
    return tuple(chain)


def steps_of(export: ExportRecipe) -> list[Step]:
    """Lists the steps from the Paddle program to this export."""
    steps = target_named(export.to).steps(export)
    if export.head == "keep":
        return steps
    return [make_step("set_head", {"head": export.head, "dtype": export.mask_dtype}), *steps]


class PlanRunner:
    """Makes the outputs of a plan, or finds them in the store.

    Args:
        context: The context of all steps; its key is set for each step.
        say: Called with a line for each step that was run or found.
    """

    def __init__(self, store: Store, context: StepContext, say: Say = lambda _line: None) -> None:
        self._store, self._context, self._say = store, context, say
        self._failed: dict[str, SegexportError] = {}
        self.made = CacheStats()

    def build(self, name: str, source: ModelArtifact, chain: tuple[Planned, ...]) -> ModelArtifact:
        """Runs the chain from `source`; outputs of earlier chains are used again.

        Raises:
            SegexportError: A step failed; later exports with this step get the same error without another attempt.
        """
        artifact = source
        for planned in chain:
            artifact = self._one(name, artifact, planned)
        return artifact

    def _one(self, name: str, source: ModelArtifact, planned: Planned) -> ModelArtifact:
        if planned.key in self._failed:
            raise self._failed[planned.key]
        found = self._store.find_artifact(planned.key)
        if found is not None:
            self.made.found += 1
            self._say(f"{name}: {planned.step.kind} found in the {self._store.origin(planned.key)}")
            return found
        start = time.monotonic()
        context = replace(self._context, key=planned.key, store=self._store)

        def work(folder: Path) -> None:
            manifest = planned.step.run(source, folder, context)
            write_artifact(folder, manifest)

        try:
            path = self._store.keep(planned.key, work)
        except SegexportError as error:
            self._failed[planned.key] = error
            raise
        self.made.made += 1
        self._say(f"{name}: {planned.step.kind} done in {time.monotonic() - start:.1f} s")
        return read_artifact(path, verify=False)


def context_of(recipe: Recipe, data, progress: Progress = silent) -> StepContext:
    """The context that a recipe's steps share."""
    return StepContext(data=data, seed=recipe.seed, threads=recipe.check.threads, progress=progress)
