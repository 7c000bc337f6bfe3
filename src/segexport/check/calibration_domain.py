"""Checks whether an export was calibrated on images like those of the check."""

from __future__ import annotations

from segexport import preprocess
from segexport.data.dataset import Dataset
from segexport.judge.results import Export
from segexport.measure.image_statistics import LIMIT, furthest, statistics_of
from segexport.runtimes.base import Session
from segexport.spec import ImageStatistics
from segexport.verdict import Check, Verdict

CHECK = "calibration.images"
COMPARED_IMAGES = 32  # of the check; their means are known to a fifth of a standard deviation


class CalibrationDomain:
    """A probe of the check; it reports and does not decide.

    Args:
        data: The images of the check.
    """

    def __init__(self, data: Dataset) -> None:
        self._data = data
        self._seen: dict[str, ImageStatistics] = {}  # preprocessing -> statistics of the check's images

    def __call__(self, export: Export, _session: Session) -> list[Check]:
        return self.checks(export)

    def checks(self, export: Export) -> list[Check]:
        """Compares the statistics in the lineage with the check's; no check for exports without calibration."""
        manifest = export.artifact.manifest if export.artifact is not None else None
        known = [entry.calibrated_on for entry in manifest.lineage if entry.calibrated_on] if manifest else []
        if manifest is None or not known:
            return []
        found = furthest(known[-1], self._statistics(manifest))
        if found is None:
            return []
        name, distance = found
        details = {"statistic": name, "distance": round(distance, 3), "limit": LIMIT}
        if distance <= LIMIT:
            message = f"calibrated on images like those of the check: {name} differs most, by {distance:.1f} standard"
            return [
                Check(name=CHECK, verdict=Verdict.PASS, message=f"{message} deviations.", gated=False, details=details)
            ]
        message = (
            f"calibrated on other images than those of the check: {name} differs by {distance:.1f} standard deviations "
            f"between images (limit {LIMIT}); calibrate on images of the kind that the model will see."
        )
        return [Check(name=CHECK, verdict=Verdict.FAIL, message=message, gated=False, details=details)]

    def _statistics(self, manifest) -> ImageStatistics:
        key = manifest.preprocess.model_dump_json()
        if key not in self._seen:
            chosen = self._data.read_for(manifest.preprocess).subset(min(COMPARED_IMAGES, len(self._data)))
            contract = manifest.preprocess.of_a_tile
            self._seen[key] = statistics_of(preprocess.example(contract, sample.image)[0] for sample in chosen)
        return self._seen[key]
