"""Reads which operators of an export ran, on the first images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segexport import preprocess
from segexport.artifact import ModelArtifact
from segexport.check.request import CheckRequest
from segexport.errors import SegexportError
from segexport.exporter.paddle_audit import audit_program
from segexport.judge.results import Measured
from segexport.measure.audit import CHECK, Audit
from segexport.pipeline.registry import runtime_for, target_of
from segexport.references.live_model import LiveModel
from segexport.runtimes.base import RunOptions
from segexport.runtimes.watched import with_graph
from segexport.verdict import Check, Verdict

AUDITED_IMAGES = 4


def audit_export(request: CheckRequest, export: Measured, model: LiveModel, graph: str) -> None:
    """Adds the operators that ran, and the checks on them.

    Args:
        model: The export's model and its options.
        graph: The graph that is timed (`watched.timed_graph`).
    """
    data = request.all_data
    manifest = model.artifact.manifest
    images = (data.read(index).image for index in range(min(len(data), AUDITED_IMAGES)))
    inputs = [preprocess.feed(manifest.inputs, *preprocess.example(manifest.preprocess, image)) for image in images]
    options = with_graph(model.options, graph)
    export.operators, checks = audited(model.artifact, inputs, options)
    export.more += checks


def audit(artifact: ModelArtifact, inputs: Sequence[Sequence[np.ndarray]], options: RunOptions) -> Audit:
    """The operators that ran, from the export's target; for a Paddle program, from Paddle Inference.

    Args:
        inputs: The tensors of some images; an export needs at least one image.
        options: As in the check.

    Raises:
        SegexportError: The operators could not be read.
    """
    target = target_of(artifact.manifest.format)
    if target is None:
        return audit_program(artifact, options)
    runtime = runtime_for(artifact.manifest.format, options.device, options.runtime)
    return target.audit(artifact, inputs, options, runtime)


def audited(
    artifact: ModelArtifact, inputs: Sequence[Sequence[np.ndarray]], options: RunOptions
) -> tuple[dict[str, dict[str, int]], list[Check]]:
    """Returns precision -> operator -> count, and the checks; a failure becomes an ERROR."""
    try:
        found = audit(artifact, inputs, options)
        return found.operators, list(found.checks)
    except SegexportError as error:
        message = f"what ran could not be read back: {error.what}"
        return {}, [Check(name=CHECK, verdict=Verdict.ERROR, message=message)]
