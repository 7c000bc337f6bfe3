"""Reads back what really ran in an export, on the first images."""

from __future__ import annotations

from segexport import preprocess
from segexport.check.request import CheckRequest
from segexport.check.sessions import RunningExport
from segexport.measure.audit import audited
from segexport.runtimes.watched import timed_graph, with_graph
from segexport.task.registry import task_of

_IMAGES = 4


def audit_export(request: CheckRequest, export: RunningExport) -> None:
    """Adds the operators that ran, and the checks on them."""
    data, model = request.all_data, export.model
    manifest = model.artifact.manifest
    images = (data.read(index).image for index in range(min(len(data), _IMAGES)))
    inputs = [preprocess.feed(manifest.inputs, *preprocess.apply(manifest.preprocess, image)) for image in images]
    options = with_graph(model.options, timed_graph(export.opened.session))
    export.operators, checks = audited(model.artifact, inputs, options, task_of(manifest).likeness)
    export.more += checks
