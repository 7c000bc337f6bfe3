"""Truncates a program at a variable, or extracts the operators between given variables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from segexport.errors import InputError
from segexport.exporter.program import Op, Program, Var


@dataclass(frozen=True)
class Segment:
    """The operators that compute one variable from others.

    Attributes:
        target: The computed variable.
        sources: Input variables except parameters, in order of first use.
        ops: Indices into the program's operator list, ascending.
    """

    target: str
    sources: tuple[str, ...]
    ops: tuple[int, ...]


def segment(program: Program, target: str, stops: Collection[str]) -> Segment:
    """Returns the operators between `target` and the nearest preceding `stops` (or feeds).

    Raises:
        InputError: No operator writes `target`.
    """
    writers: dict[str, list[int]] = {}
    for index, op in enumerate(program.ops):
        if op.type not in ("feed", "fetch"):
            for name in op.output_names():
                writers.setdefault(name, []).append(index)
    if target not in writers:
        raise InputError(f"the program writes no variable {target!r}", hint="names are those of the .pdmodel")
    found: set[int] = set()
    sources: dict[str, None] = {}
    waiting = [writers[target][-1]]
    while waiting:
        index = waiting.pop()
        if index in found:
            continue
        found.add(index)
        for name in program.ops[index].input_names():
            if name in program.params:
                continue
            earlier = [at for at in writers.get(name, ()) if at < index]
            if not earlier or (name in stops and name != target):
                sources[name] = None
            else:
                waiting.append(earlier[-1])
    return Segment(target, tuple(sources), tuple(sorted(found)))


def cut(program: Program, fetch: Sequence[str]) -> Program:
    """Returns a copy whose outputs are the variables `fetch`, in this order."""
    copy = program.copy()
    copy.ops = [op for op in copy.ops if op.type != "fetch"]
    _fetch(copy, fetch)
    copy.prune()
    copy.verify("the program cut at a variable")
    return copy


def isolate(
    program: Program, segments: Sequence[Segment], shapes: Mapping[str, Sequence[int]]
) -> tuple[Program, list[str], list[str]]:
    """Builds a program of independent segments: each reads its sources from feeds and writes its target to a fetch.

    Args:
        segments: Segments whose sources are the stops (see `segment`).
        shapes: Observed shapes of the sources.

    Returns:
        The program, the feeds' variables (of `program`) in feed order, and the targets in fetch order.
    """
    copy = program.copy()
    feeds = list(dict.fromkeys(name for one in segments for name in one.sources))
    targets = [one.target for one in segments]
    ops, fetches = [], []
    for number, one in enumerate(segments):
        renamed: dict[str, str] = {}
        for index in one.ops:
            op = program.ops[index].copy()
            for name in dict.fromkeys(op.input_names()):
                if name in renamed:
                    op.rename(name, renamed[name])
            for name in dict.fromkeys(op.output_names()):
                if name in program.params:  # batch_norm names its statistics as outputs too
                    continue
                new = _like(copy, name, f"segment{number}.{name}")
                op.rename(name, new, inputs=False, outputs=True)
                renamed[name] = new
            ops.append(op)
        fetches.append(renamed[one.target])
    copy.ops = ops
    for column, name in enumerate(feeds):
        copy.vars[name].dims = tuple(shapes[name])
        copy.vars[name].need_check_feed = True
        feed = Op("feed", {"X": ["feed"]}, {"Out": [name]})
        feed.set_attr("col", column)
        copy.ops.insert(column, feed)
    copy.vars.setdefault("feed", Var("feed", "FEED_MINIBATCH", persistable=True))
    _fetch(copy, fetches)
    copy.prune()
    copy.verify("the isolated operators")
    return copy, feeds, targets


def _like(program: Program, name: str, new: str) -> str:
    var = program.vars[name]
    return program.add_var(new, var.dims, var.dtype)


def _fetch(program: Program, names: Sequence[str]) -> None:
    program.vars.setdefault("fetch", Var("fetch", "FETCH_LIST", persistable=True))
    for column, name in enumerate(names):
        fetch = Op("fetch", {"X": [name]}, {"Out": ["fetch"]})
        fetch.set_attr("col", column)
        program.ops.append(fetch)
