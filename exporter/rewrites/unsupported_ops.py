"""Refuses operators that a converter converts wrongly and that no rewrite fixes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from segexport.errors import UnsupportedModelError
from segexport.exporter.framework_proto import DTYPE_NAME
from segexport.exporter.layers import layer_of
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, LITE, ONNX, Target
from segexport.exporter.rewrites.computed_filter import has_computed_filter
from segexport.exporter.rewrites.deformable import has_unlike_groups
from segexport.exporter.rewrites.linear_interp import keeps_factor
from segexport.exporter.rewrites.pool_indices import reads_indices
from segexport.exporter.rewrites.pool_windows import counts_other_zeros, has_empty_window
from segexport.exporter.rewrites.resize import (
    is_placed_otherwise_in_lite,
    is_placed_otherwise_in_onnx,
    resizes_by_fraction,
)


class _Fault(NamedTuple):
    """`is_met`: whether the converter would convert this operator wrongly."""

    type: str
    targets: frozenset[Target]
    is_met: Callable[[Program, Op], bool]
    cause: str


def _always(_program: Program, _op: Op) -> bool:
    return True


def _is_adaptive(program: Program, op: Op) -> bool:
    sizes, bins = program.shape(op.input("X") or "")[2:], op.attr("ksize")
    return bool(op.attr("adaptive")) and any(size % many for size, many in zip(sizes, bins, strict=True))


def _is_adaptive_maximum(_program: Program, op: Op) -> bool:
    return bool(op.attr("adaptive")) and op.attr("pooling_type") == "max"


def _counts_other_zeros(_program: Program, op: Op) -> bool:
    return counts_other_zeros(op)


def _pads_by_size(_program: Program, op: Op) -> bool:
    return op.attr("padding_algorithm", "EXPLICIT") == "SAME"


def _has_two_shapes(program: Program, op: Op) -> bool:
    return program.shape(op.input("X") or "") != program.shape(op.input("Y") or "")


def _is_narrow_or_double(_program: Program, op: Op) -> bool:
    return DTYPE_NAME.get(op.attr("out_dtype")) in ("int8", "int16", "float16", "float64")


def _is_long_to_mask(program: Program, op: Op) -> bool:
    return program.dtype(op.input("X") or "") == "int64" and DTYPE_NAME.get(op.attr("out_dtype")) == "bool"


def _is_no_image(program: Program, op: Op) -> bool:
    return len(program.shape(op.input("X") or "")) != 4


def _is_flat(_program: Program, op: Op) -> bool:
    return bool(op.attr("flatten"))


def _widens_batches(program: Program, op: Op) -> bool:
    """Whether two matrix batches differ in size, or a vector is multiplied by a matrix batch."""
    x, y = (program.shape(op.input(slot) or "") for slot in ("X", "Y"))
    if len(x) == 1:
        return len(y) > 2
    if len(x) < 3 or len(y) < 3:
        return False
    return len(x) != len(y) or any(a != b and -1 not in (a, b) for a, b in zip(x[:-2], y[:-2], strict=True))


def _has_large_epsilon(_program: Program, op: Op) -> bool:
    return op.attr("epsilon", 1e-10) > 1e-6


def _is_deep(program: Program, op: Op) -> bool:
    return len(program.shape(op.input("X") or "")) > 4 and not op.attr("reduce_all")


def _is_low(_program: Program, op: Op) -> bool:
    return op.attr("threshold", 20.0) < 15.0  # below it, log(1 + exp(x)) is not x to float32


def _is_fraction(program: Program, op: Op) -> bool:
    return program.dtype(op.input("X") or "").startswith("float")


def _is_whole(program: Program, op: Op) -> bool:
    return not _is_fraction(program, op)


def _is_number(program: Program, op: Op) -> bool:
    return not _is_of_masks(program, op)


def _is_of_masks(program: Program, op: Op) -> bool:
    return program.dtype(op.input("X") or "") == "bool"


def _pads_one_side_more(_program: Program, op: Op) -> bool:
    pads = op.attr("paddings")
    return len(pads) == 4 and pads[:2] != pads[2:]


def _goes_around(_program: Program, op: Op) -> bool:
    return op.attr("mode") == "circular"


def _turns_a_free_axis(program: Program, op: Op) -> bool:
    dims = program.shape(op.input("X") or "")
    return any(dims[axis] < 0 for axis in op.attr("axis"))


def _has_axes(_program: Program, op: Op) -> bool:
    return len(op.attr("axes") or []) > 1


def _writes_from_the_end(_program: Program, op: Op) -> bool:
    return any(number < 0 for name in ("starts", "ends", "steps") for number in op.attr(name) or [])


def _is_narrow(program: Program, op: Op) -> bool:
    dims = program.shape(op.input("ValueTensor") or "") if op.input("ValueTensor") else (1,)
    return dims != (1,) and len(dims) < len(program.shape(op.input("Input") or ""))


def _has_new_axes(_program: Program, op: Op) -> bool:
    return bool(op.attr("none_axes")) and bool(op.input("ValueTensor"))


def _is_mask(program: Program, op: Op) -> bool:
    return program.dtype(op.input("Input") or "") == "bool"


def _gives_mask(_program: Program, op: Op) -> bool:
    return DTYPE_NAME.get(op.attr("dtype")) == "bool"


def _has_images(program: Program, op: Op) -> bool:
    return program.shape(op.input("X") or "")[0] > 1


def _is_computed(program: Program, op: Op) -> bool:
    return any(name not in program.params for name in op.input_names())


def _computed(*slots: str) -> Callable[[Program, Op], bool]:
    """Tests whether a tensor supplies an argument that an attribute could."""
    return lambda _program, op: any(op.inputs.get(slot) for slot in slots)


def _is_short(program: Program, op: Op) -> bool:
    times = op.inputs.get("repeat_times_tensor") or []
    return bool(times) and len(times) != len(program.shape(op.input("X") or ""))


def _is_plain(_program: Program, op: Op) -> bool:
    return op.attr("mode") not in ("LSTM", "GRU")


def _hands_on_its_state(program: Program, op: Op) -> bool:
    read = program.consumers()
    return any(name in read for name in op.outputs.get("State", []))


def _hands_on_several_states(program: Program, op: Op) -> bool:
    return op.attr("num_layers", 1) > 1 and _hands_on_its_state(program, op)


def _goes_backwards(_program: Program, op: Op) -> bool:
    return any(stride < 0 for stride in op.attr("strides") or [])


def _ends_before_the_first(program: Program, op: Op) -> bool:
    """Whether a slice has a negative stride and an end that Paddle reads differently or that is computed."""
    if any(op.inputs.get(slot) for slot in _STRIDED):
        return not _computed("StridesTensor", "StridesTensorList")(program, op) and _goes_backwards(program, op)
    dims = program.shape(op.input("Input") or "")
    sizes = [dims[axis] if dims[axis] > 0 else _FAR for axis in op.attr("axes")]
    cuts = zip(op.attr("ends"), op.attr("strides"), sizes, strict=True)
    return any(stride < 0 and (end == -1 or end < -size) for end, stride, size in cuts)


def _leaves_nothing(program: Program, op: Op) -> bool:
    """Whether a slice selects nothing of an axis of any size."""
    if 0 in program.shape(op.output("Out") or ""):
        return True
    if any(name.startswith(("Starts", "Ends")) for name, given in op.inputs.items() if given):
        return False
    starts, ends = op.attr("starts") or [], op.attr("ends") or []
    strides = op.attr("strides") or [1] * len(starts)
    return any(
        stride > 0 and (((start < 0) == (end < 0) and end <= start) or (start >= 0 and end <= -_FAR))
        for start, end, stride in zip(starts, ends, strides, strict=True)
    )


def _is_filled(_program: Program, op: Op) -> bool:
    return op.attr("mode", "constant") == "constant" and op.attr("value", 0.0) != 0


def _is_a_line(_program: Program, op: Op) -> bool:
    return not op.attr("axis")


def _is_rest(_program: Program, op: Op) -> bool:
    """Whether a size of -1 means the rest of the axis after an offset."""
    pairs = zip(op.attr("shape") or [], op.attr("offsets") or [], strict=False)
    return any(size < 0 and offset for size, offset in pairs)


def _is_other(**usual: float) -> Callable[[Program, Op], bool]:
    """Tests whether an attribute differs from its usual value."""
    return lambda _program, op: any(op.attr(name, value) != value for name, value in usual.items())


_RESIZES = ("bilinear_interp_v2", "nearest_interp_v2", "bicubic_interp_v2", "nearest_interp")
_PLACED = "the exporter places its pixels differently, and the sizes are dynamic"
_WITH_FILTER = (
    *("conv2d", "depthwise_conv2d", "conv3d", "conv2d_transpose", "depthwise_conv2d_transpose"),
    *("deformable_conv", "deformable_conv_v1"),
)
_KEPT = "Paddle-Lite keeps the filter of the first image"
_REDUCED = ("sum", "mean", "max", "min", "prod")
_SAME = "exporters compute the padding SAME from the output size"
_UNHEEDED = "Paddle ignores these attributes, exporters do not"
_STRIDED = ("StartsTensor", "StartsTensorList", "EndsTensor", "EndsTensorList", "StridesTensor", "StridesTensorList")

_FAR = 1 << 30  # a slice end without effect: no axis is that long

_BOUNDS = ("StartsTensorList", "EndsTensorList", "StepsTensorList")

_FAULTS = (
    _Fault("pool2d", frozenset({ONNX}), has_empty_window, "ONNX Runtime omits a last window without pixels"),
    _Fault("pool3d", frozenset({ONNX}), has_empty_window, "ONNX Runtime omits a last window without pixels"),
    _Fault("pool2d", frozenset({ONNX}), _counts_other_zeros, "ONNX Runtime counts other zeros around the image"),
    _Fault("pool3d", frozenset({ONNX}), _counts_other_zeros, "ONNX Runtime counts other zeros around the image"),
    _Fault("conv2d_transpose", EVERY, _pads_by_size, _SAME),
    _Fault("depthwise_conv2d_transpose", EVERY, _pads_by_size, _SAME),
    *(_Fault(kind, LITE, has_computed_filter, _KEPT) for kind in _WITH_FILTER),
    *(_Fault(kind, frozenset({ONNX}), is_placed_otherwise_in_onnx, _PLACED) for kind in _RESIZES),
    *(_Fault(kind, LITE, is_placed_otherwise_in_lite, _PLACED) for kind in _RESIZES),
    *(_Fault(kind, LITE, _is_no_image, "Paddle-Lite resizes images only") for kind in _RESIZES),
    _Fault("linear_interp_v2", LITE, keeps_factor, _PLACED),
    _Fault("bilinear_interp", frozenset({ONNX}), resizes_by_fraction, _PLACED),
    _Fault("nearest_interp", frozenset({ONNX}), resizes_by_fraction, _PLACED),
    _Fault("arg_max", LITE, _is_flat, "Paddle-Lite searches along one axis only"),
    _Fault("p_norm", LITE, _has_large_epsilon, "Paddle-Lite adds its epsilon to the norm"),
    _Fault("matmul_v2", LITE, _widens_batches, "Paddle-Lite multiplies batches of equal size only"),
    _Fault("instance_norm", LITE, _is_no_image, "Paddle-Lite reads out of bounds unless it is an image"),
    _Fault("norm", frozenset({ONNX}), _has_large_epsilon, "paddle2onnx drops its epsilon"),
    _Fault("group_norm", EVERY, _is_no_image, "exporters support images only"),
    *(_Fault(f"reduce_{kind}", LITE, _is_deep, "Paddle-Lite reduces four axes at most") for kind in _REDUCED),
    _Fault("pool3d", frozenset({ONNX}), _is_adaptive_maximum, "Paddle itself treats these bins as windows"),
    _Fault("atan2", frozenset({ONNX}), _always, "paddle2onnx writes angles of the wrong quadrant"),
    _Fault("softplus", frozenset({ONNX}), _is_low, "paddle2onnx drops its threshold"),
    _Fault("max_pool2d_with_index", frozenset({ONNX}), _is_adaptive, "paddle2onnx treats its bins as equal windows"),
    _Fault("max_pool2d_with_index", LITE, reads_indices, "on ARM, Paddle-Lite writes no indices"),
    _Fault("max_pool2d_with_index", frozenset({ONNX}), reads_indices, "paddle2onnx writes no indices"),
    _Fault("max_pool3d_with_index", frozenset({ONNX}), reads_indices, "paddle2onnx writes no indices"),
    _Fault("unfold", frozenset({ONNX}), _pads_one_side_more, "paddle2onnx supports equal padding on both sides only"),
    _Fault("pad3d", frozenset({ONNX}), _goes_around, "these ONNX opsets have no circular padding"),
    _Fault("flip", frozenset({ONNX}), _turns_a_free_axis, "paddle2onnx flips axes of known size only"),
    *(
        _Fault(f"bitwise_{kind}", frozenset({ONNX}), _is_number, "these ONNX opsets support boolean tensors only")
        for kind in ("and", "or", "xor", "not")
    ),
    *(
        _Fault(f"logical_{kind}", EVERY, _is_number, "exporters support boolean tensors only")
        for kind in ("and", "or", "xor", "not")
    ),
    _Fault("exp", frozenset({ONNX}), _is_whole, "ONNX supports floats only"),
    _Fault("equal", LITE, _is_of_masks, "Paddle-Lite does not compare boolean tensors"),
    _Fault("not_equal", LITE, _is_of_masks, "Paddle-Lite does not compare boolean tensors"),
    _Fault("scale", LITE, _computed("ScaleTensor"), "Paddle-Lite supports a constant scale only"),
    _Fault("set_value", frozenset({ONNX}), _has_axes, "paddle2onnx supports one axis only"),
    _Fault("linspace", frozenset({ONNX}), _is_computed, "paddle2onnx supports constant bounds and counts only"),
    _Fault("reduce_any", LITE, _always, "Paddle-Lite's Opt aborts on it"),
    _Fault("reduce_all", LITE, _always, "Paddle-Lite's Opt aborts on it"),
    _Fault("elementwise_mod", LITE, _is_fraction, "Paddle-Lite returns remainders of floats as integers"),
    _Fault("logical_and", LITE, _has_two_shapes, "Paddle-Lite supports two boolean tensors of equal shape only"),
    _Fault("logical_or", LITE, _has_two_shapes, "Paddle-Lite supports two boolean tensors of equal shape only"),
    _Fault("logical_xor", LITE, _has_two_shapes, "Paddle-Lite supports two boolean tensors of equal shape only"),
    _Fault("cast", LITE, _is_narrow_or_double, "Paddle-Lite has no cast to 8 or 16 bits or to float64"),
    _Fault("cast", LITE, _is_long_to_mask, "Paddle-Lite has no cast from int64 to bool, and aborts at run time"),
    _Fault("pow", frozenset({ONNX}), _computed("FactorTensor"), "paddle2onnx supports constant exponents only"),
    _Fault("hard_swish", EVERY, _is_other(threshold=6.0, scale=6.0, offset=3.0), _UNHEEDED),
    _Fault("relu6", EVERY, _is_other(threshold=6.0), _UNHEEDED),
    _Fault("swish", EVERY, _is_other(beta=1.0), _UNHEEDED),
    _Fault("mish", EVERY, _is_low, "exporters drop its threshold"),
    _Fault("deformable_conv", frozenset({ONNX}), _always, "ONNX Runtime has no kernel for its DeformConv"),
    _Fault("deformable_conv", LITE, has_unlike_groups, "Paddle-Lite needs as many groups in the filter as offsets"),
    _Fault("rnn", EVERY, _is_plain, "exporters support LSTM and GRU only"),
    _Fault("rnn", EVERY, _computed("SequenceLength"), "exporters ignore the length of each sequence"),
    _Fault("rnn", LITE, _hands_on_its_state, "Paddle-Lite does not write its last state, which is read"),
    _Fault("rnn", frozenset({ONNX}), _hands_on_several_states, "paddle2onnx returns the state of the last layer only"),
    _Fault("unsqueeze2", EVERY, _computed("AxesTensor", "AxesTensorList"), "exporters support constant axes only"),
    _Fault("pad3d", LITE, _computed("Paddings"), "Paddle-Lite supports constant paddings only"),
    _Fault("strided_slice", LITE, _computed(*_STRIDED), "Paddle-Lite supports constant bounds only"),
    _Fault("strided_slice", LITE, _leaves_nothing, "Paddle-Lite aborts if the result is empty"),
    _Fault("strided_slice", LITE, _goes_backwards, "Paddle-Lite returns wrong values for negative strides"),
    _Fault("strided_slice", frozenset({ONNX}), _ends_before_the_first, "ONNX reads a backward end differently"),
    _Fault("pad3d", LITE, _is_filled, "Paddle-Lite drops the value that pads a volume"),
    _Fault("slice", LITE, _leaves_nothing, "Paddle-Lite exits if the result is empty"),
    _Fault("grid_sampler", LITE, _is_no_image, "Paddle-Lite samples images only"),
    _Fault("assign_value", EVERY, _gives_mask, "exporters write no boolean constants"),
    _Fault("roi_align", frozenset({ONNX}), _has_images, "paddle2onnx assigns all boxes to the first image"),
    _Fault("top_k_v2", LITE, _is_whole, "Paddle-Lite sorts floats only"),
    _Fault("top_k", LITE, _is_whole, "Paddle-Lite sorts floats only"),
    _Fault("temporal_shift", LITE, _is_other(shift_ratio=0.25), "Paddle-Lite drops its ratio and uses 0.25"),
    _Fault("crop_tensor", LITE, _is_rest, "Paddle-Lite reads a size of -1 as the whole axis"),
    _Fault("roll", LITE, _is_a_line, "Paddle-Lite does not roll the flattened tensor"),
    _Fault("set_value", EVERY, _is_mask, "exporters do not write into boolean tensors"),
    _Fault("set_value", frozenset({ONNX}), _writes_from_the_end, "paddle2onnx counts dynamic axes from the front only"),
    _Fault("set_value", frozenset({ONNX}), _is_narrow, "paddle2onnx needs a value with the tensor's number of axes"),
    _Fault("set_value", frozenset({ONNX}), _has_new_axes, "paddle2onnx does not support new axes"),
    _Fault("set_value", LITE, _computed(*_BOUNDS), "Paddle-Lite supports constant bounds only"),
    _Fault("split", LITE, _computed("SectionsTensorList"), "Paddle-Lite supports constant sections only"),
    _Fault("tile", frozenset({ONNX}), _is_short, "paddle2onnx supports as many numbers as axes only"),
    _Fault("roll", frozenset({ONNX}), _computed("ShiftsTensor"), "paddle2onnx supports constant shifts only"),
)


def known_faults() -> list[tuple[str, frozenset[Target], str]]:
    """Returns every refused operator: type, converters and reason."""
    return [(fault.type, fault.targets, fault.cause) for fault in _FAULTS]


class KnownFaults:
    """Refuses the operators above that the rewrites left; changes nothing."""

    name = "known_faults"
    version = "4"

    def __init__(self, target: Target) -> None:
        self.targets = frozenset({target})
        self._target = target

    def applies(self, program: Program) -> bool:
        return self._first(program) is not None

    def apply(self, program: Program) -> list[str]:
        """Refuses the program.

        Raises:
            UnsupportedModelError: Always; names the operator and its layer.
        """
        op, fault = self._first(program) or (None, None)
        if op is None or fault is None:
            return []
        raise UnsupportedModelError(
            f"{op.type} (layer {layer_of(program, op)}) cannot be exported to {self._target}",
            cause=fault.cause,
            hint="fix a dynamic input size (--input-size WIDTHxHEIGHT), else write this layer differently",
        )

    def _first(self, program: Program) -> tuple[Op, _Fault] | None:
        faults = [fault for fault in _FAULTS if self._target in fault.targets]
        for op in program.compute_ops():
            for fault in faults:
                if op.type == fault.type and fault.is_met(program, op):
                    return op, fault
        return None
