"""The expensive search stages, which train. Short trainings show which long ones are worth their time."""

from __future__ import annotations

from collections.abc import Sequence

from segexport.recipe.schema import StepRecipe
from segexport.search.candidate import Attempt, Candidate, Trial
from segexport.search.objective import Goal, baseline_of, carefully, ranked
from segexport.search.space import Space, Training
from segexport.spec import Precision

LONGER = 4  # length of each training relative to the previous one
MOST_LONGER = 2  # most extensions of a training
_HOPE_RATIO = 6.0  # gives up if the loss after a short training exceeds this multiple of the budget


def qat(space: Space, goal: Goal, points: Sequence[Trial]) -> list[Attempt]:
    """Proposes quantization-aware training if int8 without training may lose too much."""
    if not space.qat or space.training is None or baseline_of(points) is None:
        return []
    whole = _whole_int8(points)
    if whole is None or goal.surely_holds(whole):
        return []
    training = {"steps": space.training.steps, "batch_size": space.training.batch_size}
    calibration = whole.candidate.calibrated_by.model_dump(mode="json", exclude_defaults=True)
    step = StepRecipe(step="qat", params={**training, "calibration": calibration})
    candidate = Candidate(steps=(step,), export=whole.candidate.export)
    idea = f"all int8, trained with it for {space.training.steps} steps"
    return [Attempt(candidate=candidate, stage="qat", idea=idea)]


def prune(space: Space, goal: Goal, points: Sequence[Trial]) -> list[Attempt]:
    """Proposes several cost fractions, each with a short training with the original as teacher."""
    if space.training is None or baseline_of(points) is None:
        return []
    return [
        Attempt(
            candidate=_pruned(space, goal, kept, space.training.steps),
            stage="prune",
            idea=f"{1 - kept:.0%} of the cost pruned, {space.training.steps} steps of training",
            subject=f"{kept}",
        )
        for kept in space.kept_macs
    ]


def longer(space: Space, goal: Goal, points: Sequence[Trial]) -> list[Attempt]:
    """Proposes longer training of the trained candidates that came close enough, cheapest first."""
    if space.training is None:
        return []
    latest: dict[tuple, Trial] = {}
    for point in carefully(points):
        if point.attempt.stage in ("prune", "qat", "train longer") and point.error is None:
            kind = (point.attempt.subject, point.candidate.steps[0].step)
            if kind not in latest or _steps(point) > _steps(latest[kind]):
                latest[kind] = point
    near = [
        p
        for p in latest.values()
        if not goal.surely_holds(p)
        and (p.miou_delta or 0.0) >= -_HOPE_RATIO * max(goal.max_miou_drop, 0.002)
        and _steps(p) < space.training.steps * LONGER**MOST_LONGER
    ]
    wanted = []
    for point in sorted(near, key=goal.cost)[:1]:
        steps = _steps(point) * LONGER
        *before, last = point.candidate.steps
        trained = last.model_copy(update={"params": {**last.params, "steps": steps}})
        candidate = point.candidate.model_copy(update={"steps": (*before, trained)})
        idea = point.attempt.idea.replace(f"{_steps(point)} steps", f"{steps} steps")
        wanted.append(Attempt(candidate=candidate, stage="train longer", idea=idea, subject=point.attempt.subject))
    return wanted


def combine(space: Space, goal: Goal, points: Sequence[Trial]) -> list[Attempt]:
    """Proposes the smallest trained model within the budget with the best int8 settings."""
    int8 = next(
        (p for p in ranked(goal, points) if p.candidate.precision is Precision.INT8 and not p.candidate.steps), None
    )
    held = [
        p
        for p in ranked(goal, points)
        if p.candidate.steps and p.candidate.steps[0].step == "prune" and p.candidate.precision is Precision.FP32
    ]
    if int8 is None or not held:
        return []
    candidate = Candidate(steps=held[0].candidate.steps, export=int8.candidate.export)
    return [Attempt(candidate=candidate, stage="combine", idea=f"{held[0].attempt.idea}; then {int8.attempt.idea}")]


def _pruned(space: Space, goal: Goal, kept: float, steps: int) -> Candidate:
    """Prunes by channel saliency and reconstructs the remaining weights; see docs/pruning.md."""
    target = "keep_bytes" if goal.objective == "size" else "keep_macs"
    chain = (
        StepRecipe(step="prune", params={target: kept, "criterion": "fisher", "reconstruct": True, "images": 48}),
        StepRecipe(step="finetune", params=_learning(space.training, steps)),
    )
    return Candidate(steps=chain, export=space.precisions[0])


def _learning(training: Training | None, steps: int) -> dict:
    """Returns `finetune` parameters: the original's outputs, and labels if there are any."""
    assert training is not None, "pruned candidates are proposed where there is training"
    from_labels = {"cross_entropy": 0.25, "lovasz": 0.5} if training.labelled else {"cross_entropy": 0.0}
    return {
        "steps": steps,
        "batch_size": training.batch_size,
        "teacher": training.teacher,
        "losses": {**from_labels, "kl": 1.0},
        "learning_rate": 1.5e-3,
        "lr_decay": "cosine",
        "ema": 0.99,
        "losses_before_enlarging": True,
        "augmentation": {"views": 3},
    }


def _whole_int8(points: Sequence[Trial]) -> Trial | None:
    found = [
        p
        for p in carefully(points)
        if p.candidate.precision is Precision.INT8 and not p.candidate.steps and not p.candidate.float_nodes
    ]
    return max((p for p in found if p.agreement is not None), key=lambda p: p.agreement or 0.0, default=None)


def _steps(point: Trial) -> int:
    return int(point.candidate.steps[-1].params["steps"])
