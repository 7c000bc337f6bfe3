"""What a check is asked to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from segexport.data.dataset import Dataset
from segexport.judge.results import Export
from segexport.progress import Progress, silent
from segexport.recipe.schema import CheckRecipe
from segexport.references.base import Reference
from segexport.runtimes.base import Session
from segexport.verdict import Check

Probe = Callable[[Export, Session], list[Check]]
"""Asks an opened export something more; what it answers becomes part of the export's checks."""


@dataclass(frozen=True)
class CheckRequest:
    """Exports, what they are compared with, and on which images.

    Attributes:
        data: The images of this check.
        folder: Gets the pictures of the worst images, in `images/`.
        options: How the exports run, and for how long they are timed.
        label_map: Class of the model -> class of the data, by name.
        notes: Remarks for the report about how it was made.
        probes: More questions to every export.
        full_dataset: What `data` is a share of; pictures are numbered, and audits are made, as of all of it.
    """

    reference: Reference
    exports: tuple[Export, ...]
    data: Dataset
    folder: Path
    options: CheckRecipe
    title: str = ""
    label_map: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()
    probes: tuple[Probe, ...] = ()
    full_dataset: Dataset | None = None
    progress: Progress = silent

    def read_for_reference(self) -> CheckRequest:
        """The same request with its images decoded as the reference needs them."""
        contract = self.reference.artifact.manifest.preprocess
        whole = None if self.full_dataset is None else self.full_dataset.read_for(contract)
        return replace(self, data=self.data.read_for(contract), full_dataset=whole)

    @property
    def all_data(self) -> Dataset:
        """The data set that pictures are numbered by."""
        return self.full_dataset or self.data
