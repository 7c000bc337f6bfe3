"""Builds a PaddleDetection network from a configuration and exports it as a program.

PaddleDetection runs in a separate process, in its toolchain's Python or from the user's checkout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segexport.exporter.paddleseg_network import PaddleSegNetwork
from segexport.exporter.program import Attr, Program
from segexport.importers.detection_config import DetectionConfig


class PaddleDetNetwork(PaddleSegNetwork):
    """A network described by a configuration of PaddleDetection; see the base class for arguments and errors."""

    title, module = "PaddleDetection", "ppdet"
    worker = Path(__file__).parent / "workers" / "paddledet_worker.py"
    _determining = ("architecture", "sections")
    config: DetectionConfig  # type: ignore[assignment]

    def __init__(self, config: DetectionConfig, checkout: Path | None = None) -> None:
        super().__init__(config, checkout)  # type: ignore[arg-type] - what differs is read by `_asked` alone

    def program(self, *arguments: Any, **options: Any) -> Program:
        return _in_one_dimension(super().program(*arguments, **options))

    def _asked(self) -> dict[str, Any]:
        return {"architecture": self.config.architecture, "sections": self.config.sections}


def _in_one_dimension(program: Program) -> Program:
    """Keeps the one dimension of elements that are sliced from a tensor, in place.

    The worker sets Paddle's flag for it, which is not part of the program: elsewhere the slice would have none.
    """
    for op in program.ops:
        whole = op.type in ("slice", "strided_slice") and program.shape(op.output("Out") or "") == (1,)
        if whole and len(op.attr("decrease_axis", [])) == len(program.shape(op.input("Input") or "")):
            op.attrs["decrease_axis"] = Attr("INTS", [])
    return program
