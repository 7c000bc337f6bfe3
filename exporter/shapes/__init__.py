"""Infers the shape of every variable from the input shapes without running the program.

A size may stay dynamic (-1). Sizes that the program computes from shapes (`shape`, `slice`, integer arithmetic) are
tracked as values if they are known. Each family of rules has a module: `windows`, `shape_ops`, `math_ops`.
"""

from segexport.exporter.shapes.context import Dims, NoRule, broadcast
from segexport.exporter.shapes.inference import (
    MAX_IMAGE_SIDE,
    ShapeInference,
    fix_input_shape,
    follow_input_shape,
    infer_shapes,
    known_values,
    output_sizes,
    settled,
    with_input_shape,
)
from segexport.exporter.shapes.math_ops import SAME

__all__ = [
    "MAX_IMAGE_SIDE",
    "SAME",
    "Dims",
    "NoRule",
    "ShapeInference",
    "broadcast",
    "fix_input_shape",
    "follow_input_shape",
    "infer_shapes",
    "known_values",
    "output_sizes",
    "settled",
    "with_input_shape",
]
