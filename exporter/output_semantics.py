"""Determines the meaning of a segmentation model's outputs from the graph, never from names.

Traces an output back through operators that only move, resize or copy values to the operator that decides: an argmax
(or a threshold) gives class indices, a softmax or sigmoid gives probabilities, and any other image-shaped tensor is
logits. Axis letters are tracked on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from segexport.exporter.graph import Op
from segexport.exporter.program_graph import ProgramGraph
from segexport.spec import Semantics, TensorSpec

_ARGMAX = frozenset({"arg_max", "top_k_v2"})
_PROBABILITY = frozenset({"softmax", "sigmoid", "hard_sigmoid"})
_THRESHOLD = frozenset({"greater_than", "greater_equal", "less_than", "less_equal", "round"})
INTERPOLATION = frozenset(
    {"bilinear_interp_v2", "nearest_interp_v2", "bicubic_interp_v2", "bilinear_interp", "nearest_interp"}
)
# Operators that forward values: each output element is an input element (or a weighted mean of neighbours).
_PASS = INTERPOLATION | {
    "assign", "cast", "scale", "transpose2", "transpose", "squeeze2", "unsqueeze2", "reshape2", "dropout", "slice",
    "strided_slice", "pad2d", "pad3d", "share_data", "memcpy", "flip", "crop_tensor",
}  # fmt: skip
# Operators whose output sizes depend on values: after them, rows are detections, not pixels.
DATA_DEPENDENT = frozenset(
    {
        "where_index", "masked_select", "unique", "unique_consecutive", "multiclass_nms", "multiclass_nms2",
        "multiclass_nms3", "matrix_nms", "generate_proposals", "generate_proposals_v2", "distribute_fpn_proposals",
        "collect_fpn_proposals", "while", "conditional_block",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Head:
    """The operator chain that produces an output.

    Attributes:
        semantics: As in `TensorSpec`.
        layout: One letter per axis, empty if unknown.
        num_classes: Number of classes of the output, 0 if unknown. One channel means two classes.
    """

    semantics: Semantics
    layout: str
    num_classes: int


def output_specs(program: ProgramGraph) -> list[TensorSpec]:
    """Returns the outputs in fetch order with the semantics from the graph."""
    specs = []
    for name in program.fetch_names:
        head = recognise(program, name)
        specs.append(
            TensorSpec(
                name=name,
                dtype=program.dtype(name),
                shape=program.shape(name),
                layout=head.layout,
                semantics=head.semantics,
            )
        )
    return specs


def num_classes(program: ProgramGraph) -> int:
    """Returns the number of classes of the first output with classes; 0 if unknown."""
    return next((count for name in program.fetch_names if (count := recognise(program, name).num_classes)), 0)


def recognise(program: ProgramGraph, output: str) -> Head:
    """Recognizes the head that produces variable `output`."""
    tracer = _Tracer(program)
    if tracer.is_data_dependent(output):
        return Head("other", "", 0)
    semantics, decided_at = tracer.meaning(output)
    layout = tracer.layout(output)
    rank = len(program.shape(output))
    if rank < 2 or (
        rank == 2 and not layout and semantics != "class_index"
    ):  # numbers of the whole image, not of pixels
        return Head("other", "", 0)
    if semantics == "class_index":
        layout = layout or {2: "HW", 3: "NHW", 4: "NCHW"}.get(rank, "")
        return Head("class_index", layout, tracer.index_classes(decided_at))
    if not program.dtype(output).startswith(("float", "bfloat")):
        return Head("other", layout, 0)
    if semantics == "logits" and not (rank == 4 or (rank == 3 and "C" in layout)):
        return Head("other", layout, 0)
    layout = layout or ("NCHW" if rank == 4 else "")
    if "C" not in layout:
        return Head(semantics if semantics != "logits" else "other", layout, 0)
    return Head(semantics, layout, _at_least_two(tracer.size(output, layout.index("C"))))


def decides_alone(program: ProgramGraph, output: str) -> Op | None:
    """Returns the sigmoid or threshold that decides independently per channel whether its class is present.

    The largest channel then is not the pixel's class: a pixel can have several classes, or none.
    """
    tracer = _Tracer(program)
    _, op = tracer.meaning(output)
    if op is None or op.type not in (_THRESHOLD | _PROBABILITY) - {"softmax"}:
        return None
    layout = recognise(program, output).layout
    channels = tracer.size(output, layout.index("C")) if "C" in layout else 1
    return op if channels > 1 else None


def is_identity_scale(op: Op) -> bool:
    """Whether the operator is an identity `scale`; exports end with one."""
    return (
        op.type == "scale"
        and op.attr("scale", 1.0) == 1.0
        and op.attr("bias", 0.0) == 0.0
        and not op.input("ScaleTensor")
    )


def _at_least_two(channels: int) -> int:
    return 0 if channels < 1 else max(channels, 2)


class _Tracer:
    """Traces variables of one program backwards."""

    def __init__(self, program: ProgramGraph) -> None:
        self.program = program
        self.producers: Mapping[str, Op] = program.producers()

    def is_data_dependent(self, name: str) -> bool:
        seen, stack = set(), [name]
        while stack:
            current = stack.pop()
            op = self.producers.get(current)
            if current in seen or op is None or op.type == "feed":
                continue
            seen.add(current)
            if op.type in DATA_DEPENDENT:
                return True
            stack.extend(op.input_names())
        return False

    def meaning(self, name: str) -> tuple[Semantics, Op | None]:
        """Returns the semantics of `name`, and the operator that decides it."""
        changed = False  # rescaled values are no longer an index or a probability
        while (op := self.producers.get(name)) is not None:
            if op.type in _ARGMAX and not (
                op.type == "top_k_v2" and (op.attr("k") != 1 or name != op.output("Indices"))
            ):
                return ("other" if changed else "class_index"), op
            if op.type == "where" and (chosen := self._chosen(op)):  # a class where confident, else a constant
                name = chosen
                continue
            if op.type == "where":  # one constant or the other: the condition decides
                name = op.input("Condition") or ""
                continue
            if op.type == "round":  # a rounded probability: whether it exceeds 0.5
                semantics, decided = self.meaning(op.input("X") or "")
                return ("class_index", op) if semantics == "probability" and not changed else (semantics, decided)
            if op.type in _THRESHOLD:
                return ("other" if changed else "class_index"), op
            if op.type in _PROBABILITY:
                return ("other" if changed else "probability"), op
            if op.type not in _PASS:
                return "logits", op
            changed |= op.type == "scale" and not is_identity_scale(op)
            name = op.input("X") or op.input("Input") or ""
        return "other", None

    def _chosen(self, op: Op) -> str:
        """Returns the branch of a `where` that depends on the image if the other does not; else empty."""
        branches = [op.input("X") or "", op.input("Y") or ""]
        computed = [name for name in branches if self._sees_image(name)]
        return computed[0] if len(computed) == 1 else ""

    def _sees_image(self, name: str) -> bool:
        seen, stack = set(), [name]
        while stack:
            current = stack.pop()
            op = self.producers.get(current)
            if current in seen or op is None or op.type in ("shape", "fill_any_like"):
                continue
            if op.type == "feed":
                return True
            seen.add(current)
            stack.extend(op.input_names())
        return False

    def index_classes(self, op: Op | None) -> int:
        """Returns the number of classes of an argmax or a threshold."""
        if op is None or op.type in _THRESHOLD:
            return 2
        source = op.input("X") or ""
        rank = len(self.program.shape(source))
        return max(self.size(source, op.attr("axis", -1) % max(rank, 1)), 0)

    def layout(self, name: str, depth: int = 0) -> str:
        """Returns one letter per axis of `name`, empty if unknown."""
        op, rank = self.producers.get(name), len(self.program.shape(name))
        if op is None or op.type == "feed" or depth > 200:
            return ""
        data_format = op.attr("data_format") or op.attr("data_layout")
        if op.type in INTERPOLATION or op.type.startswith(("conv2d", "depthwise_conv2d", "pool2d", "batch_norm")):
            return data_format if data_format in ("NCHW", "NHWC") else "NCHW"
        source = op.input("X") or op.input("Input")
        if op.type == "where":
            source = self._chosen(op) or source
        if source is None:
            return ""
        letters = self.layout(source, depth + 1)
        source_rank = len(self.program.shape(source))
        if op.type in _ARGMAX and op.type == "arg_max":
            axis = op.attr("axis", -1) % max(source_rank, 1)
            letters = letters or _assumed(source_rank, axis)
            keep = op.attr("keepdims", False)
            return letters if keep or not letters else letters[:axis] + letters[axis + 1 :]
        if op.type == "softmax":
            return letters or _assumed(source_rank, op.attr("axis", -1) % max(source_rank, 1))
        if not letters:
            return ""
        return _moved(op, letters, self.program.shape(source), self.program.shape(name)) if rank else ""

    def size(self, name: str, axis: int, depth: int = 0) -> int:
        """Returns the recorded size of an axis, else the size from the weights that produce it; -1 if unknown."""
        dims = self.program.shape(name)
        if not 0 <= axis < len(dims):
            return -1
        if dims[axis] >= 0 or depth > 200:
            return dims[axis]
        op = self.producers.get(name)
        if op is None or op.type == "feed":
            return -1
        if op.type in ("conv2d", "depthwise_conv2d", "conv2d_transpose"):
            weight = self.program.shape(op.input("Filter") or "")
            return weight[1] * op.attr("groups", 1) if op.type == "conv2d_transpose" else weight[0]
        if op.type == "matmul_v2":
            weight = self.program.shape(op.input("Y") or "")
            return weight[-2] if op.attr("trans_y") else weight[-1]
        source = op.input("X") or op.input("Input") or ""
        if op.type in ("transpose2", "transpose"):
            return self.size(source, op.attr("axis")[axis], depth + 1)
        if source in self.program.vars and len(self.program.shape(source)) == len(dims):
            return self.size(source, axis, depth + 1)
        return -1


def _assumed(rank: int, channel_axis: int) -> str:
    """Returns the usual layout of this rank with channels at `channel_axis`."""
    spatial = {4: "NHW", 3: "HW"}.get(rank, "")
    return spatial[:channel_axis] + "C" + spatial[channel_axis:] if spatial else ""


def _moved(op: Op, letters: str, before: tuple[int, ...], after: tuple[int, ...]) -> str:
    """Returns the letters after an operator; empty if it mixes axes."""
    if op.type in ("transpose2", "transpose"):
        return "".join(letters[axis] for axis in op.attr("axis"))
    if op.type == "squeeze2":
        gone = {axis % len(letters) for axis in op.attr("axes") or [i for i, size in enumerate(before) if size == 1]}
        return "".join(letter for axis, letter in enumerate(letters) if axis not in gone)
    if op.type == "slice":
        gone = {axis % len(letters) for axis in op.attr("decrease_axis") or []}
        return "".join(letter for axis, letter in enumerate(letters) if axis not in gone)
    if op.type in ("unsqueeze2", "reshape2"):
        # A single new axis of size 1 is the missing batch or channel axis; other cases are not traced.
        missing = [letter for letter in "NC" if letter not in letters]
        if len(missing) == 1 and len(after) == len(before) + 1:
            named = {axis % len(after) for axis in op.attr("axes") or ()}
            for axis, size in enumerate(after):
                if size == 1 and (axis in named or not named) and after[:axis] + after[axis + 1 :] == before:
                    return letters[:axis] + missing[0] + letters[axis:]
        return letters if after == before else ""
    return letters if len(after) == len(before) else ""
