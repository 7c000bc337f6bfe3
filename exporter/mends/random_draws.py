"""Makes random operators deterministic, because models that differ between runs cannot be compared.

- A draw that depends only on its size (a start for an iteration, as in SegNeXt's matrix factorization) becomes a
  parameter: one draw, the same for the original and its exports.
- A draw with its own seed is the same in each run; Paddle draws its numbers here, because no other runtime could.
- Dropout in training mode is set to inference mode, as in every runtime but Paddle's.
- A draw that depends on the image is refused.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from segexport.artifact import warning
from segexport.errors import UnsupportedModelError
from segexport.exporter.layers import layer_of
from segexport.exporter.program import Attr, Op, Program
from segexport.process.settled import settled
from segexport.process.worker import Worker

SEED = 0
_MAX_ELEMENTS = 1 << 24
_TIMEOUT_S = 300.0
_NAMED = 3
_WORKER = Path(__file__).resolve().parent.parent / "workers" / "paddle_trace_worker.py"

_Random = np.random.Generator
_Dims = tuple[int, ...]


def _uniform(op: Op, dims: _Dims, random: _Random) -> np.ndarray:
    return random.uniform(op.attr("min", -1.0), op.attr("max", 1.0), dims)


def _gaussian(op: Op, dims: _Dims, random: _Random) -> np.ndarray:
    return random.normal(op.attr("mean", 0.0), op.attr("std", 1.0), dims)


def _truncated_gaussian(op: Op, dims: _Dims, random: _Random) -> np.ndarray:
    """Draws within `a` and `b` standard deviations; draws values outside again."""
    low, high = op.attr("a", -2.0), op.attr("b", 2.0)
    drawn = random.normal(size=dims)
    while (outside := (drawn < low) | (drawn > high)).any():
        drawn[outside] = random.normal(size=int(outside.sum()))
    return drawn * op.attr("std", 1.0) + op.attr("mean", 0.0)


def _randint(op: Op, dims: _Dims, random: _Random) -> np.ndarray:
    return random.integers(op.attr("low", 0), op.attr("high", 1), dims)


def _randperm(op: Op, dims: _Dims, random: _Random) -> np.ndarray:
    return random.permutation(dims[0])


def _exponential(op: Op, dims: _Dims, random: _Random) -> np.ndarray:
    return random.exponential(1 / op.attr("lambda", 1.0), dims)


_DRAWS: dict[str, Callable[[Op, _Dims, _Random], np.ndarray]] = {
    "uniform_random": _uniform,
    "uniform_random_inplace": _uniform,
    "uniform_random_batch_size_like": _uniform,
    "gaussian_random": _gaussian,
    "gaussian_inplace": _gaussian,
    "gaussian_random_batch_size_like": _gaussian,
    "truncated_gaussian_random": _truncated_gaussian,
    "randint": _randint,
    "randperm": _randperm,
    "exponential": _exponential,
}
"""Random operators that depend only on their sizes."""

_OF_VALUES = frozenset(
    {"bernoulli", "multinomial", "poisson", "binomial", "standard_gamma", "dirichlet", "gumbel_softmax", "sampling_id"}
    | {"random_crop", "shuffle_batch", "class_center_sample", "top_p_sampling", "seed"}
)
"""Random operators that depend on values."""
_IN_TRAINING = {
    "dropout": ("dropout_prob",),
    "dropout_nd": ("dropout_prob",),
    "rnn": ("dropout_prob",),
    "rrelu": ("upper",),
    "fused_dropout_add": ("p",),
    "fused_attention": ("dropout_rate", "attn_dropout_rate"),
    "fused_feedforward": ("dropout1_rate", "dropout2_rate"),
    "fused_bias_dropout_residual_layer_norm": ("dropout_rate",),
    "flash_attn": ("dropout",),
}
"""Operators that are random only in training mode, if one of these attributes is not 0."""


def keep_random_draws(program: Program) -> list[str]:
    """Makes a single-block program deterministic, in place; returns notes.

    Raises:
        UnsupportedModelError: A draw depends on the image, or its size depends on the image's size.
        EnvironmentMissingError: An operator has its own seed, and Paddle is not installed to draw its numbers.
    """
    live = _live(program)
    trained, drawn, seeded = [], [], []
    for op in list(program.ops):
        if not live.intersection(op.output_names()):
            continue
        if op.type in _IN_TRAINING and not op.attr("is_test", False) and _draws_in_training(op):
            op.set_attr("is_test", True)
            op.inputs.pop("Seed", None)
            trained.append(op)
        elif op.type in _DRAWS:
            (seeded if op.attr("seed", 0) else drawn).append(op)
    live = _live(program)  # without the seeds of dropout
    for op in program.ops:
        if op.type in _OF_VALUES and live.intersection(op.output_names()):
            raise _refusal(program, op, "what it draws depends on the image")
    notes = _notes_on_training(program, trained)
    for number, op in enumerate(drawn):
        _make_parameter(program, op, _number(program, op, number))
    if drawn:
        what = "one draw" if len(drawn) == 1 else "one draw of each"
        kept = f"{what} (seed {SEED}) is part of the model now, for the original and for its exports alike"
        notes.append(warning(f"{_named(program, drawn)} drew random numbers at each run: {kept}"))
    if seeded:
        for op, value in zip(seeded, _as_paddle_draws(program, seeded), strict=True):
            _make_parameter(program, op, value)
        notes.append(f"{_named(program, seeded)} drew with a fixed seed: the numbers are now part of the model")
    return notes


def _live(program: Program) -> set[str]:
    """Returns the variables written by operators that an output needs."""
    pruned = program.copy()
    pruned.prune()
    return {name for op in pruned.ops for name in op.output_names()}


def _draws_in_training(op: Op) -> bool:
    return any(op.attr(name, 0.5) for name in _IN_TRAINING[op.type])


def _notes_on_training(program: Program, trained: list[Op]) -> list[str]:
    if not trained:
        return []
    found = "was left in training mode and drew random numbers at each run: it acts as at inference now"
    if len(trained) > 1:
        found = "were left in training mode and drew random numbers at each run: they act as at inference now"
    return [warning(f"{_named(program, trained)} {found}")]


def _named(program: Program, ops: list[Op]) -> str:
    """Lists operators with their layers for a message, shortened if there are many."""
    names = [f"{op.type} (layer {layer_of(program, op)})" for op in ops[:_NAMED]]
    more = len(ops) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _number(program: Program, op: Op, number: int) -> np.ndarray:
    """The random generator of the `number`-th operator."""
    return _DRAWS[op.type](op, _dims(program, op), np.random.default_rng([SEED, number]))


def _dims(program: Program, op: Op) -> _Dims:
    dims = program.shape(op.output("Out") or "")
    if -1 in dims:
        hint = "fix the size of the input: --input-size WIDTHxHEIGHT"
        raise _refusal(program, op, f"how many numbers it draws, {list(dims)}, depends on the image's size", hint)
    if np.prod(dims, dtype=float) > _MAX_ELEMENTS:
        raise _refusal(program, op, f"its {list(dims)} numbers would make the model too large")
    return dims


def _refusal(program: Program, op: Op, why: str, hint: str = "") -> UnsupportedModelError:
    return UnsupportedModelError(
        f"operator {op.type} (layer {layer_of(program, op)}) draws random numbers at each run",
        cause=f"{why}; no two runs give the same mask, so no export could be compared",
        hint=hint or "export the network in evaluation mode (model.eval()), or without what is random in it",
    )


def _make_parameter(program: Program, op: Op, value: np.ndarray) -> None:
    """Replaces the operator's result by a parameter for all readers; in-place operators write a variable twice."""
    out = op.output("Out") or ""
    name = program.add_param(f"{out}.drawn", value.astype(program.dtype(out)))
    behind = False
    for other in program.ops:
        if behind:
            other.rename(out, name)
            if out in other.output_names():
                break
        behind = behind or other is op
    program.replace(op)


