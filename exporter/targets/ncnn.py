"""The ncnn export target, for phones."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from segexport.exporter.converters import PADDLE2ONNX
from segexport.exporter.ncnn_int8 import FLOAT_OPERATORS
from segexport.exporter.targets.base import ExportTarget
from segexport.pipeline.registry import make_step
from segexport.recipe.calibration import Calibration
from segexport.recipe.export import ExportRecipe
from segexport.spec import Format, Precision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segexport.diagnose.graph_probe import Diagnosed, Side
    from segexport.exporter.inspect import TargetSupport
    from segexport.exporter.program import Op, Program
    from segexport.pipeline.step import Step


_MOST_AXES = 5  # with the batch axis, which ncnn drops
_NO_ARGMAX = "ncnn has no layer for it, and it is not the last step of a mask, which is made outside"
_NO_LAYER = "ncnn has no layer for it"
_SORTING = ("arg_min", "argsort", "kthvalue", "mode", "top_k", "top_k_v2")
_LISTING = ("generate_proposals_v2", "masked_select", "multiclass_nms3", "unique", "where_index")
_INDEXED = {  # operator -> the slot of its indices
    "gather": "Index",
    "gather_nd": "Index",
    "index_sample": "Index",
    "index_select": "Index",
    "put_along_axis": "Index",
    "scatter": "Ids",
    "take_along_axis": "Index",
}
_NO_PLACES = "ncnn has no layer that reads or writes at computed places"
_COMPARISONS = ("equal", "not_equal", "greater_than", "greater_equal", "less_than", "less_equal")
_NO_COMPARISON = "ncnn has no layer for it, and its result is not a choice between values or a number"
_FINITE = ("isfinite_v2", "isinf_v2", "isnan_v2")
_NO_FINITE = "ncnn has no layer that tells NaN or infinity from a number"
_NO_LENGTH = "the length of its result depends on the image, and pnnx fixes the size of each tensor"
_NO_BATCH_AXIS = "ncnn's tensors have no batch axis, and this operator reads several images"
_OTHER_AXIS_FIRST = "ncnn's tensors have no batch axis, and this operator puts another axis in its place"
_OF_IMAGES = frozenset(
    {
        "batch_norm", "bilinear_interp_v2", "conv2d", "conv2d_transpose", "depthwise_conv2d",
        "depthwise_conv2d_transpose", "group_norm", "instance_norm", "nearest_interp_v2", "pool2d",
    }
)  # fmt: skip
# What `workers/pnnx_transposes.py`, `pnnx_broadcasts.py` and `pnnx_axes.py` write with fewer axes.
_RESHAPES = frozenset({"flatten_contiguous_range", "reshape2", "squeeze2", "transpose", "transpose2", "unsqueeze2"})
_ARITHMETIC = frozenset(
    f"elementwise_{name}" for name in ("add", "sub", "mul", "div", "max", "min", "pow")
)  # fmt: skip


class NcnnExport(ExportRecipe):
    """Recipe entry of an ncnn export."""

    to: Literal["ncnn"]
    precision: Literal[Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8] = Precision.FP32
    calibration: Calibration = Field(default_factory=Calibration)


class NcnnTarget(ExportTarget):
    """Converts the ONNX export with pnnx."""

    name = "ncnn"
    title = "ncnn"
    format = Format.NCNN
    Recipe = NcnnExport
    runtimes = ("ncnn",)
    toolchains = ("onnx", "ncnn")
    converters = (PADDLE2ONNX,)
    packed = ("model", "params")
    one_size = True
    searched = (Precision.FP32, Precision.FP16, Precision.INT8)
    fits: ClassVar[Mapping[str, tuple[Precision, ...]]] = {"android": (Precision.FP16,)}

    def steps(self, recipe: ExportRecipe) -> list[Step]:
        assert isinstance(recipe, NcnnExport)
        onnx = [make_step("parts_first", {}), make_step("to_onnx", {})]
        if recipe.head != "argmax_small":  # masks of that head cannot be computed from the scores at full size
            onnx.insert(1, make_step("argmax_outside", {}))
        if recipe.precision is not Precision.INT8:
            return [*onnx, make_step("to_ncnn", {"precision": recipe.precision})]
        calibration = recipe.calibration
        floats = tuple(dict.fromkeys((*calibration.float_operators, *FLOAT_OPERATORS)))
        given = {**calibration.model_dump(), "float_operators": floats, "symmetric": True, "inputs_only": True}
        return [*onnx, make_step("onnx_int8", given), make_step("to_ncnn", {})]

    def verdict_before(self, program: Program) -> tuple[TargetSupport, ...]:
        """Extends the base class's report with operators that ncnn has no layer or no axis for."""
        from segexport.exporter.argmax_outside import scores_of
        from segexport.exporter.inspect import Obstacle
        from segexport.exporter.layers import layer_of
        from segexport.exporter.parts_first import parts_first
        from segexport.exporter.rewrites.fold_constants import FoldConstants

        program, _ = parts_first(scores_of(program))
        (found,) = super().verdict_before(program)
        program = program.copy()
        FoldConstants().apply(program)  # ncnn does not see what makes a table of positions
        producers, consumers, of_image = program.producers(), program.consumers(), _of_image(program)
        lacking = tuple(
            Obstacle(operator=op.type, layer=layer_of(program, op, None, producers), number=number, reason=reason)
            for number, op in enumerate(program.all_ops())
            if of_image.intersection(op.input_names()) and (reason := _lacking(program, op, consumers))
        )
        if not lacking:
            return (found,)
        return (found.model_copy(update={"support": "no", "obstacles": (*found.obstacles, *lacking)}),)

    def graph_probe(self, diagnosed: Diagnosed) -> Side:
        from segexport.exporter.targets.ncnn_probe import NcnnSide

        return NcnnSide(diagnosed)


