"""How much of a metric each group of channels is worth, and the pruning ratios that follow from a loss that is allowed.

The file holds what PaddleSlim's `sensitivity` gives and PaddleX takes as `sensitivities_file`, `{parameter: {ratio:
loss}}`, as JSON in place of a pickle and with the baseline: losses are fractions of the unpruned model's metric.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from segexport.compress.channel_cut import mask
from segexport.compress.channel_graph import analyze
from segexport.compress.prune import prune
from segexport.errors import InputError
from segexport.exporter.program import Program

Evaluate = Callable[[Program], float]
"""The metric of a program, higher is better: mIoU on held-out images, or agreement with the original."""

_BASELINE = "baseline"


def measure(
    program: Program,
    evaluate: Evaluate,
    file: Path,
    *,
    ratios: Sequence[float] = (0.25, 0.5, 0.75),
    criterion: str = "l1",
) -> dict[str, dict[float, float]]:
    """Prunes one group at a time and measures what is lost.

    The pruned channels are zeros at full width, so that one set of sizes serves all tries. Every result is written at
    once; what is in the file already is not measured again.

    Args:
        program: What is to be pruned.
        evaluate: Called once for the program as it is, and once for each group and ratio.
        file: Where the results are kept.
        ratios: Fractions of a group's channels.
        criterion: As in `prune`.

    Returns:
        Group's parameter -> ratio -> the fraction of the baseline that is lost.

    Raises:
        InputError: The file is damaged, or the metric is not a positive number to begin with.
    """
    graph = analyze(program)
    found = _read(file)
    if _BASELINE not in found:
        found[_BASELINE] = {"0": float(evaluate(program))}
        _write(file, found)
    baseline = found[_BASELINE]["0"]
    if not baseline > 0:
        raise InputError(f"the model's metric before pruning is {baseline}", cause="losses are fractions of it")
    for group in graph.groups:
        losses = found.setdefault(group.name, {})
        for ratio in ratios:
            if str(ratio) in losses:
                continue
            removed = prune(program, {group.name: ratio}, criterion=criterion, graph=graph).removed
            metric = evaluate(mask(graph, removed)) if len(removed) else baseline
            losses[str(ratio)] = (baseline - float(metric)) / baseline
            _write(file, found)
    return _numbers(found)


def ratios_by_loss(sensitivities: dict[str, dict[float, float]], eval_metric_loss: float) -> dict[str, float]:
    """For each group the largest ratio whose loss stays within `eval_metric_loss`, for `prune(ratio=...)`.

    Between two measured ratios the loss is taken as linear, before the first one as rising from 0; a group stops at
    the first ratio that costs too much, even where a larger one happened to cost less.
    """
    chosen = {}
    for name, losses in sensitivities.items():
        ratio, loss = 0.0, 0.0
        for next_ratio, next_loss in sorted(losses.items()):
            if next_loss > eval_metric_loss:
                if next_loss > loss and eval_metric_loss > loss:
                    ratio += (next_ratio - ratio) * (eval_metric_loss - loss) / (next_loss - loss)
                break
            ratio, loss = next_ratio, next_loss
        chosen[name] = ratio
    return chosen


def load(file: Path) -> dict[str, dict[float, float]]:
    """Reads what `measure` wrote.

    Raises:
        InputError: No such file, or another one.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file", hint="measure the sensitivities first")
    return _numbers(_read(file))


def _numbers(found: dict[str, dict[str, float]]) -> dict[str, dict[float, float]]:
    return {
        name: {float(ratio): loss for ratio, loss in losses.items()}
        for name, losses in found.items()
        if name != _BASELINE
    }


def _read(file: Path) -> dict[str, dict[str, float]]:
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text())
        good = all(
            math.isfinite(float(loss)) and 0 <= float(ratio) < 1
            for losses in found.values()
            for ratio, loss in losses.items()
        )
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{file}: not a file of sensitivities", cause=str(error)) from error
    if not good:
        raise InputError(f"{file}: not a file of sensitivities", cause="ratios lie in [0, 1) and losses are finite")
    return found


def _write(file: Path, found: dict[str, dict[str, float]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    part.write_text(json.dumps(found, indent=1) + "\n")
    os.replace(part, file)
