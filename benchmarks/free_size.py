"""Changes a graph with a fixed input size to the graph that an export with dynamic size would have.

An export with a fixed size writes that size into the operators that resize, reshape and fill. Here those sizes become
fractions of the input's height and width again, computed in the graph as in an export with dynamic size. All sizes are
inferred for a second input, twice as high and three times as wide: a size that doubles depends on the height, one that
triples on the width, and one that grows six times on the area.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, product
from operator import mul

from segexport.exporter import shapes
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import OpBuilder
from segexport.exporter.rewrites.unpool import UnpoolToArithmetic, has_free_size

FIXED, HEIGHT, WIDTH, AREA = 1, 2, 3, 6  # growth factors of sizes
_RATIOS = (FIXED, HEIGHT, WIDTH, AREA)
_INTERPOLATION = ("linear_interp_v2", "bilinear_interp_v2", "nearest_interp_v2", "bicubic_interp_v2")
_COMPUTED = ("OutSize", "SizeTensor", "Shape", "ShapeTensor")  # slots of sizes that the graph already computes
_SIDES = {"linear_interp_v2": ("out_w",)}
Dims = tuple[int, ...]


class SizeIsFixed(Exception):
    """An operator contains a size that is no fraction of the input's."""


@dataclass(frozen=True)
class _Held:
    """The sizes in operator `index`, each with its growth factor."""

    index: int
    sizes: Dims
    ratios: tuple[int, ...]


def free_size(program: Program) -> Program:
    """Returns a copy with dynamic height and width.

    Raises:
        SizeIsFixed: Operators other than resizes, reshapes and fills contain the size; names the first.
    """
    image = program.feed_names[0]
    if len(program.feed_names) > 1:
        raise SizeIsFixed("several inputs")
    program = program.copy()
    for index, op in enumerate(program.ops):
        if op.attr("output_size"):
            _free_output_size(program, op, index)
    shapes.infer_shapes(program)  # sizes that are computed from the image's are recorded as unknown
    held = _held(program, image)
    freed = program.copy()
    batch, channels, height, width = freed.shape(image)
    freed.vars[image].dims = (batch, channels, -1, -1)
    anchors = [(freed.ops[one.index], one) for one in held]
    build = _Sides(freed, image, (height, width))
    for op, one in anchors:
        build.release(op, one)
    first = next(op for op in freed.ops if op.type != "feed")
    freed.insert_before(first, *build.ops)
    shapes.infer_shapes(freed, [image])
    if any(has_free_size(op) for op in freed.ops):  # Paddle cannot run it; imports rewrite it so
        UnpoolToArithmetic().apply(freed)
        freed.prune()
    freed.verify("the graph of dynamic size")
    return freed


def _free_output_size(program: Program, op: Op, index: int) -> None:
    """Sets an unpool's size as in an export with dynamic size, or a transposed convolution's output_padding."""
    sizes, probe = op.attr("output_size"), op.copy()
    probe.set_attr("output_size", [-2, -2] if op.type == "unpool" else [], "INTS")
    (dims,) = shapes.output_sizes(program, probe, {}).values()
    left = [size - own for size, own in zip(sizes, dims[2:], strict=True)]
    is_padding = all(0 <= more < stride for more, stride in zip(left, op.attr("strides"), strict=True))
    if op.type == "conv2d_transpose" and is_padding and not any(op.attr("output_padding") or []):
        op.set_attr("output_padding", left, "INTS")
        left = [0]
    if any(left):
        raise SizeIsFixed(f"{op.type} (operator {index}): its output_size is {sizes}")
    op.set_attr("output_size", probe.attr("output_size"), "INTS")


# -- which operators hold the size -----------------------------------------------------------------------------


def _held(program: Program, image: str) -> list[_Held]:
    before = {name: var.dims for name, var in program.vars.items()}
    probe = program.copy()
    batch, channels, height, width = probe.shape(image)
    probe.vars[image].dims = (batch, channels, HEIGHT * height, WIDTH * width)
    values = {name: value for name, value in probe.params.items() if value.size <= 4096}
    found = []
    for index, op in enumerate(probe.ops):
        if op.type in ("feed", "fetch"):
            continue
        grown = any(probe.shape(name) != before[name] for name in op.input_names() if name in before)
        if any(op.inputs.get(slot) for slot in _COMPUTED):
            one = None
        elif op.type in _INTERPOLATION and not (op.attr("scale") and op.attr("scale")[0] > 0):
            one = _resize(probe, op, index, before)
        elif op.type == "reshape2" and grown:
            one = _reshape(probe, op, index, before)
        elif op.type == "fill_constant":
            one = _fill(probe, op, index, before)
        else:
            one = None
        if one is not None:
            found.append(one)
        _infer(probe, op, index, before, values, grown)
    return found


def _infer(probe: Program, op: Op, index: int, before: dict[str, Dims], values: dict, grown: bool) -> None:
    try:
        known = shapes.known_values(probe, op, values)
        values.update(known or {})
        results = (
            {name: value.shape for name, value in known.items()} if known else shapes.output_sizes(probe, op, values)
        )
    except shapes.NoRule:
        if grown:
            raise SizeIsFixed(f"{op.type} (operator {index}): its sizes cannot be inferred") from None
        return
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise SizeIsFixed(f"{op.type} (operator {index}): {error}") from error
    for name, dims in results.items():
        old = before[name]
        if len(old) != len(dims) or any(
            new not in [size * ratio for ratio in _RATIOS] for size, new in zip(old, dims, strict=True)
        ):
            raise SizeIsFixed(f"{op.type} (operator {index}): {list(old)} becomes {list(dims)}")
        probe.vars[name].dims = tuple(dims)


