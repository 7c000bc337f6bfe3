"""Determines the meaning of the inputs and outputs of an instance segmentation model.

Outputs are recognized from the graph: after a non-maximum suppression, rows of six numbers are boxes with class and
score, one integer per image is the box count, and 3-D tensors are masks. Inputs other than the image are recognized by
the names that PaddleDetection and PaddleX give them in every export.
"""

from __future__ import annotations

from segexport.errors import UnsupportedModelError
from segexport.exporter.program import Op, Program
from segexport.spec import Semantics, TensorSpec

_INPUTS: dict[str, Semantics] = {"im_shape": "image_size", "scale_factor": "scale_factor"}
_SUPPRESSIONS = ("multiclass_nms", "multiclass_nms2", "multiclass_nms3", "matrix_nms")


def finds_objects(program: Program) -> bool:
    """Whether the program outputs boxes."""
    return any(op.type in _SUPPRESSIONS for op in program.ops) and "boxes" in map(_meaning, program.outputs())


def described(program: Program, source: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Returns the inputs and outputs of an instance segmentation program.

    Args:
        program: A program for which `finds_objects` is true.
        source: The file, for messages.

    Raises:
        UnsupportedModelError: The program has no mask output, or an input that segexport cannot feed.
    """
    inputs = []
    for spec in program.inputs():
        meaning = _INPUTS.get(spec.name, spec.semantics)
        if meaning == "other" or (meaning in _INPUTS.values() and spec.shape[1:] != (2,)):
            raise UnsupportedModelError(
                f"{source}: the input {spec.name!r}, {spec.dtype} {list(spec.shape)}, is unknown",
                cause="detectors are fed `image`, and `im_shape` and `scale_factor` of two numbers each",
                hint="export the model with PaddleDetection 2 or PaddleX 2 or later",
            )
        inputs.append(spec.model_copy(update={"semantics": meaning}))
    outputs = tuple(spec.model_copy(update={"semantics": _meaning(spec)}) for spec in program.outputs())
    found = [spec.semantics for spec in outputs]
    if found.count("instance_masks") != 1 or found.count("boxes") != 1:
        shapes = ", ".join(f"{spec.dtype} {list(spec.shape)}" for spec in outputs)
        raise UnsupportedModelError(
            f"{source}: it finds boxes, but gives no mask of each",
            cause=f"its outputs are {shapes}; [objects, 6] and [objects, height, width] are expected",
            hint="export a model with a mask head, such as PaddleDetection's mask_rcnn configurations",
        )
    return tuple(inputs), outputs


def num_classes(program: Program) -> int:
    """Returns the number of classes of the non-maximum suppression without background; 0 if unknown."""
    for op in program.ops:
        if op.type in _SUPPRESSIONS and program.fetch_names:
            shape = program.shape(op.input("Scores") or "")
            axis = 1  # [boxes, classes] for one image, or [images, classes, boxes]
            if len(shape) > axis and shape[axis] > 1 and _is_last(program, op):
                return shape[axis] - (0 <= op.attr("background_label", -1) < shape[axis])
    return 0


def _is_last(program: Program, op: Op) -> bool:
    """Whether no other suppression follows; the first stage's proposals have no class."""
    return [other for other in program.ops if other.type in _SUPPRESSIONS][-1] is op


def _meaning(spec: TensorSpec) -> Semantics:
    if len(spec.shape) == 2 and spec.shape[1] == 6 and spec.dtype.startswith("float"):
        return "boxes"
    if len(spec.shape) == 3 and spec.semantics in ("other", "class_index"):
        return "instance_masks"
    if len(spec.shape) == 1 and spec.dtype.startswith("int"):
        return "box_count"
    return spec.semantics
