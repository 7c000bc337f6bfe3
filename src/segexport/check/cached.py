"""Caches a check's report by the digest of its inputs, like the outputs of steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segexport import __version__
from segexport import report as reports
from segexport.artifact import digest_of
from segexport.check.request import CheckRequest
from segexport.check.sharded import check_on
from segexport.engine.base import TaskEngine
from segexport.errors import InputError
from segexport.files.output_folder import copy_tree
from segexport.files.store import Store
from segexport.measure.environment import describe_machine
from segexport.measure.instructions import tools_here
from segexport.recipe.schema import CheckRecipe
from segexport.report.schema import Report
from segexport.verdict import Verdict


def cached_check(request: CheckRequest, store: Store, engine: TaskEngine | None = None) -> tuple[Report, bool]:
    """The check's report, and whether it was in the store; writes its pictures into the request's folder.

    Args:
        engine: Whose workers run the models; None: this process.
    """
    key = _key(request, [describe_machine()] if engine is None else engine.machines())
    found = store.find(key)
    if found is not None:
        try:
            known = reports.read(found)
            copy_tree(found, request.folder)
            return known, True
        except InputError:  # damaged: checked again
            store.discard(key)
    report = check_on(engine, request)
    if report.verdict is Verdict.ERROR:  # the error may be temporary
        return report, False

    def keep(place: Path) -> None:
        copy_tree(request.folder, place)
        (place / reports.REPORT_NAME).write_text(reports.render(report, "json"), encoding="utf-8")

    return reports.read(store.keep(key, keep)), False  # read back, so that this run and the next return equal reports


def _key(request: CheckRequest, machines: Sequence[dict[str, object]]) -> str:
    return digest_of(
        {
            "check": 8,
            "segexport": __version__,
            "reference": request.reference.identity,
            "exports": [
                [one.name, one.artifact.digest if one.artifact else str(one.error), one.effective_limits.model_dump()]
                for one in request.exports
            ],
            "data": request.data.fingerprint,
            "label_map": request.label_map,
            "options": _options(request.options),
            "title": request.title,
            "machine": machines[0] if len(machines) == 1 else list(machines),
        }
    )


def _options(options: CheckRecipe) -> dict[str, Any]:
    """The options that decide what a check measures."""
    counters = {"counters": tools_here()} if options.count else {}
    places = {"baseline", "reference"}  # the reference's content is in its identity
    return options.model_dump(exclude={"tolerances", *places}) | counters
