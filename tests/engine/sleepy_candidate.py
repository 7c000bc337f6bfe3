"""A candidate for a process that imports the recipes before it finds the target `sleepy`."""

from __future__ import annotations

from sleepy import SleepyExport

from segexport.search.candidate import Candidate


class SleepyCandidate(Candidate):
    export: SleepyExport  # pyright: ignore[reportIncompatibleVariableOverride]
