"""The Step protocol: compressors and exporters make one artifact from another."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from segexport.artifact import LineageEntry, Manifest, ModelArtifact, digest_of
from segexport.errors import EnvironmentMissingError, RecipeError
from segexport.process import pythons
from segexport.process.interpreter import interpreter_for
from segexport.progress import Progress, silent
from segexport.spec import Format, Frozen, ImageStatistics

if TYPE_CHECKING:
    from segexport.data.dataset import Dataset
    from segexport.files.store import Store


@dataclass(frozen=True)
class StepContext:
    """The inputs of a step besides its source and its parameters.

    Attributes:
        key: The content key of this run of the step; the lineage records it.
        data: Images for steps that calibrate or train; None if the recipe has none.
        seed: Seed of all random numbers in a step.
        threads: Threads for native code.
        timeout_s: Longest wait for one native conversion.
        store: Where a step keeps what other runs with other parameters can use too; None: nowhere.
        validation: Labelled images for evaluation during training; None: no evaluation.
        say: Called with a line of progress during a long step.
    """

    key: str = ""
    data: Dataset | None = None
    seed: int = 0
    threads: int = 1
    timeout_s: float = 1800.0
    progress: Progress = field(default=silent, compare=False)
    store: Store | None = field(default=None, compare=False)
    validation: Dataset | None = None
    say: Callable[[str], None] = field(default=lambda _line: None, compare=False)

    def images(self, who: str) -> Dataset:
        """The images, for a step that requires them.

        Raises:
            InputError: The recipe has none.
        """
        if self.data is None:
            raise RecipeError(
                f"{who} needs images, and none are given",
                hint="name them: `data:` in the recipe, or --calibration DIR",
            )
        return self.data


class Step(Protocol):
    """Makes an artifact from another one. Writes into `out_dir` only; never prints, never exits.

    Attributes:
        kind: Name in recipes and lineage.
        version: Increased when the same parameters give other bytes.
        accepts, produces: Formats of input and output; a chain is checked before anything runs.
        needs: Modules whose versions affect the bytes.
        uses_data: Whether the bytes depend on `context.data`.
    """

    @property
    def kind(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def accepts(self) -> Format: ...
    @property
    def produces(self) -> Format: ...
    @property
    def needs(self) -> tuple[str, ...]: ...
    @property
    def params(self) -> Frozen: ...

    @property
    def uses_data(self) -> bool: ...
    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest: ...


def content_key(step: Step, source_key: str, data_fingerprint: str, seed: int) -> str:
    """sha256 of everything that affects the step's bytes: step, parameters, source, data and versions of tools."""
    return digest_of(
        {
            "step": [step.kind, step.version],
            "params": key_params(step),
            "source": source_key,
            "data": data_fingerprint if step.uses_data else "",
            "seed": seed,
            "tools": tool_versions(step.needs),
        }
    )


def key_params(step: Step) -> dict:
    """The parameters; a step may replace paths by the files' contents (`key_params`)."""
    own = getattr(step, "key_params", None)
    return step.params.model_dump(mode="json") if own is None else own()


def tool_versions(modules: tuple[str, ...]) -> dict[str, str]:
    """Module -> version of its distribution, in the interpreter that would run it; empty if it is missing."""
    return {module: _version(module) for module in modules}


@functools.cache
def _version(module: str) -> str:
    try:
        return pythons.versions(interpreter_for(module), module)[module]
    except EnvironmentMissingError:
        return ""


def lineage_entry(
    step: Step, key: str, notes: tuple[str, ...] = (), calibrated_on: ImageStatistics | None = None
) -> LineageEntry:
    """The lineage entry of `step` for the manifest of its output."""
    return LineageEntry(
        step=step.kind,
        version=step.version,
        params=key_params(step),
        key=key,
        tools=tool_versions(step.needs),
        notes=notes,
        calibrated_on=calibrated_on,
    )


def check_chain(steps: list[Step], start: Format) -> None:
    """Raises InputError if a step does not accept the output of the step before it."""
    current, before = start, "the model"
    for step in steps:
        if step.accepts != current:
            raise RecipeError(
                f"step {step.kind!r} takes {step.accepts}, but {before} gives {current}",
                hint="exports come last, each one from the Paddle program",
            )
        current, before = step.produces, f"step {step.kind!r}"
