"""Proposes the next attempts from the measured trials. Pure: equal trials give equal attempts.

Stages run from cheap to expensive. Each stage lists all its candidates, given the trials so far; the first stage with
new candidates is next. So a killed search resumes where it stopped, and a result that changes an earlier stage's
proposals returns the search to that stage.

On few images, the distance of the scores from the original's separates candidates far better than mIoU, so it decides
which of them are screened (`halving`), and agreement with the original ranks those; the accuracy budget limits mIoU,
which is measured on more images.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from segexport.search import training
from segexport.search.candidate import Attempt, AttemptId, Candidate, Trial
from segexport.search.halving import RUNGS, distance_of, glances, halved
from segexport.search.objective import Goal, baseline_of, carefully, ranked, screened_agreement
from segexport.search.space import Space
from segexport.spec import Precision

MOST_CONFIRMED = 3  # top-ranked candidates that are measured on all images
MOST_REFINED = 18
UNTIMED_STAGES = frozenset({"calibration", "layers"})  # glances tell all that they have to

Stage = Callable[[Space, Goal, Sequence[Trial]], list[Attempt]]


def propose(
    space: Space,
    goal: Goal,
    points: Sequence[Trial],
    put_off: Collection[AttemptId] = (),
) -> list[Attempt]:
    """Returns the next attempts, all of one stage; empty at the end of the search.

    Args:
        put_off: Attempts that this run leaves to the next one.
    """
    best = next(iter(ranked(goal, points)), None)
    for stage in STAGES.values():
        wanted = {attempt.id: attempt for attempt in reversed(stage(space, goal, points))}
        new = [
            attempt
            for attempt in reversed(wanted.values())
            if attempt.id not in put_off and not _measured(attempt, points)
        ]
        if new:
            against = "" if best is None else best.key
            return [t.model_copy(update={"against": against}) if t.timed else t for t in new]
    return []


def _measured(attempt: Attempt, points: Sequence[Trial]) -> bool:
    return any(p.attempt.id == attempt.id and (p.attempt.timed or not attempt.timed) for p in points)


# -- cheap -----------------------------------------------------------------------------------------------------


def baseline(space: Space, goal: Goal, points: Sequence[Trial]) -> list[Attempt]:
    return [Attempt(candidate=space.baseline, stage="baseline", idea="fp32 as exported")]


def precisions(space: Space, goal: Goal, points: Sequence[Trial]) -> list[Attempt]:
    """Proposes int8 first: it gains most almost everywhere, and most stages start from it."""
    if baseline_of(points) is None:
        return []
    candidates = [*(Candidate(export=export) for export in space.precisions[1:]), *space.more]
    candidates.sort(key=lambda one: one.precision is not Precision.INT8)
    return [
        Attempt(candidate=one, stage="precision", idea=f"all {one.precision.value}")
        for one in candidates
        if one.precision is not Precision.W4A8 or goal.objective == "size"  # as fast as int8
    ]


def calibration(space: Space, goal: Goal, points: Sequence[Trial]) -> list[Attempt]:
    """Proposes glances at other calibration settings one at a time, then at all helpful ones together.

    They change no time, so the nearest to the original is the best; `parts` screens it. From here on, the search
    chooses which layers stay float, not the exporter.
    """
    default = _plain_int8(points)
    if default is None:
        return []
    start = default.candidate.calibrated(agreement=0.0)
    singles = [
        Attempt(candidate=start.calibrated(**{name: value}), stage="calibration", idea=idea, subject=name)
        for name, value, idea in _settings(space)
    ]
    most = RUNGS[-1]
    plain = Attempt(candidate=start, stage="calibration", idea="all int8").glance(most)
    wanted = halved(space, goal, singles, points)
    if not wanted or wanted[0].rung == "glance":
        return wanted
    left = [plain, *(single.glance(most) for single in wanted)]
    found = glances(points, most)
    if not all(attempt.candidate.key in found for attempt in left):
        return left
    near = [one for one in wanted if distance_of(found[one.candidate.key]) < distance_of(found[plain.candidate.key])]
    near.sort(key=lambda one: distance_of(found[one.candidate.key]), reverse=True)
    helpful = {single.subject: single for single in near}  # of several methods, the nearest
    if len(helpful) > 1:
        changes = {name: getattr(single.candidate.calibrated_by, name) for name, single in helpful.items()}
        words = ", ".join(single.idea for single in helpful.values())
        together = Attempt(candidate=start.calibrated(**changes), stage="calibration", idea=words)
        left.append(together.glance(most))
    return left


def _settings(space: Space) -> list[tuple[str, Any, str]]:
    """Returns name, value and title of each calibration setting other than the default."""
    found: list[tuple[str, Any, str]] = [("method", method, f"ranges by {method}") for method in space.methods]
    found += [(switch, True, switch.replace("_", " ")) for switch in space.switches]
    return found + [("rounding", rounding, f"weights rounded: {rounding}") for rounding in space.roundings]


def parts(space: Space, goal: Goal, points: Sequence[Trial]) -> list[Attempt]:
    """Proposes float for the first and the last layer, and for each operator type that is not a product."""
    best = _best_calibration(points)
    if best is None:
        return []
    start = best.candidate
    wanted: list[Attempt] = []
    if space.layers:
        first, last = space.layers[0].name, space.layers[-1].name
        for names, words in (((first,), "first layer float"), ((last,), "last layer float")):
            wanted.append(Attempt(candidate=start.calibrated(float_nodes=names), stage="parts", idea=words))
        if first != last:
            both = start.calibrated(float_nodes=(first, last))
            wanted.append(Attempt(candidate=both, stage="parts", idea="first and last layer float"))
    kept = start.calibrated_by.float_operators
    sets: list[tuple[str, ...]] = [(name,) for name in space.operators]
    if len(space.operators) > 1:
        sets.append(space.operators)
    for names in sets:
        words = f"{names[0]} float" if len(names) == 1 else "products alone in int8"
        changed = start.calibrated(float_operators=(*kept, *names))
        wanted.append(Attempt(candidate=changed, stage="parts", idea=words, subject="operators"))
    whole = Attempt(candidate=start, stage="parts", idea=_calibration_words(start))
    return [whole, *halved(space, goal, wanted, points)]


# -- layer by layer ----------------------------------------------------------------------------------------------


def layers(space: Space, goal: Goal, points: Sequence[Trial]) -> list[Attempt]:
    """Proposes int8 for each layer group alone, to measure its accuracy loss; skipped if full int8 holds."""
    best = _best_calibration(points)
    if best is None or len(space.groups) < 2 or goal.surely_holds(_screened(best, points)):
        return []
    names = [layer.name for layer in space.layers]
    return [
        Attempt(
            candidate=best.candidate.calibrated(float_nodes=tuple(name for name in names if name not in group)),
            stage="layers",
            idea=f"only {_layer_words(group)} in int8",
            subject=group[0],
        ).glance(RUNGS[0])
        for group in space.groups
    ]


def mix(space: Space, goal: Goal, points: Sequence[Trial]) -> list[Attempt]:
    """Proposes float for layers without an int8 speedup, then for more layers with the most loss per saved time."""
    start = _mixed_start(goal, points)
    if start is None:
        return []
    slow, slower = _slow(space, 0.0), _slow(space, 0.1)
    wanted = [
        _mixed(space, start.candidate, chosen, "mix", words)
        for chosen, words in ((slow, "no faster in int8"), (slower, "hardly faster in int8"))
        if chosen
    ]
    if not goal.surely_holds(start):
        order = _dearest_first(space, points)
        counts = [2**power for power in range(len(order).bit_length()) if 2**power <= max(1, len(order) // 2)]
        for count in counts:
            floats = frozenset(name for group in order[:count] for name in group)
            sets = (floats, "what loses most"), (floats | slow, "what loses most, and is no faster in int8")
            wanted += [_mixed(space, start.candidate, chosen, "mix", words) for chosen, words in sets]
    mixed = [attempt for attempt in wanted if len(attempt.candidate.float_nodes) < len(space.layers)]
    return halved(space, goal, mixed, points)


def refine(space: Space, goal: Goal, points: Sequence[Trial]) -> list[Attempt]:
    """Adds or removes one float group of the best mix so far, as long as that helps."""
    order = _dearest_first(space, points)
    best = _incumbent(goal, [p for p in _int8(points) if p.attempt.stage != "layers"], points)
    if best is None or not order or len({p.key for p in points if p.attempt.stage == "refine"}) >= MOST_REFINED:
        return []
    now = frozenset(best.candidate.float_nodes)
    inside = [group for group in reversed(order) if now.issuperset(group)][:3]
    outside = [group for group in order if now.isdisjoint(group)][:3]
    if goal.surely_holds(best):  # within the budget, so no change is needed
        outside = [group for group in outside if _gain_ms(space, group) <= 0]
    changed = [(now.difference(group), f"{_layer_words(group)} in int8 after all") for group in inside]
    changed += [(now.union(group), f"{_layer_words(group)} too") for group in outside]
    mixed = [_mixed(space, best.candidate, chosen, "refine", words) for chosen, words in changed]
    return halved(space, goal, mixed, points)


def narrow(space: Space, goal: Goal, points: Sequence[Trial]) -> list[Attempt]:
    """Proposes 4-bit weights with the best int8 settings; smaller, but no faster."""
    export = next((export for export in space.precisions if export.precision is Precision.W4A8), None)
    best = _incumbent(goal, _int8(points), points)
    if goal.objective != "size" or export is None or best is None:
        return []
    calibration = best.candidate.calibrated_by
    wanted = []
    for ends in (8, 4):
        settings = calibration.model_copy(update={"ends": ends})
        candidate = Candidate(export=export.model_copy(update={"calibration": settings}))
        idea = f"all w4a8, {ends}-bit ends: {best.attempt.idea}"
        wanted.append(Attempt(candidate=candidate, stage="narrow", idea=idea))
    return wanted


def confirm(space: Space, goal: Goal, points: Sequence[Trial]) -> list[Attempt]:
    """Proposes full measurements of the top-ranked candidates: all search images and longer timing."""
    return [
        p.attempt.model_copy(update={"stage": "confirm", "rung": "full", "timed": True})
        for p in ranked(goal, points)[:MOST_CONFIRMED]
    ]


# -- the choice of a base ----------------------------------------------------------------------------------------


def _int8(points: Sequence[Trial]) -> list[Trial]:
    return [
        p
        for p in carefully(points)
        if p.error is None
        and p.agreement is not None
        and p.candidate.precision is Precision.INT8
        and p.candidate.calibration is not None
        and not p.candidate.steps
    ]


def _plain_int8(points: Sequence[Trial]) -> Trial | None:
    return next((p for p in _int8(points) if p.attempt.stage == "precision"), None)


def _best_calibration(points: Sequence[Trial]) -> Trial | None:
    """Returns the nearest int8 to the original; the default if there were no others to glance at."""
    known = [p for p in points if p.attempt.stage == "calibration"]
    found = [p for p in glances(known, RUNGS[-1]).values() if p.distance is not None]
    return min(found, key=lambda point: point.distance or 0.0, default=_plain_int8(points))


def _incumbent(goal: Goal, pool: Sequence[Trial], points: Sequence[Trial]) -> Trial | None:
    """Returns the cheapest candidate within the budget; else the one with the best agreement."""
    keys = {point.key for point in pool}
    held = [point for point in ranked(goal, points) if point.key in keys]
    return held[0] if held else max(pool, key=screened_agreement(points), default=None)


def _mixed_start(goal: Goal, points: Sequence[Trial]) -> Trial | None:
    """Returns the best candidate without individually chosen layers, by its screening: a later, more precise
    measurement must not restart the stage."""
    screened = [p for p in points if p.attempt.rung == "screen"]
    pool = [p for p in _int8(screened) if not p.candidate.float_nodes]
    return _incumbent(goal, pool, screened)


def _screened(point: Trial, points: Sequence[Trial]) -> Trial:
    return next((p for p in points if p.key == point.key and p.attempt.rung == "screen"), point)


def _slow(space: Space, less_than_ratio: float) -> frozenset[str]:
    """Returns layers that int8 does not speed up by at least this fraction of their time."""
    return frozenset(
        layer.name
        for layer in space.layers
        if layer.float_ms is not None
        and layer.int8_ms is not None
        and layer.gain_ms <= less_than_ratio * layer.float_ms
    )


def _gain_ms(space: Space, group: Sequence[str]) -> float:
    gains = {layer.name: layer.gain_ms for layer in space.layers}
    return sum(gains[name] for name in group)


def _dearest_first(space: Space, points: Sequence[Trial]) -> list[tuple[str, ...]]:
    """Returns layer groups sorted by harm per saved time; by time if no sensitivity was measured.

    The harm is the squared distance of the scores: errors of layers are nearly independent, so their squares add up.
    """
    harm = {p.attempt.subject: p.distance**2 for p in points if p.attempt.stage == "layers" and p.distance is not None}
    gains = {group: _gain_ms(space, group) for group in space.groups}
    if not any(gains.values()):
        return sorted((group for group in space.groups if group[0] in harm), key=lambda g: harm[g[0]], reverse=True)
    if not harm:
        return sorted(space.groups, key=lambda group: gains[group])
    least = max(max(gains.values()) * 1e-3, 1e-6)
    known = [group for group in space.groups if group[0] in harm]
    return sorted(known, key=lambda group: harm[group[0]] / max(gains[group], least), reverse=True)


def _mixed(space: Space, start: Candidate, floats: Collection[str], stage: str, why: str) -> Attempt:
    names = tuple(layer.name for layer in space.layers if layer.name in floats)
    words = f"{len(names)} of {len(space.layers)} layers float: {why}"
    return Attempt(candidate=start.calibrated(float_nodes=names, agreement=0.0), stage=stage, idea=words)


def _calibration_words(candidate: Candidate) -> str:
    return f"all int8, ranges by {candidate.calibrated_by.method}"


def _layer_words(group: tuple[str, ...]) -> str:
    return group[0] if len(group) == 1 else f"{group[0]} to {group[-1]}"


STAGES: dict[str, Stage] = {
    "baseline": baseline,
    "precision": precisions,
    "calibration": calibration,
    "parts": parts,
    "layers": layers,
    "mix": mix,
    "refine": refine,
    "narrow": narrow,
    "confirm": confirm,
    "qat": training.qat,
    "prune": training.prune,
    "train longer": training.longer,
    "combine": training.combine,
}
