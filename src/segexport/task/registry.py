"""Looks up tasks by name."""

from __future__ import annotations

from typing import Any

from segexport.artifact import Manifest, ModelArtifact
from segexport.errors import UnsupportedModelError
from segexport.spec import TaskName
from segexport.task.base import Feature, Task
from segexport.task.instance.task import InstanceTask
from segexport.task.semantic.task import SemanticTask

TASKS: dict[TaskName, Task[Any]] = {"semantic": SemanticTask(), "instance": InstanceTask()}


def task_of(manifest: Manifest) -> Task[Any]:
    """Returns the task of a model."""
    return TASKS[manifest.task]


def require_feature(artifact: ModelArtifact, feature: Feature, who: str, *, hint: str = "") -> None:
    """Refuses a model whose task lacks a feature.

    Args:
        who: The unsupported operation, for the message.

    Raises:
        UnsupportedModelError: Its task does not have the feature.
    """
    task = task_of(artifact.manifest)
    if feature not in task.features:
        able = " or ".join(other.answer for other in TASKS.values() if feature in other.features)
        raise UnsupportedModelError(
            f"{artifact.path}: {who} takes models that give {able}, this one finds {task.answer}",
            cause="such models are exported, predicted with, evaluated, checked beside their original, and served",
            hint=hint,
        )
