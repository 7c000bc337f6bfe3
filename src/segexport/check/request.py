"""The request of a check."""

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
"""Runs an additional test on an opened export; its results become checks of the export."""


@dataclass(frozen=True)
class CheckRequest:
    """Exports, their reference, and the images.

    Attributes:
        data: The images of this check.
        folder: Output folder; pictures are written into `images/`.
        options: Options of the runs and of timing.
        label_map: Class of the model -> class of the data, by name.
        notes: Notes for the report on how it was made.
        probes: Additional tests of every export.
        full_dataset: The whole data set of which `data` is a part; numbers of pictures and audits refer to it.
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
        """The same request with its images decoded in the reference's form."""
        contract = self.reference.artifact.manifest.preprocess
        whole = None if self.full_dataset is None else self.full_dataset.read_for(contract)
        return replace(self, data=self.data.read_for(contract), full_dataset=whole)

    @property
    def all_data(self) -> Dataset:
        """The data set whose indices number the pictures."""
        return self.full_dataset or self.data