def _of_image(program: Program) -> set[str]:
    """The values that depend on the image; the others are constants in the ONNX export."""
    found = set(program.feed_names)
    for op in program.all_ops():
        if found.intersection(op.input_names()):
            found.update(op.output_names())
    return found


def _lacking(program: Program, op: Op, consumers: Mapping[str, list[Op]]) -> str:
    """The reason why ncnn cannot compute an operator; empty if none is known."""
    if op.type == "arg_max":
        return _NO_ARGMAX
    if op.type in _SORTING:
        return _NO_LAYER
    if op.type in _LISTING:
        return _NO_LENGTH
    if op.type in _INDEXED and op.input(_INDEXED[op.type]) not in program.params:
        return _NO_PLACES
    if op.type in _COMPARISONS and not _is_number(op, consumers):
        return _NO_COMPARISON
    if op.type in _FINITE:
        return _NO_FINITE
    image = op.input("Input") or op.input("X") or ""
    if op.type in _OF_IMAGES and image in program.vars and program.shape(image)[0] > 1:
        return _NO_BATCH_AXIS
    out = op.output("Out") or ""
    axes = op.attr("axis") if op.type in ("transpose", "transpose2") else None
    moved = (
        bool(axes) and axes[0] != 0 and 1 in (*program.shape(image)[:1], *program.shape(out)[:1])
    )  # as the batch has
    if moved and any(each.type not in _RESHAPES for each in consumers.get(out, [])):
        return _OTHER_AXIS_FIRST
    if out not in program.vars or not program.vars[out].is_tensor or len(program.shape(out)) <= _MOST_AXES:
        return ""
    if all(_in_fewer_axes(program, each) for each in (op, *consumers.get(out, []))):
        return ""
    return f"ncnn's tensors have at most {_MOST_AXES - 1} axes beside the batch axis"


def _in_fewer_axes(program: Program, op: Op) -> bool:
    """Whether an operator on too many axes is written with axes that are joined."""
    if op.type not in _ARITHMETIC:
        return op.type in _RESHAPES
    after = program.shape(op.output("Out") or "")
    given = [program.shape(op.input(slot) or "") for slot in ("X", "Y")]
    sizes = [(1,) * (len(after) - len(each)) + each for each in given]
    repeated = [[each[axis] == 1 for each in sizes] for axis, size in enumerate(after) if size != 1]
    return len(list(groupby(repeated))) < _MOST_AXES


def _is_number(compared: Op, consumers: Mapping[str, list[Op]]) -> bool:
    """Whether casts, or choices by an order, alone read it: `workers/pnnx_choices.py` writes them as arithmetic."""
    taken = ("cast", "fetch") if compared.type in ("equal", "not_equal") else ("where", "cast", "index_put", "fetch")
    return all(op.type in taken for op in consumers.get(compared.output("Out") or "", []))
