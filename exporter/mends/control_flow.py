"""Replaces branches and loops by straight-line programs, which exporters, training and rewrites require.

Paddle writes them wherever a network tests a size or a number in an `if` or a loop, even if the result is constant. The
walk tracks the sizes and small values that are known at each operator:

- A branch with a known condition: keeps the side that is taken and removes the other.
- A loop with a known condition before each iteration: unrolls its body.
- A branch that depends on the image: computes both sides and selects one. The sides have no side effects, so the result
  is the same; it takes the time of both.
- A loop that depends on the image: refused, with its name and layer.

Variables of these blocks are written more than once. Each write gets a new variable, and later reads use the last one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from segexport.errors import UnsupportedModelError
from segexport.exporter.layers import LAYER_PATH, layer_of
from segexport.exporter.program import Attr, Block, Op, Program, Var
from segexport.exporter.rewrites.base import OpBuilder
from segexport.exporter.shapes import ShapeInference

_MAX_ROUNDS = 1024
_MAX_OPS = 50_000
_PROBES = ((128, 192), (320, 256))  # input sizes at which two sides of a branch are compared
_ARRAY = "LOD_TENSOR_ARRAY"
_INNER = ("conditional_block", "conditional_block_infer", "while")


def straighten(program: Program, changed: Iterable[str] | None = None) -> list[str]:
    """Converts the program to a single block without control flow, in place; returns notes.

    Args:
        changed: Inputs whose sizes differ from the recorded ones, see `shapes.ShapeInference`.

    Raises:
        UnsupportedModelError: A loop's end is only known at run time, or the sides of a branch do not match.
    """
    if len(program.blocks) == 1 and not any(op.type in (*_INNER, "select_input") for op in program.ops):
        return []
    return _Walk(program, changed).run()


class _Walk:
    """One walk through a program.

    Attributes:
        _renamed: Variable -> the variable with its latest value.
        _again: Variables that are written more than once.
        _arrays: Tensor array -> its items, by index.
        _written: Variables that were written so far.
    """

    def __init__(self, program: Program, changed: Iterable[str] | None) -> None:
        self._program, self._inference = program, ShapeInference(program, changed)
        self._blocks = program.blocks
        self._renamed: dict[str, str] = {}
        self._again: set[str] = set()
        self._arrays: dict[str, dict[int, str]] = {}
        self._written = {*program.feed_names, *program.params}
        self._taken = {name for block in program.blocks for name in block.vars}
        self._done: list[Op] = []
        self._counts: Counter[str] = Counter()
        self._free = any(-1 in program.shape(name) for name in program.feed_names)

    def run(self) -> list[str]:
        program = self._program
        outputs = program.fetch_names
        self._block(self._blocks[0])
        program.blocks = [Block(vars=program.vars, ops=self._done)]
        for name in outputs:
            self._keep_name(name)
        program.prune()
        program.verify("the program without branches and loops")
        return [f"{count} {what}" for what, count in sorted(self._counts.items())]

    def _keep_name(self, name: str) -> None:
        """Restores the name of an output that the walk renamed."""
        last = self._renamed.get(name)
        if last is None:
            return
        vars, spare = self._program.vars, self._fresh(name)
        for op in self._done:
            op.rename(name, spare, outputs=True)
        for op in self._done:
            op.rename(last, name, outputs=True)
        vars[spare], vars[name] = vars[name], vars.pop(last)
        vars[spare].name, vars[name].name = spare, name

    # -- operators ------------------------------------------------------------------------------------------------

    def _block(self, block: Block) -> None:
        for op in block.ops:
            self._op(op.copy(), block)

    def _op(self, op: Op, block: Block) -> None:
        if op.type in _INNER:
            (self._loop if op.type == "while" else self._branch)(op, block)
            return
        for name in set(op.input_names()) & self._renamed.keys():
            op.rename(name, self._renamed[name])
        if op.type == "select_input":
            self._select(op, block)
        elif self._is_about_arrays(op, block):
            self._array(op, block)
        else:
            self._emit(op, block)

    def _emit(self, op: Op, block: Block) -> None:
        """Adds an operator; in an inner block, gives its outputs new variables."""
        for name in dict.fromkeys(op.output_names()):
            if (block.idx or name in self._again) and name not in self._program.params:
                op.rename(name, self._version(name, block), inputs=False, outputs=True)
            else:
                self._renamed.pop(name, None)
        self._append(op)

    def _append(self, op: Op) -> None:
        self._done.append(op)
        if len(self._done) > _MAX_OPS:
            raise self._refusal(op, f"written out, the program has more than {_MAX_OPS} operators")
        if op.type not in ("feed", "fetch"):
            self._inference.step(op, f"operator {len(self._done)} ({op.type})")
        self._written.update(op.output_names())

    def _version(self, name: str, block: Block) -> str:
        """Creates a new variable for the next write to `name`."""
        var, new = self._declared(name, block), self._fresh(name)
        self._program.vars[new] = Var(new, var.kind, var.dtype, var.dims, var.lod_level)
        self._renamed[name] = new
        self._again.add(name)
        return new

    def _fresh(self, name: str) -> str:
        number, found = 1, f"{name}.1"
        while found in self._taken:
            number += 1
            found = f"{name}.{number}"
        self._taken.add(found)
        return found

    def _declared(self, name: str, block: Block) -> Var:
        while name not in block.vars and block.parent_idx >= 0:
            block = self._blocks[block.parent_idx]
        return block.vars[name]

    def _now(self, name: str) -> str:
        return self._renamed.get(name, name)

    def _value(self, name: str) -> np.ndarray | None:
        return self._inference.values.get(self._now(name))

    # -- branches ---------------------------------------------------------------------------------------------------

    def _branch(self, op: Op, block: Block) -> None:
        known, inner = self._value(op.input("Cond") or ""), self._blocks[op.attr("sub_block")]
        if known is not None:
            self._counts["sides of branches that are never taken left out"] += not known.all()
            if known.all():
                self._block(inner)
            return
        before = {name: self._now(name) for name in op.outputs.get("Out", [])}
        condition = self._now(op.input("Cond") or "")
        self._block(inner)
        for name, old in before.items():
            if old in self._written:  # written before the branch, and again in it
                index = self._index(op, condition)
                self._renamed[name] = self._chosen(op, index, [old, self._now(name)], self._fresh_like(name, block))
        self._counts["sides of branches on values computed in any case"] += 1

    def _select(self, op: Op, block: Block) -> None:
        """Rewrites the selection of one of several variables by a number."""
        sides, out, known = op.inputs["X"], op.output("Out") or "", self._value(op.input("Mask") or "")
        if known is not None:
            self._emit(Op("assign", {"X": [sides[int(known.item())]]}, {"Out": [out]}, self._place(op)), block)
            return
        index = self._index(op, op.input("Mask") or "")
        target = self._version(out, block) if block.idx else out
        if not block.idx:
            self._renamed.pop(out, None)
        self._chosen(op, index, sides, target)

    def _index(self, op: Op, condition: str) -> str:
        """Converts a condition to a list with one index."""
        build = OpBuilder(self._program, f"{condition}.index")
        as_number = build.cast(condition, self._program.shape(condition), "int32")
        found = build.reshape(as_number, (1,))
        self._append_all(op, build.ops)
        return found

    def _chosen(self, op: Op, index: str, sides: list[str], out: str) -> str:
        """Selects the side at the index: stacks the sides and gathers one."""
        program = self._program
        dims = [program.shape(side) for side in sides]
        if len({program.dtype(side) for side in sides}) > 1 or not self._are_of_one_size(sides):
            sizes = " and ".join(str(list(size)) for size in dims)
            raise self._refusal(op, f"which side is taken depends on the image, and they give sizes {sizes}")
        build, (first, *_) = OpBuilder(program, f"{out}.side"), dims
        kind = program.dtype(sides[0])
        as_float = kind == "bool"  # Paddle-Lite cannot concatenate booleans
        held = [build.cast(side, first, "int32") for side in sides] if as_float else sides
        held_kind = "int32" if as_float else kind
        rows = [build.add("unsqueeze2", {"X": side}, (1, *first), held_kind, axes=[0]) for side in held]
        table = build.add("concat", {"X": rows}, (len(rows), *first), held_kind, axis=0)
        row = build.add("gather", {"X": table, "Index": index}, (1, *first), held_kind, axis=0)
        alone = {"X": row}, first, held_kind
        found = build.add("squeeze2", *alone, axes=[0], out=None if as_float else out)
        if as_float:
            build.cast(found, first, kind, out=out)
        for shaped in build.ops:
            if shaped.type in ("squeeze2", "unsqueeze2"):
                shadow = program.add_var(f"{out}.xshape", (0, *program.shape(shaped.input("X") or "")), held_kind)
                shaped.outputs["XShape"] = [shadow]
        self._append_all(op, build.ops)
        return out

    def _are_of_one_size(self, sides: list[str]) -> bool:
        """Whether all sides have the same size, tested at two input sizes if the input is dynamic.

        A side may take one input size only, such as the sum with a table of positions.
        """
        dims = {self._program.shape(side) for side in sides}
        if len(dims) == 1 and -1 not in next(iter(dims)):
            return True
        if len({len(size) for size in dims}) > 1:
            return False
        try:
            found = [self._sizes_at(height, width, sides) for height, width in _PROBES]
        except UnsupportedModelError:
            return False
        return all(len(sizes) == 1 and -1 not in next(iter(sizes)) for sizes in found)

    def _sizes_at(self, height: int, width: int, names: list[str]) -> set[tuple[int, ...]]:
        """Returns the sizes of variables at this input size."""
        probe = Program(
            [Block(vars={name: replace(var) for name, var in self._program.vars.items()})], self._program.params
        )
        for name in self._program.feed_names:
            free = iter((height, width))
            batch, *sizes = probe.vars[name].dims or (1,)
            probe.vars[name].dims = (max(batch, 1), *(next(free, 1) if size < 0 else size for size in sizes))
        inference = ShapeInference(probe, None)
        for op in self._done:
            if op.type not in ("feed", "fetch"):
                inference.step(op, op.type)
        return {probe.shape(name) for name in names}

    def _fresh_like(self, name: str, block: Block) -> str:
        var, new = self._declared(name, block), self._fresh(name)
        self._program.vars[new] = Var(new, var.kind, var.dtype, var.dims, var.lod_level)
        return new

    def _append_all(self, op: Op, made: list[Op]) -> None:
        for each in made:
            self._taken.update(each.output_names())
            each.attrs.update(self._place(op))
            self._append(each)

    def _place(self, op: Op) -> dict[str, Attr]:
        """Returns the attributes that record an operator's layer."""
        return {name: attr for name, attr in op.attrs.items() if name in (LAYER_PATH, "op_role")}

    # -- loops ------------------------------------------------------------------------------------------------------

    def _loop(self, op: Op, block: Block) -> None:
        inner, rounds = self._blocks[op.attr("sub_block")], 0
        while True:
            known = self._value(op.input("Condition") or "")
            if known is None:
                raise self._refusal(op, "how often it runs depends on the image")
            if not known.all():
                break
            rounds += 1
            if rounds > _MAX_ROUNDS:
                raise self._refusal(op, f"it runs more than {_MAX_ROUNDS} times")
            self._block(inner)
        self._counts["loops written out"] += 1

    # -- arrays of tensors, which loops collect their results in ----------------------------------------------------

    def _is_about_arrays(self, op: Op, block: Block) -> bool:
        if op.type in ("feed", "fetch"):
            return False
        return any(self._kind(name, block) == _ARRAY for name in (*op.input_names(), *op.output_names()))

    def _kind(self, name: str, block: Block) -> str:
        found = self._program.vars.get(name)
        return found.kind if found is not None else self._declared(name, block).kind

    def _array(self, op: Op, block: Block) -> None:
        source, out = op.input("X") or "", op.output("Out") or ""
        if op.type == "write_to_array":
            self._arrays.setdefault(out, {})[self._number(op)] = source
        elif op.type == "assign":
            self._arrays[out] = dict(self._arrays.get(source, {}))
        elif op.type == "read_from_array":
            item = self._arrays.get(source, {}).get(self._number(op))
            if item is None:
                raise self._refusal(op, f"item {self._number(op)} of {source} was never written")
            self._emit(Op("assign", {"X": [item]}, {"Out": [out]}, self._place(op)), block)
        elif op.type == "lod_array_length":
            attrs = {"shape": Attr("LONGS", [1]), "dtype": Attr("INT", 3), "str_value": Attr("STRING", "")}
            attrs["value"] = Attr("FLOAT", float(len(self._arrays.get(source, {}))))
            self._emit(Op("fill_constant", {}, {"Out": [out]}, attrs | self._place(op)), block)
        elif op.type == "tensor_array_to_tensor":
            items = [item for _, item in sorted(self._arrays.get(source, {}).items())]
            slot, kind = ("Y", "stack") if op.attr("use_stack") else ("Out", "concat")
            attrs = {"axis": Attr("INT", op.attr("axis", 0))} | self._place(op)
            self._emit(Op(kind, {"X": items}, {slot: [out]}, attrs), block)
        else:
            raise self._refusal(op, "it takes an array of tensors, whose items segexport cannot follow here")

    def _number(self, op: Op) -> int:
        known = self._value(op.input("I") or "")
        if known is None:
            raise self._refusal(op, "its index depends on the image")
        return int(known.item())

    def _refusal(self, op: Op, why: str) -> UnsupportedModelError:
        cause, hint = why, "write this layer without it, then export the model again"
        if self._free:
            cause, hint = f"{why}, or on the input's size, which is dynamic", "fix the size: --input-size WIDTHxHEIGHT"
        so_far = Program([Block(vars=self._program.vars, ops=self._done)], self._program.params)
        read = Op(op.type, {"X": [self._now(name) for name in op.input_names()]}, {}, self._place(op))
        return UnsupportedModelError(
            f"{op.type} (layer {layer_of(so_far, read)}): it cannot be written as a straight program",
            cause=cause,
            hint=hint,
        )
