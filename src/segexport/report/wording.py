"""Writes the sentences of a report: headline, description of the comparison, and issues."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from segexport.judge.gates import INDEPENDENT, unseen_share
from segexport.recipe.groups import AUTO, COLUMN
from segexport.report.places import Places
from segexport.report.schema import NOT_RUN_HERE, DatasetInfo, ExportResult, ReferenceResult, Report
from segexport.report.table import baseline_marks
from segexport.task.registry import TASKS
from segexport.verdict import Verdict

MEANING = {
    Verdict.PASS: "every gated check passed",
    Verdict.FAIL: "a gated check failed",
    Verdict.INCONCLUSIVE: "the images or the timings are too few to decide",
    Verdict.ERROR: "the export could not be made, run or checked",
    Verdict.SKIPPED: "not asked for",
}

_BAD = (Verdict.ERROR, Verdict.FAIL, Verdict.INCONCLUSIVE)
_NAMES_SHOWN, _NAME_LENGTH = 3, 36


@dataclass(frozen=True)
class Issue:
    """A reason why an export did not pass. `check` is empty if it concerns the export as a whole."""

    export: str
    check: str
    verdict: Verdict
    message: str
    gated: bool = True


def headline(report: Report) -> str:
    """Returns up to three sentences for readers without knowledge of the project."""
    marked = [export.name for export in report.exports if export.not_run]
    return _judged(report) + (f" {NOT_RUN_HERE.capitalize()}: {_listed(marked)}." if marked else "")


def not_run(report: Report) -> list[str]:
    """Returns a line for each export whose own file or arithmetic did not run."""
    return [f"{export.name}: {export.not_run}" for export in report.exports if export.not_run]


def _judged(report: Report) -> str:
    exports = report.exports
    if not exports:
        return "Nothing was checked: there is no export in this report."
    if all(export.verdict is Verdict.PASS for export in exports) and report.verdict is Verdict.PASS:
        subject = "The export does" if len(exports) == 1 else f"All {len(exports)} exports do"
        held = f"every gated check passed{_if_independent(exports)}"
        if report.dataset.labelled:
            return f"{subject} what the reference model does: {held}."
        subject = "The export agrees" if len(exports) == 1 else f"All {len(exports)} exports agree"
        answers = TASKS[report.task].words.answers
        return f"{subject} with the reference's {answers}: {held}. Without labels, accuracy is unknown."
    parts = [
        _part(exports, Verdict.FAIL, "failed a check"),
        _part(exports, Verdict.ERROR, "could not be checked"),
        _part(exports, Verdict.INCONCLUSIVE, "could not be decided with this many images or timings"),
        _part(exports, Verdict.PASS, "passed"),
        _part(exports, Verdict.SKIPPED, "skipped"),
    ]
    of = f"Of {len(exports)} exports, " if len(exports) > 1 else "Of 1 export, "
    return of + ", ".join(part for part in parts if part) + "."


def _if_independent(exports: tuple[ExportResult, ...]) -> str:
    checks = (check for export in exports for check in export.checks if check.name == INDEPENDENT)
    alarm = any(check.verdict is Verdict.INCONCLUSIVE for check in checks)
    return ", as far as the images are independent of each other, which they do not seem to be" if alarm else ""


def findings(export: ExportResult) -> tuple[Issue, ...]:
    """Returns errors, then failures, then undecided checks; gated ones before report-only ones.

    An export that did not pass has at least one gated finding, so that no form can look better than the verdict.
    """
    told = export.error.splitlines()[:1] if export.error else []  # the error has more detail than its check
    found = [
        Issue(export.name, check.name, check.verdict, check.message, check.gated)
        for check in export.checks
        if check.verdict in _BAD and (check.message == export.error or check.message not in told)
    ]
    gated = {finding.verdict for finding in found if finding.gated}
    if export.error is not None and all(check.message != export.error for check in export.checks):
        found.append(Issue(export.name, "", Verdict.ERROR, export.error))
    elif export.verdict in _BAD and export.verdict not in gated:
        asked = any(check.verdict is not Verdict.SKIPPED for check in export.checks)
        found.append(
            Issue(export.name, "", export.verdict, "no check has a reason" if asked else "nothing was checked")
        )
    return tuple(sorted(found, key=lambda finding: (not finding.gated, _BAD.index(finding.verdict))))


def findings_title(found: Sequence[Issue]) -> str:
    """Returns the title of a list of findings: a list without a gated one names nothing that did not pass."""
    return "What did not pass" if any(finding.gated for finding in found) else "Remarks"


def compared(report: Report) -> str:
    """Returns a paragraph on the images, the reference and the ground truth of each figure."""
    data, reference, words = report.dataset, report.reference, TASKS[report.task].words
    sentences = [
        f"Each export ran on {_images(data)}, and {words.compared} that the reference gave for the same images.",
        f"The reference is {_described(reference)}.",
        recorded(report),
        words.truth(labelled=data.labelled),
        report.metric.rstrip(". ") + ".",
        _grouped(data),
        _unseen(data),
        _renamed(data),
        _times(report),
        unoptimized(report),
        _baseline(report),
    ]
    return " ".join(sentence for sentence in sentences if sentence.strip(". "))


def recorded(report: Report) -> str:
    """Returns the origin of recorded masks; empty if the reference ran in this check. All forms show it."""
    reference, record = report.reference, report.reference.recorded
    if record is None:
        return ""
    driver = f", driver {record.driver}" if record.driver else ""
    on_cpu = f"the CPU ({reference.device}), as a substitute for a GPU"
    where = reference.device + driver if reference.is_gpu else on_cpu
    noise = ""
    if record.noise_pixels is not None:
        noise = "; a second run gave the same masks"
        if record.noise_pixels:
            noise = f"; a second run differed from it on {record.noise_pixels} pixels"
    return f"The reference's masks are those of a {record.kind} made on {where}, {record.created[:10]}{noise}."


def where_to_look(report: Report, places: Places) -> str:
    """Explains how to find the layer that broke an export with disagreeing masks; empty if there is none.

    Known `places` are written as shell-quoted paths.
    """
    for export in report.exports:
        failed = [check for check in export.checks if check.gated and check.verdict is Verdict.FAIL]
        if export.worst_images and any(check.name.startswith("agreement.") for check in failed):
            name = export.worst_images[0].image
            image = name if places.data is None else places.data / name
            words = [places.exports.get(export.name, export.name), "--reference", places.reference or "MODEL"]
            words += [] if places.config is None else ["--config", places.config]
            command = shlex.join(map(str, [*words, "--image", image]))
            return f"the layer behind it: segexport diagnose {command}"
    return ""


def ratios(report: Report) -> str:
    """Explains the denominators of the latency ratios, with their marks in the table; empty without ratios."""
    marks = baseline_marks(report)
    return ", ".join(f"{mark}: to {name}" if mark else f"to {name}" for name, mark in marks.items())


def unoptimized(report: Report) -> str:
    """Says that the reference's time is no baseline because its runtime could not optimize it; empty otherwise."""
    reference = report.reference
    timed = reference.latency is not None or reference.gpu_latency is not None
    if not timed or reference.proof is None or reference.proof.holds:
        return ""
    return "The reference had to run without graph optimization, so no latency ratio is taken to it."


