"""Finds regressions: compares a report with an earlier one with the same classes and images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segexport import report as reports
from segexport.errors import MismatchError
from segexport.judge import cost_gates
from segexport.judge.gates import skipped
from segexport.measure.latency_statistics import ratio_of_separate
from segexport.recipe.limits import Limits
from segexport.recipe.schema import LatencyPolicy
from segexport.recipe.tolerances import Tolerances
from segexport.report.schema import Baseline, ExportResult, Latency, Report
from segexport.task.registry import TASKS
from segexport.verdict import Check, Verdict, overall


def compare_with_baseline(
    path: Path | None, tolerances: Tolerances, latency: LatencyPolicy | None = None
) -> Callable[[Report], Report]:
    """Reads a baseline first, so that a bad one is an error before anything runs; returns a function that compares.

    Args:
        path: A report.json or its folder; None: reports do not change.
        latency: Whether an export fails that is slower than in the baseline; None: if `tolerances` limit the time.

    Raises:
        InputError: `path` is not a report.
    """
    if path is None:
        return lambda report: report
    baseline = reports.read(path)
    gated = latency == "gate" or (latency is None and "latency" in tolerances.model_fields_set)
    return lambda report: against(report, baseline, tolerances, where=path, latency_gated=gated)


def against(
    report: Report, baseline: Report, tolerances: Tolerances, *, where: Path, latency_gated: bool = False
) -> Report:
    """The report with `baseline.*` checks for every export, and the verdicts with these checks.

    Args:
        baseline: The earlier report.
        where: Its path, for messages.
        latency_gated: Whether an export fails that is slower than in the baseline.

    Raises:
        InputError: It has other classes, images or metrics, so that the figures cannot be compared.
    """
    _require_comparable(report, baseline, where)
    before = {export.name: export for export in baseline.exports}
    rows = [
        _compared(export, before.pop(export.name, None), report, baseline, tolerances, latency_gated)
        for export in report.exports
    ]
    rows += [_missing(export) for export in before.values()]
    return report.model_copy(
        update={
            "exports": tuple(rows),
            "verdict": overall(row.verdict for row in rows),
            "baseline": Baseline(
                title=baseline.title,
                created=baseline.created,
                segexport_version=baseline.segexport_version,
                verdict=baseline.verdict,
                changed=_changed_around(report, baseline),
                tolerances=tolerances.model_dump(),
            ),
        }
    )


def _require_comparable(report: Report, baseline: Report, where: Path) -> None:
    def names(one: Report) -> list[str]:
        return [label.name for label in one.labels]

    hint = "make a new baseline: keep the report.json of a run on these images"
    if names(report) != names(baseline):
        raise MismatchError(
            f"{where}: the baseline has other classes",
            cause=f"{', '.join(names(baseline)[:12])} there; {', '.join(names(report)[:12])} here",
            hint=hint,
        )
    one, two = report.dataset, baseline.dataset
    if (one.fingerprint, one.images, one.label_map) != (two.fingerprint, two.images, two.label_map):
        raise MismatchError(
            f"{where}: the baseline was measured on other images, other labels or another label map",
            cause=f"{two.images} images of {two.path}, split {two.split!r} ({two.fingerprint[:12]}...) there; "
            f"{one.images} of {one.path}, split {one.split!r} ({one.fingerprint[:12]}...) here",
            hint=hint,
        )
    if report.metric != baseline.metric:
        raise MismatchError(f"{where}: the baseline counts mIoU by another rule", cause=baseline.metric, hint=hint)


def _compared(
    now: ExportResult,
    before: ExportResult | None,
    report: Report,
    baseline: Report,
    tolerances: Tolerances,
    latency_gated: bool,
) -> ExportResult:
    if before is None:
        return _with(now, [skipped("baseline.present", "not in the baseline: nothing to compare with.")])
    if now.verdict is Verdict.ERROR:
        return now
    words = TASKS[report.task].words
    accuracy, accuracy_before = words.accuracy(now).value, words.accuracy(before).value
    if accuracy_before is None and before.agreement is None:
        return _with(
            now, [skipped("baseline.present", f"it was {before.verdict.value} in the baseline, without figures.")]
        )
    why = _why(_changed(now, before, report, baseline))
    checks = [
        _two_sided(words.baseline_check, words.metric_name(report), accuracy, accuracy_before, tolerances.miou, why),
        _two_sided(
            "baseline.agreement",
            "agreement with the reference",
            now.agreement,
            before.agreement,
            tolerances.agreement,
            why,
        ),
        _size(now, before, tolerances.size, why),
        _instructions(now, before, tolerances.instructions, why),
        _latency(now.latency, before.latency, tolerances.latency, latency_gated),
    ]
    return _with(now, [check for check in checks if check is not None])


def _two_sided(
    name: str, what: str, now: float | None, before: float | None, tolerance: float, why: str
) -> Check | None:
    """FAIL on a loss above the tolerance; a gain above it is reported, not gated."""
    if before is None:
        return None
    if now is None:
        return Check(name=name, verdict=Verdict.FAIL, message=f"no {what} now, {before:.5f} in the baseline.")
    change = now - before
    found = f"{what} {before:.5f} -> {now:.5f}, {change:+.5f}"
    verdict, gated, reason = Verdict.PASS, True, f"within {tolerance:g} of the baseline"
    if change < -tolerance:
        verdict, reason = Verdict.FAIL, f"worse than the baseline by more than {tolerance:g}; {why}"
    elif change > tolerance:
        verdict, gated = Verdict.INCONCLUSIVE, False
        reason = f"better than the baseline by more than {tolerance:g}; {why}. Then make this report the baseline"
    message = f"{found}: {reason}."
    return Check(name=name, verdict=verdict, message=message, value=change, limit=-tolerance, gated=gated)


def _size(now: ExportResult, before: ExportResult, tolerance: float, why: str) -> Check | None:
    if not now.size_bytes or not before.size_bytes:
        return None
    ratio = now.size_bytes / before.size_bytes
    worse = ratio > 1 + tolerance
    reason = f"larger by more than {tolerance:.0%}; {why}" if worse else f"within {tolerance:.0%} of the baseline"
    return Check(
        name="baseline.size",
        verdict=Verdict.FAIL if worse else Verdict.PASS,
        message=f"{before.size_bytes:,} -> {now.size_bytes:,} bytes, {ratio:.3f} of the baseline: {reason}.",
        value=ratio,
        limit=1 + tolerance,
    )


def _instructions(now: ExportResult, before: ExportResult, tolerance: float, why: str) -> Check | None:
    """FAIL if the count on a processor exceeds the tolerance; counts repeat, so no interval is needed."""
    name = "baseline.instructions"
    if not before.instructions:
        return None
    same = [
        processor
        for processor, count in now.instructions.items()
        if processor in before.instructions and before.instructions[processor].counted_by == count.counted_by
    ]
    ratios = {
        processor: now.instructions[processor].instructions / max(before.instructions[processor].instructions, 1)
        for processor in same
    }
    if not ratios:
        return skipped(name, "not counted now on any processor of the baseline with the same runtime and counter.")
    worst = max(ratios, key=lambda processor: ratios[processor])
    worse = ratios[worst] > 1 + tolerance
    reason = f"more by over {tolerance:.0%}; {why}" if worse else f"within {tolerance:.0%} of the baseline"
    one, two = before.instructions[worst].instructions, now.instructions[worst].instructions
    return Check(
        name=name,
        verdict=Verdict.FAIL if worse else Verdict.PASS,
        message=f"{one:,} -> {two:,} instructions on {worst}, {ratios[worst]:.4f} of the baseline: {reason}.",
        value=ratios[worst],
        limit=1 + tolerance,
    )


def _latency(now: Latency | None, before: Latency | None, tolerance: float, gated: bool) -> Check | None:
    """FAIL if the whole interval is above the tolerance; else PASS, because the two runs are not interleaved."""
    name = "baseline.latency"
    if now is None or before is None:
        return None
    if (now.device, now.threads) != (before.device, before.threads):
        message = f"{before.device}, {before.threads} threads there; {now.device}, {now.threads} here: not compared."
        return skipped(name, message)
    if not now.sessions_ms or not before.sessions_ms:
        return skipped(name, "the times of single sessions were not kept, so times are not compared.")
    found = ratio_of_separate(now.sessions_ms, before.sessions_ms)
    limits = Limits(latency_ratio_max=1 + tolerance)
    check = cost_gates.latency_check(found, limits, against="the baseline")
    decides = gated and check.verdict in (Verdict.PASS, Verdict.FAIL)
    return check.model_copy(update={"name": name, "gated": decides})


def _missing(before: ExportResult) -> ExportResult:
    message = "it is in the baseline and was not checked now."
    check = Check(name="baseline.present", verdict=Verdict.FAIL, message=message)
    return ExportResult(
        name=before.name, format=before.format, precision=before.precision, verdict=Verdict.FAIL, checks=(check,)
    )


def _with(export: ExportResult, checks: list[Check]) -> ExportResult:
    found = (*export.checks, *checks)
    verdict = overall(check.verdict for check in found if check.gated)
    return export.model_copy(update={"checks": found, "verdict": verdict})


# -- what changed ----------------------------------------------------------------------------------------------


def _why(changed: tuple[str, ...]) -> str:
    if not changed:
        return "unexplained: nothing that the two reports name has changed"
    return f"changed since then: {'; '.join(changed)}"


def _changed(now: ExportResult, before: ExportResult, report: Report, baseline: Report) -> tuple[str, ...]:
    found = ["the export's files"] if now.digest != before.digest else []
    for what, one, two in (
        ("runtime", now.runtime, before.runtime),
        ("provider", now.provider, before.provider),
        ("device", now.device, before.device),
    ):
        if one != two:
            found.append(f"{what} {two or 'unknown'} -> {one or 'unknown'}")
    return (*found, *_changed_around(report, baseline))


def _changed_around(report: Report, baseline: Report) -> tuple[str, ...]:
    found = []
    if report.reference.digest != baseline.reference.digest:
        found.append("the reference model")
    one, two = report.reference, baseline.reference
    for what, new, old in (
        ("the reference's runtime", one.runtime, two.runtime),
        ("the reference's device", one.device, two.device),
        ("segexport", report.segexport_version, baseline.segexport_version),
        ("processor", report.environment.get("processor"), baseline.environment.get("processor")),
    ):
        if new != old:
            found.append(f"{what} {old} -> {new}")
    new, old = report.environment.get("packages"), baseline.environment.get("packages")
    if isinstance(new, dict) and isinstance(old, dict):
        for name in sorted({*new, *old} - {"segexport"}):
            if new.get(name) != old.get(name):
                found.append(f"{name} {old.get(name, 'absent')} -> {new.get(name, 'absent')}")
    return tuple(found)
