"""Lists the operators that ran, as the runtime reports after one run."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.measure.audit import Ran, precision_of
from segexport.runtimes.base import RunOptions, Runtime


def profiled(
    artifact: ModelArtifact, tensors: Sequence[np.ndarray], options: RunOptions, runtime: Runtime
) -> tuple[Ran, ...]:
    """Returns the operators of the runtime's optimized graph.

    Args:
        runtime: A runtime whose `profiles` is true.

    Raises:
        SegexportError: The export fails to run.
    """
    with tempfile.TemporaryDirectory() as folder:
        extra = {**options.options, "profile": str(Path(folder) / "profile")}
        with runtime.open(artifact, replace(options, options=extra)) as session:
            found = session.operators(tensors)
    return tuple(Ran(kind, precision_of(kind, dtype), provider, _plain(node)) for kind, dtype, provider, node in found)


def _plain(node: str) -> str:
    """A node's name without the suffix that ONNX Runtime's optimizer appends."""
    return re.sub(r"(_nchwc|_token_\d+)+$", "", node)
