"""What the inputs and outputs of a detector with masks mean.

Outputs are read off the graph: behind a non-maximum suppression, rows of six numbers are boxes with class and score,
one integer for each image counts them, and what has three axes holds their masks. Inputs beside the image are known by
the names that PaddleDetection and PaddleX give them in every export.
"""

from __future__ import annotations

from segexport.errors import UnsupportedModelError
from segexport.exporter.program import Op, Program
from segexport.spec import Semantics, TensorSpec

_INPUTS: dict[str, Semantics] = {"im_shape": "image_size", "scale_factor": "scale_factor"}
_SUPPRESSIONS = ("multiclass_nms", "multiclass_nms2", "multiclass_nms3", "matrix_nms")


def finds_objects(program: Program) -> bool:
    """Whether boxes come out of the program."""
    return any(op.type in _SUPPRESSIONS for op in program.ops) and "boxes" in map(_meaning, program.outputs())


def described(program: Program, source: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of a program for instance segmentation.

    Args:
        program: One that `finds_objects`.
        source: The file, for messages.

    Raises:
        UnsupportedModelError: It has no mask output, or an input that segexport cannot feed.
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
    """Number of classes of the non-maximum suppression, without the background; 0 if unknown."""
    for op in program.ops:
        if op.type in _SUPPRESSIONS and program.fetch_names:
            shape = program.shape(op.input("Scores") or "")
            axis = 1  # [boxes, classes] of one image, or [images, classes, boxes]
            if len(shape) > axis and shape[axis] > 1 and _is_last(program, op):
                return shape[axis] - (0 <= op.attr("background_label", -1) < shape[axis])
    return 0


def _is_last(program: Program, op: Op) -> bool:
    """Whether no other suppression comes behind; the first stage's proposals are of no class."""
    return [other for other in program.ops if other.type in _SUPPRESSIONS][-1] is op


def _meaning(spec: TensorSpec) -> Semantics:
    if len(spec.shape) == 2 and spec.shape[1] == 6 and spec.dtype.startswith("float"):
        return "boxes"
    if len(spec.shape) == 3 and spec.semantics in ("other", "class_index"):
        return "instance_masks"
    if len(spec.shape) == 1 and spec.dtype.startswith("int"):
        return "box_count"
    return spec.semantics
