"""`segexport import`: converts an export of PaddleSeg or PaddleX, or a checkpoint, to a self-describing artifact."""

from __future__ import annotations

from pathlib import Path

from segexport.artifact import ModelArtifact
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.set_head import SetHead
from segexport.files.output_folder import place_artifact, require_free
from segexport.files.store import Store
from segexport.pipeline.plan import PlanRunner, planned
from segexport.pipeline.step import StepContext
from segexport.spec import HeadKind


def import_to(model: Path, output: Path, options: ImportOptions, head: HeadKind = "keep") -> ModelArtifact:
    """Imports a model into a new folder.

    Args:
        head: The network's output; see `exporter.set_head`.
    """
    require_free(output)
    store = Store()
    artifact = import_model(model, options, store)
    if head != "keep":
        chain = planned([SetHead(SetHead.Params(head=head))], artifact)
        artifact = PlanRunner(store, StepContext()).build(output.name, artifact, chain)
    return place_artifact(artifact, output)
