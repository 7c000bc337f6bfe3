"""Measures the sensitivity of a metric to pruning each channel group, and derives ratios from an allowed loss.

The file has the structure that PaddleSlim's `sensitivity` returns and PaddleX reads as `sensitivities_file`, as JSON
instead of a pickle: `{parameter: {ratio: loss}}`, with the baseline. Losses are fractions of the unpruned metric. Their
pickles can be read too.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from segexport.compress.channel_analysis import analyze
from segexport.compress.channel_cut import mask
from segexport.compress.prune import Criterion, Pruned, prune
from segexport.errors import MissingInputError, ModelOutputError, TooLargeError, UnreadableError
from segexport.exporter.program import Program
from segexport.files import plain_pickle
from segexport.files.atomic import write_file
from segexport.files.foreign import guarded
from segexport.files.json_reader import parse_json

Evaluate = Callable[[Program], float]
"""Evaluates a program, higher is better: mIoU on held-out images, or agreement with the original."""

Cut = Callable[[dict[str, float]], Pruned]
"""Prunes a program by ratios per named group."""

RATIOS = (0.25, 0.5, 0.75)
_BASELINE = "baseline"
_MAX_BYTES = 4 << 20


def measure(
    program: Program,
    evaluate: Evaluate,
    file: Path,
    *,
    ratios: Sequence[float] = RATIOS,
    criterion: Criterion = "l1",
    cut: Cut | None = None,
) -> dict[str, dict[float, float]]:
    """Prunes one group at a time and measures the loss.

    Pruned channels become zeros at full width, so that all attempts share the same shapes. Every result is written
    immediately; results in the file are not measured again.

    Args:
        program: The program to prune.
        evaluate: Called once for the unpruned program, and once per group and ratio.
        file: File for the results.
        ratios: Fractions of a group's channels.
        criterion: As in `prune`.
        cut: Prunes by ratios if the criterion needs more than the program.

    Returns:
        Group's parameter -> ratio -> lost fraction of the baseline.

    Raises:
        InputError: The file is damaged, or the unpruned metric is not positive.
    """
    while measure_some(program, evaluate, file, most=1000, ratios=ratios, criterion=criterion, cut=cut):
        pass
    return load(file)


def measure_some(
    program: Program,
    evaluate: Evaluate,
    file: Path,
    *,
    most: int,
    ratios: Sequence[float] = RATIOS,
    criterion: Criterion = "l1",
    cut: Cut | None = None,
) -> int:
    """Measures at most `most` further results of `measure`; returns how many remain."""
    graph = analyze(program)
    by_ratio = cut or partial(prune, program, criterion=criterion, graph=graph)
    found = _read(file)
    if _BASELINE not in found:
        found[_BASELINE] = {"0": float(evaluate(program))}
        _write(file, found)
    baseline = found[_BASELINE]["0"]
    if not baseline > 0:
        raise ModelOutputError(f"the model's metric before pruning is {baseline}", cause="losses are fractions of it")
    missing = [(group.name, ratio) for group in graph.groups for ratio in ratios if ratio not in _of(found, group.name)]
    for name, ratio in missing[:most]:
        removed = by_ratio({name: ratio}).removed
        metric = evaluate(mask(graph, removed)) if len(removed) else baseline
        found.setdefault(name, {})[str(ratio)] = (baseline - float(metric)) / baseline
        _write(file, found)
    if not missing:
        _write(file, found)
    return max(0, len(missing) - most)


def _of(found: dict[str, dict[str, float]], name: str) -> set[float]:
    return {float(ratio) for ratio in found.get(name, {})}


def ratios_by_loss(sensitivities: dict[str, dict[float, float]], eval_metric_loss: float) -> dict[str, float]:
    """Returns, per group, the largest ratio with a loss of at most `eval_metric_loss`, for `prune(ratio=...)`.

    Interpolates the loss linearly between measured ratios, and from 0 before the first; a group stops at the first
    ratio that costs too much, even if a larger one happened to cost less.
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


@guarded("a file of sensitivities")
def load(file: Path) -> dict[str, dict[float, float]]:
    """Reads a file written by `measure`.

    Raises:
        InputError: The file does not exist or has another structure.
    """
    if not file.is_file():
        raise MissingInputError(f"{file}: no such file", hint="measure the sensitivities first")
    return _numbers(_read(file))


def is_measured_here(file: Path) -> bool:
    """Whether `measure` wrote the file and may continue it; files of other tools are not extended."""
    return _BASELINE in _read(file)


def _numbers(found: dict[str, dict[str, float]]) -> dict[str, dict[float, float]]:
    return {
        name: {float(ratio): loss for ratio, loss in losses.items()}
        for name, losses in found.items()
        if name != _BASELINE
    }


@guarded("a file of sensitivities")
def _read(file: Path) -> dict[str, dict[str, float]]:
    if not file.is_file():
        return {}
    if file.stat().st_size > _MAX_BYTES:
        raise TooLargeError(
            f"{file}: more than {_MAX_BYTES >> 20} MiB", cause="sensitivities are a few numbers per layer"
        )
    content = file.read_bytes()
    found = _pickled(content) if content[:1] == b"\x80" else parse_json(content)
    losses = [(ratio, loss) for each in found.values() for ratio, loss in each.items()]
    if not all(
        isinstance(loss, int | float) and math.isfinite(loss) and 0 <= float(ratio) < 1 for ratio, loss in losses
    ):
        raise UnreadableError(
            f"{file}: not a file of sensitivities", cause="ratios are in [0, 1) and losses are finite"
        )
    return found


def _pickled(content: bytes) -> dict[str, dict[str, float]]:
    """Reads the pickles of PaddleSlim's `sensitivity` and PaddleX's `cal_params_sensitivities`."""
    found = plain_pickle.load(io.BytesIO(content))
    return {str(name): {str(float(ratio)): float(loss) for ratio, loss in each.items()} for name, each in found.items()}


def _write(file: Path, found: dict[str, dict[str, float]]) -> None:
    write_file(file, json.dumps(found, indent=1) + "\n")
