"""The interface of exports for a diagnosis, independent of the format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from segexport.diagnose.match import Match
from segexport.diagnose.schema import Difference, QuantizedTensor

if TYPE_CHECKING:
    import numpy as np

    from segexport.artifact import ModelArtifact
    from segexport.diagnose.trace import Trace
    from segexport.exporter.program import Program


@dataclass(frozen=True)
class LayerScript:
    """Code for a script that runs one saved layer.

    Attributes:
        title: The runtime's display name.
        module: The module that the script imports, for its list of requirements.
        code: The body of the script's `export()`: reads the arrays `load(name) for name in export_feeds` and the model
            `here / "export..."`, and returns the first output.
        made: Origin of the saved layer, if it was not cut out of the export.
    """

    title: str
    module: str
    code: str
    made: str = ""


@dataclass(frozen=True)
class Diagnosed:
    """An export, and the reference that its tensors are compared with.

    Attributes:
        trace: The reference's tensors on the same image.
        tensors: The image's input tensors, fed to both models.
        source: The program that the export was made from.
        threads: CPU threads of one inference.
        timeout_s: Longest duration of one call, in seconds.
    """

    artifact: ModelArtifact
    trace: Trace
    tensors: Sequence[np.ndarray]
    source: Program
    threads: int
    timeout_s: float


class Side(Protocol):
    """An export whose inner tensors can be read.

    Attributes:
        matches: Variable of the reference -> tensor of the export.
        notes: Tensors that could not be read, and why.
        runner: The script code for the files of `save`.
        graph: Name of the graph in the file; empty if the file names no operators.
    """

    matches: dict[str, Match]
    notes: list[str]
    runner: LayerScript
    graph: str

    def whole(self) -> dict[str, Difference]: ...
    def accumulated(self, variables: Sequence[str]) -> dict[str, Difference]: ...
    def local(self, variables: Sequence[str]) -> dict[str, Difference]: ...
    def operators(self, variable: str) -> tuple[str, ...]: ...
    def nodes(self, variable: str) -> tuple[str, ...]: ...
    def quantized(self, variable: str) -> QuantizedTensor | None: ...
    def alone(self, variable: str) -> Difference | None: ...
    def save(self, variable: str, folder: Path) -> tuple[str, list[str]]: ...
    def close(self) -> None: ...
