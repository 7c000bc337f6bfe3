"""A check whose report is kept by the content of all that decides it, as the outputs of steps are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segexport import __version__
from segexport import report as reports
from segexport.artifact import ModelArtifact, digest_of
from segexport.check.compare import Export, check
from segexport.data.dataset import Dataset
from segexport.errors import InputError
from segexport.files.output_folder import copy_tree
from segexport.files.store import Store
from segexport.measure.environment import describe_machine
from segexport.recipe.schema import Recipe
from segexport.references.recorded_reference import Playback
from segexport.verdict import Verdict

if TYPE_CHECKING:
    from segexport.report.schema import Report
    from segexport.ui.console import Console


def kept_check(
    reference: ModelArtifact | Playback,
    subjects: list[Export],
    data: Dataset,
    folder: Path,
    recipe: Recipe,
    console: Console,
    store: Store,
) -> tuple[Report, bool]:
    """The check's report, and whether it was found in the store; its pictures are put into `folder`."""
    played = isinstance(reference, Playback)
    model = reference.artifact if played else reference
    key = digest_of(
        {
            "check": 4,
            "segexport": __version__,
            "reference": [model.manifest.name, model.digest, reference.recorded.digest if played else ""],
            "exports": [
                [s.name, s.artifact.digest if s.artifact else str(s.error), s.effective_limits.model_dump()]
                for s in subjects
            ],
            "data": data.fingerprint,
            "label_map": recipe.data.label_map,
            "options": recipe.check.model_dump(exclude={"baseline", "tolerances"}),
            "title": recipe.title,
            "machine": describe_machine(),
        }
    )
    found = store.find(key)
    if found is not None:
        try:
            known = reports.read(found)
            copy_tree(found, folder)
            return known, True
        except InputError:  # damaged since: checked again
            store.discard(key)
    result = check(
        reference,
        subjects,
        data,
        folder,
        recipe.check,
        title=recipe.title,
        label_map=recipe.data.label_map,
        progress=console.progress,
    )
    if result.verdict is not Verdict.ERROR:  # an error may be gone the next time

        def keep(place: Path) -> None:
            copy_tree(folder, place)
            (place / reports.REPORT_NAME).write_text(reports.render(result, "json"), encoding="utf-8")

        return reports.read(store.keep(key, keep)), False  # as the next run will read it, so that the forms are equal
    return result, False
