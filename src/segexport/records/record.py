"""What an experiment tracker keeps of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Record:
    """What is logged of a run.

    Attributes:
        name: Name of the run.
        params: What was asked and where: text by name.
        figures: Numbers by name, `onnx-int8/miou`.
        tables: Markdown by name.
        pictures: PNG or JPEG files by name.
        folder: Folder whose files are kept; None: none.
    """

    name: str
    params: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, Path] = field(default_factory=dict)
    folder: Path | None = None