def _as_paddle_draws(program: Program, ops: list[Op]) -> list[np.ndarray]:
    """Draws the numbers of operators with a seed by running Paddle."""
    alone = program.copy()
    fetched = [op.output("Out") or "" for op in ops]
    draws = []
    for op in ops:
        draw = Op(op.type, {}, {"Out": op.outputs["Out"]}, dict(op.attrs))
        draw.set_attr("shape", list(_dims(program, op)), "LONGS")
        draws.append(draw)
    ends = [
        Op("fetch", {"X": [name]}, {"Out": ["fetch"]}, {"col": Attr("INT", column)})
        for column, name in enumerate(fetched)
    ]
    alone.ops = [*(op for op in alone.ops if op.type == "feed"), *draws, *ends]
    feed = [np.zeros([max(size, 1) for size in spec.shape], spec.dtype) for spec in program.inputs()]
    with tempfile.TemporaryDirectory() as scratch:
        model, _ = alone.write(Path(scratch))
        arguments = {"prefix": str(model.with_suffix("")), "groups": [fetched], "folder": scratch}

        def trace() -> dict:
            with Worker(_WORKER, needs="paddle", name="Paddle") as worker:
                return worker.call("trace", arguments, feed, timeout_s=_TIMEOUT_S)[0]

        tensors = settled(trace)["tensors"]
        return [np.load(tensors[name]["file"]) for name in fetched]
