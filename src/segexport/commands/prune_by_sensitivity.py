"""Prunes an untrained network by the sensitivities of a trained one, as PaddleX does at the beginning of a training."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from segexport.artifact import ModelArtifact
from segexport.compress import sensitivity
from segexport.data.dataset import Dataset
from segexport.exporter import program
from segexport.files.store import Store
from segexport.pipeline.plan import PlanRunner, planned
from segexport.pipeline.registry import make_step
from segexport.pipeline.step import StepContext
from segexport.progress import Feedback


def pruned_by(
    file: Path, eval_metric_loss: float, untrained: ModelArtifact, data: Dataset, store: Store, feedback: Feedback
) -> ModelArtifact:
    """Removes the channels of each layer that cost at most `eval_metric_loss` of the metric, by the file.

    Nothing is measured on the untrained network: layers that the file does not name stay whole.

    Raises:
        InputError: The file is missing or damaged, or is of another network.
    """
    known = sensitivity.load(file)
    sensitivity.names_of(program.read(untrained.file("model"), untrained.file("params")), file, known)
    with tempfile.TemporaryDirectory(prefix="segexport-sensitivities-") as folder:
        copy = Path(folder) / file.name  # without the baseline, so that it is not extended
        copy.write_text(json.dumps(known))
        step = make_step("prune", {"sensitivities_file": str(copy), "eval_metric_loss": eval_metric_loss})
        context = StepContext(data=data, progress=feedback.progress, say=feedback.say)
        chain = planned([step], untrained, data.fingerprint)
        return PlanRunner(store, context, feedback.say).build(untrained.manifest.name, untrained, chain)