def _resize(probe: Program, op: Op, index: int, before: dict[str, Dims]) -> _Held:
    names = _SIDES.get(op.type, ("out_h", "out_w"))
    sizes = tuple(op.attr(name) for name in names)
    ratios = (HEIGHT, WIDTH)
    if len(names) == 1:  # the tensor to which it is added determines the side
        ratios = (_partner_ratio(probe, op, before),)
    for name, size, ratio in zip(names, sizes, ratios, strict=True):
        op.set_attr(name, size * ratio)
    return _Held(index, sizes, ratios)


def _fill(probe: Program, op: Op, index: int, before: dict[str, Dims]) -> _Held | None:
    """A constant that is combined with a tensor that has grown: it needs the same height and width."""
    out = op.output("Out") or ""
    for reader in probe.consumers().get(out, []):
        for name in reader.input_names():
            if reader.type != "concat" or name == out or len(before[name]) != len(before[out]):
                continue
            axis = reader.attr("axis", 0) % len(before[out])
            grown = [new // size for size, new in zip(before[name], probe.shape(name), strict=True)]
            ratios = tuple(FIXED if at == axis else ratio for at, ratio in enumerate(grown))
            if set(ratios) != {FIXED}:
                sizes = tuple(op.attr("shape"))
                op.set_attr("shape", [size * ratio for size, ratio in zip(sizes, ratios, strict=True)])
                return _Held(index, sizes, ratios)
    return None


def _partner_ratio(probe: Program, op: Op, before: dict[str, Dims]) -> int:
    out = op.output("Out") or ""
    for reader in probe.consumers().get(out, []):
        for name in reader.input_names():
            if name != out and len(before[name]) == len(before[out]):
                return probe.shape(name)[-1] // before[name][-1]
    raise SizeIsFixed(f"{op.type}: nothing tells which side of the image it follows")


def _reshape(probe: Program, op: Op, index: int, before: dict[str, Dims]) -> _Held:
    """The growth of each new axis. Runs of old and new axes with the same end grow by the same factor."""
    source, target = op.input("X") or "", before[op.output("Out") or ""]
    grown = tuple(new // size for size, new in zip(before[source], probe.shape(source), strict=True))
    ends = dict(zip(accumulate(before[source], mul), accumulate(grown, mul), strict=True))

    def fits(ratios: tuple[int, ...]) -> bool:
        reached = zip(accumulate(target, mul), accumulate(ratios, mul), strict=True)
        ones = all(ratio == FIXED for size, ratio in zip(target, ratios, strict=True) if size == 1)
        return ones and all(ends.get(end, ratio) == ratio for end, ratio in reached)

    def likely(ratios: tuple[int, ...]) -> tuple[int, bool]:
        growing = [ratio for ratio in ratios if ratio != FIXED]
        return len(growing), growing == sorted(growing)  # height comes before width

    choices = [ratios for ratios in product(_RATIOS, repeat=len(target)) if fits(ratios)]
    if not choices:
        raise SizeIsFixed(f"reshape2 (operator {index}): into {list(target)}")
    ratios = max(choices, key=likely)
    op.set_attr("shape", [size * ratio for size, ratio in zip(target, ratios, strict=True)], "INTS")
    return _Held(index, target, ratios)


# -- sizes as the graph computes them --------------------------------------------------------------------------


class _Sides(OpBuilder):
    """Computes the image's height and width and fractions of them, each once, before all operators."""

    def __init__(self, program: Program, image: str, size: tuple[int, int]) -> None:
        super().__init__(program, "side")
        self._full = {HEIGHT: size[0], WIDTH: size[1], AREA: size[0] * size[1]}
        shape = self.add("shape", {"Input": image}, (4,), "int32")
        self._sides = {}
        for ratio, axis in ((HEIGHT, 2), (WIDTH, 3)):
            one = self.add("slice", {"Input": shape}, (1,), "int32", axes=[0], starts=[axis], ends=[axis + 1])
            self._sides[ratio] = self.cast(one, (1,), "float32")
        self._known: dict[tuple[int, int], str] = {}

    def release(self, op: Op, held: _Held) -> None:
        """Replaces an operator's sizes by a tensor, or by a single -1 if that is enough."""
        if op.type == "reshape2":
            growing = [axis for axis, ratio in enumerate(held.ratios) if ratio != FIXED]
            if len(growing) < 2:
                sizes = [-1 if axis in growing else size for axis, size in enumerate(held.sizes)]
                op.set_attr("shape", sizes, "INTS")
                return
            op.inputs["Shape"] = [self._list(held)]
            return
        op.inputs["ShapeTensor" if op.type == "fill_constant" else "OutSize"] = [self._list(held)]

    def _list(self, held: _Held) -> str:
        parts = [self._size(size, ratio) for size, ratio in zip(held.sizes, held.ratios, strict=True)]
        if len(parts) == 1:
            return parts[0]
        return self.add("concat", {"X": parts}, (len(parts),), "int32", axis=0)

    def _size(self, size: int, ratio: int) -> str:
        if (size, ratio) not in self._known:
            self._known[size, ratio] = self.constant(size, "int32") if ratio == FIXED else self._share(size, ratio)
        return self._known[size, ratio]

    def _share(self, size: int, ratio: int) -> str:
        if ratio == AREA and AREA not in self._sides:
            self._sides[AREA] = self.binary("elementwise_mul", self._sides[HEIGHT], self._sides[WIDTH], (1,))
        # plus 0.01, so that a rounding error does not lose a pixel
        return self.cast(self.affine(self._sides[ratio], (1,), size / self._full[ratio], 0.01), (1,), "int32")