def _baseline(report: Report) -> str:
    base = report.baseline
    if base is None:
        return ""
    changed = f"Changed since then: {'; '.join(base.changed)}." if base.changed else "Nothing that is named changed."
    return f"It was compared with the report “{base.title}” of {base.created[:10]}. {changed}"


def _part(exports: tuple[ExportResult, ...], verdict: Verdict, phrase: str) -> str:
    names = [export.name for export in exports if export.verdict is verdict]
    if not names:
        return ""
    if verdict in (Verdict.PASS, Verdict.SKIPPED):
        return f"{len(names)} {phrase}"
    return f"{len(names)} {phrase} ({_listed(names)})"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(map(_shortened, names[:_NAMES_SHOWN])) + more


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH // 2]}…{name[1 - _NAME_LENGTH // 2 :]}"


def _images(data: DatasetInfo) -> str:
    count = "1 image" if data.images == 1 else f"the {data.images} images"
    split = f" of the split “{data.split}”" if data.split else ""
    return f"{count}{split} of {data.path}"


def _described(reference: ReferenceResult) -> str:
    how = ", ".join(part for part in (reference.provider, reference.device) if part)
    return f"“{reference.name}”, run by {reference.runtime}" + (f" ({how})" if how else "")


def _unseen(data: DatasetInfo) -> str:
    units, what = (data.images, "images") if data.groups is None else (data.groups.count, "groups")
    if units < 2:
        return ""
    share = 100 * unseen_share(units)
    return f"A fault that affects fewer than {share:.1f} % of such {what} can be missed by a check of this size."


def _grouped(data: DatasetInfo) -> str:
    groups = data.groups
    if groups is None:
        return ""
    how = {AUTO: "by file names that count up", COLUMN: "by the last column of the list"}
    told = how.get(groups.how, f"by the pattern {groups.how} on file names")
    sizes = f"{groups.smallest}" if groups.smallest == groups.largest else f"{groups.smallest} to {groups.largest}"
    if groups.count == 1:
        return f"All images are of one group, {told}: how much groups differ is not known, so there are no intervals."
    return (
        f"The images form {groups.count} groups of {sizes}, {told}. Images of a group are not independent, so "
        "intervals come from resampling whole groups."
    )


def _renamed(data: DatasetInfo) -> str:
    if not data.label_map:
        return ""
    pairs = ", ".join(f"{source} as {target}" for source, target in sorted(data.label_map.items()))
    return f"The model's classes are scored under the names of the dataset: {pairs}."


def _times(report: Report) -> str:
    if all(export.latency_ms is None and export.latency is None for export in report.exports):
        return "No times were taken."
    threads = sorted({export.latency.threads for export in report.exports if export.latency})
    on = f" on {', '.join(map(str, threads))} {'thread' if threads == [1] else 'threads'}" if threads else ""
    taken = (
        f"Times are per image{on}, without the runs that something disturbed: the lower quartile of the runs of each "
        "process, and the geometric mean of the processes."
    )
    if not baseline_marks(report):
        return taken
    return f"{taken} A latency ratio is the quotient of two of these, and its row says to which; below 1 is faster."
