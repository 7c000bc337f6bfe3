"""What a diagnosis asks of an export, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from segexport.diagnose.match import Match
from segexport.diagnose.schema import Difference, Quantized


class Side(Protocol):
    """An export that can be looked into.

    Attributes:
        matches: Variable of the reference -> tensor of the export.
        notes: What could not be looked at, and why.
    """

    matches: dict[str, Match]
    notes: list[str]

    def whole(self) -> dict[str, Difference]: ...
    def accumulated(self, variables: Sequence[str]) -> dict[str, Difference]: ...
    def local(self, variables: Sequence[str]) -> dict[str, Difference]: ...
    def operators(self, variable: str) -> tuple[str, ...]: ...
    def quantized(self, variable: str) -> Quantized | None: ...
    def alone(self, variable: str) -> Difference | None: ...
    def save(self, variable: str, folder: Path) -> tuple[str, list[str]]: ...
    def close(self) -> None: ...
