"""Gates on an export's costs: size, latency, and whether compression makes it smaller or faster."""

from __future__ import annotations

from segexport.judge.gates import skipped
from segexport.measure.instructions import NO_SPEED, Instructions
from segexport.measure.latency_statistics import LatencyRatio
from segexport.recipe.limits import Limits
from segexport.spec import Precision
from segexport.verdict import Check, Verdict

SMALLER_RATIO = 0.95
"""Largest size ratio of a compressed file that counts as smaller."""


def size_check(size_bytes: int, baseline_bytes: int, limits: Limits, *, against: str) -> Check:
    """Size in bytes relative to that of `against` (its name, for the message)."""
    if baseline_bytes <= 0:
        return Check(name="size.ratio", verdict=Verdict.ERROR, message=f"{against} has no bytes to compare with.")
    ratio = size_bytes / baseline_bytes
    found = f"{size_bytes / 1e6:.3f} MB, {ratio:.2f} of {against}"
    return _at_most("size.ratio", ratio, None, limits.size_ratio_max, found)


def latency_check(
    ratio: LatencyRatio, limits: Limits, *, against: str, on_target: bool = True, load: str = ""
) -> Check:
    """Checks the latency relative to that of `against`, measured alternately.

    Args:
        load: The machine's load, for the message.
        on_target: Whether it ran on its target hardware; the x86 twin of an ARM export does not show the phone's
            latency, so the gate then only reports.
    """
    found = f"latency {ratio.value:.3f} of {against}"
    if ratio.interval is not None:
        found += f" (95 % interval {ratio.interval[0]:.3f} to {ratio.interval[1]:.3f}, {ratio.sessions} sessions)"
    limit = limits.latency_ratio_max
    drift = ratio.drift(limits.latency_drift_max)
    if not on_target:
        message = f"{found}, on this host and not on the target: not gated."
        return skipped("latency.ratio", message, value=ratio.value, interval=ratio.interval)
    if drift is not None:
        reason = f"the machine drifted by {100 * drift.change:+.0f} % during the run, so it decides nothing{load}"
    elif ratio.interval is None:
        reason = f"{ratio.sessions} sessions are too few for an interval"
    else:
        return _at_most("latency.ratio", ratio.value, ratio.interval, limit, found, load)
    if limit is None:
        return skipped("latency.ratio", f"{found}; {reason}.", value=ratio.value, interval=ratio.interval)
    return Check(
        name="latency.ratio",
        verdict=Verdict.INCONCLUSIVE,
        message=f"{found}: {reason}.",
        value=ratio.value,
        interval=ratio.interval,
        limit=limit,
    )


def no_latency_baseline(limits: Limits) -> Check:
    """The check of an export whose only baseline is a reference that had to run without graph optimization."""
    limit = limits.latency_ratio_max
    message = "no latency ratio: the reference had to run without graph optimization, which is slower than it could be."
    if limit is None:
        return skipped("latency.ratio", message)
    return Check(name="latency.ratio", verdict=Verdict.INCONCLUSIVE, message=message, limit=limit)


def instructions_check(found: Instructions, baseline: Instructions | None, limits: Limits, *, against: str) -> Check:
    """Instructions of one inference, as a ratio to those of `against` on the same processor; the largest decides.

    Args:
        baseline: The counts of `against`; None without one.
    """
    name, limit = "cost.instructions", limits.instructions_ratio_max
    if not found.counts:
        return skipped(name, f"not counted: {next(iter(found.skipped.values()), 'nothing was to be counted')}.")
    before = {} if baseline is None else baseline.counts
    shared = {processor: count for processor, count in found.counts.items() if processor in before}
    ratios = {
        processor: count.instructions / before[processor].instructions
        for processor, count in shared.items()
        if before[processor].instructions
    }
    each = [
        f"{processor} {count.instructions / 1e6:.1f} million"
        + (f" ({ratios[processor]:.3f} of {against})" if processor in ratios else "")
        for processor, count in found.counts.items()
    ]
    told = f"instructions of one inference, {NO_SPEED}: {', '.join(each)}"
    if not ratios:
        return skipped(name, f"{told}.")
    return _at_most(name, max(ratios.values()), None, limit, told)


def compression_check(
    size_ratio: float,
    latency: LatencyRatio | None,
    precision: Precision,
    limits: Limits,
    *,
    against: str,
    on_target: bool = True,
) -> Check:
    """Fails a compressed export that is neither smaller nor faster than `against`."""
    name = "compression.effect"
    if precision is Precision.FP32:
        return skipped(name, "fp32 is not compressed.")
    if size_ratio <= SMALLER_RATIO:
        message = f"{precision.value} has {size_ratio:.2f} of the size of {against}."
        return Check(name=name, verdict=Verdict.PASS, message=message, value=size_ratio, limit=SMALLER_RATIO)
    found = f"{precision.value} is not smaller than {against} ({size_ratio:.2f} of its size)"
    if not on_target:
        return skipped(name, f"{found}; whether it is faster shows on the target only.", value=size_ratio)
    if latency is None or latency.interval is None or latency.drift(limits.latency_drift_max) is not None:
        verdict, reason = Verdict.INCONCLUSIVE, "whether it is faster was not measured well enough"
    elif latency.interval[1] < 1:
        verdict, reason = Verdict.PASS, f"but faster (latency {latency.value:.3f} of it)"
    elif latency.interval[0] < SMALLER_RATIO:
        low, high = latency.interval
        verdict, reason = Verdict.INCONCLUSIVE, f"and its latency ratio of {low:.3f} to {high:.3f} does not decide"
    else:
        verdict, reason = Verdict.FAIL, f"nor faster (latency {latency.value:.3f} of it): compressed in name only"
    return Check(name=name, verdict=verdict, message=f"{found}, {reason}.", value=size_ratio, limit=SMALLER_RATIO)


def _at_most(
    name: str, value: float, interval: tuple[float, float] | None, limit: float | None, found: str, load: str = ""
) -> Check:
    """PASS or FAIL if the whole interval (or the exact value) is on one side of the limit."""
    if limit is None:
        return skipped(name, f"{found}; not gated.", value=value, interval=interval)
    low, high = interval or (value, value)
    if high <= limit:
        verdict, reason = Verdict.PASS, f"within the limit of {limit:g}"
    elif low > limit:
        verdict, reason = Verdict.FAIL, f"over the limit of {limit:g}"
    else:
        verdict = Verdict.INCONCLUSIVE
        reason = f"the interval crosses the limit of {limit:g}; a quieter machine or more seconds would narrow it{load}"
    message = f"{found}: {reason}."
    return Check(name=name, verdict=verdict, message=message, value=value, interval=interval, limit=limit)
