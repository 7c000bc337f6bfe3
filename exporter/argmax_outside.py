"""Removes the last argmax of a program, for runtimes without one: masks are then computed from the scores."""

from __future__ import annotations

from pathlib import Path

from segexport.artifact import Manifest, ModelArtifact
from segexport.errors import UnsupportedModelError
from segexport.exporter import program as programs
from segexport.exporter.mask_output import mask_of
from segexport.exporter.program import Program
from segexport.exporter.set_head import SetHead, set_head
from segexport.pipeline.step import StepContext
from segexport.spec import Format, Frozen


class ArgmaxOutside:
    """Sets the head `logits` for an output of class indices; keeps any other program."""

    kind = "argmax_outside"
    version = "1"
    accepts = Format.PADDLE
    produces = Format.PADDLE
    needs = ()
    uses_data = False

    class Params(Frozen):
        """No parameters."""

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or self.Params()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.pdmodel` and `model.pdiparams`; the lineage records the new head."""
        original = programs.read(source.file("model"), source.file("params"))
        is_taken_out = scores_of(original, mask_of(source.manifest.outputs)) is not original
        return SetHead(SetHead.Params(head="logits" if is_taken_out else "keep")).run(source, out_dir, context)


def scores_of(program: Program, output: str = "") -> Program:
    """Returns the program with scores instead of class indices, or unchanged if it does not end with an argmax.

    Args:
        output: The segmentation output; default: the first one.
    """
    if not any(op.type == "arg_max" for op in program.all_ops()):
        return program
    try:
        changed, _ = set_head(program, "logits", output=output)
    except UnsupportedModelError:
        return program
    return changed if len(list(changed.all_ops())) < len(list(program.all_ops())) else program
