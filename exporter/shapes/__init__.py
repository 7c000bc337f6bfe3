"""Sizes of every variable from the sizes of the inputs, without running anything.

A size may stay free (-1). Sizes that the program computes from shapes (`shape`, `slice`, arithmetic on integers) are
followed as values where they are known. The rules lie in a module per family: `windows`, `shape_ops`, `math_ops`.
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

__all__ = [
    "MAX_IMAGE_SIDE",
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
