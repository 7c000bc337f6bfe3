"""Pruning as a step of the pipe."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from segexport.artifact import Manifest, ModelArtifact, file_entry
from segexport.compress.prune import Pruned, prune, prune_to
from segexport.exporter import program
from segexport.spec import Format, Frozen
from segexport.step import StepContext, lineage_entry

_LISTED = 4  # names per reason in the notes; a hundred would bury the rest


class Prune:
    """Cuts whole channels out of a program and all that is tied to them. What it makes needs fine-tuning."""

    kind = "prune"
    version = "1"
    accepts = Format.PADDLE
    produces = Format.PADDLE
    needs = ("numpy",)
    uses_data = False

    class Params(Frozen):
        """`ratio`: the fraction of each group that goes; or `keep_macs`: the fraction of the cost that stays.

        Attributes:
            criterion: `l1` or `fpgm`, see `segexport.compress.prune.prune`.
            align: Channels that stay are a multiple of this.
        """

        ratio: float | None = Field(default=None, ge=0, lt=1)
        keep_macs: float | None = Field(default=None, gt=0, lt=1)
        criterion: str = Field(default="l1", pattern="^(l1|fpgm)$")
        align: int = Field(default=8, ge=1)

        @model_validator(mode="after")
        def _one_target(self) -> Prune.Params:
            if (self.ratio is None) == (self.keep_macs is None):
                raise ValueError("give `ratio` or `keep_macs`, one of them")
            return self

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.pdmodel` and `model.pdiparams`.

        Raises:
            InputError: The target cannot be reached.
            UnsupportedModelError: Height or width is free, so that cost has no number.
        """
        graph = program.read(source.file("model"), source.file("params"))
        options = {"criterion": self.params.criterion, "align": self.params.align}
        if self.params.ratio is not None:
            found = prune(graph, self.params.ratio, **options)
        else:
            found = prune_to(graph, self.params.keep_macs, **options)
        return paddle_manifest(source, out_dir, found.program, lineage_entry(self, context.key, notes(found)))


def paddle_manifest(source: ModelArtifact, out_dir: Path, changed: program.Program, lineage) -> Manifest:
    """Writes a program that takes and gives what `source` does, and describes it."""
    model, params = changed.write(out_dir)
    return source.manifest.model_copy(
        update={
            "files": (file_entry(out_dir, model.name), file_entry(out_dir, params.name, "params")),
            "inputs": tuple(changed.inputs()),
            "outputs": tuple(
                new.model_copy(update={"semantics": old.semantics})
                for new, old in zip(changed.outputs(), source.manifest.outputs, strict=True)
            ),
            "lineage": (*source.manifest.lineage, lineage),
            "sample": None,
        }
    )


def notes(pruned: Pruned) -> tuple[str, ...]:
    """What was cut and what could not be."""
    lines = [
        f"multiply-accumulates {pruned.macs_before:,} -> {pruned.macs_after:,} ({pruned.macs_cut_ratio:.1%} less)",
        f"parameters {pruned.parameters_before:,} -> {pruned.parameters_after:,}",
    ]
    for reason, names in pruned.frozen_because.items():
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        lines.append(f"not cut, {reason}: {', '.join(names[:_LISTED])}{more}")
    return tuple(lines)
