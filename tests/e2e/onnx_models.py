"""ONNX files that are wrong in one way each, for the size of the built-in example."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

SIZE = 128


def save(
    path: Path,
    nodes: Sequence,
    constants: dict[str, np.ndarray],
    *,
    outputs: Sequence[tuple[str, str, list]] = (("y", "float32", [1, 2, SIZE, SIZE]),),
    inputs: Sequence[tuple[str, str, list]] = (("x", "float32", [1, 3, SIZE, SIZE]),),
) -> Path:
    """Writes a graph; nodes are (operator, inputs, outputs, attributes)."""
    from onnx import TensorProto, helper, numpy_helper, save_model

    def value(name: str, dtype: str, shape: list):
        return helper.make_tensor_value_info(name, getattr(TensorProto, _ONNX_NAME.get(dtype, dtype.upper())), shape)

    graph = helper.make_graph(
        [node if not isinstance(node, tuple) else helper.make_node(*node[:3], **node[3]) for node in nodes],
        "test",
        [value(*spec) for spec in inputs],
        [value(*spec) for spec in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    save_model(model, str(path))
    return path


_ONNX_NAME = {"float32": "FLOAT"}


def kernel(classes: int, seed: int | None = 0) -> np.ndarray:
    """(classes, 3, 1, 1) random weights, or zeros where `seed` is None."""
    if seed is None:
        return np.zeros((classes, 3, 1, 1), np.float32)
    return np.random.default_rng(seed).normal(size=(classes, 3, 1, 1)).astype(np.float32)


def constant(path: Path) -> Path:
    return save(path, [("Conv", ["x", "w"], ["y"], {})], {"w": kernel(2, None)})


def not_a_number(path: Path) -> Path:
    """0 / 0 in every pixel."""
    nodes = [("Conv", ["x", "w"], ["z"], {}), ("Div", ["z", "z"], ["y"], {})]
    return save(path, nodes, {"w": kernel(2, None)})


def infinite_in_one_pixel(path: Path) -> Path:
    bias = np.zeros((1, 2, SIZE, SIZE), np.float32)
    bias[0, 1, 5, 7] = np.inf
    nodes = [("Conv", ["x", "w"], ["z"], {}), ("Add", ["z", "b"], ["y"], {})]
    return save(path, nodes, {"w": kernel(2), "b": bias})


def one_class_too_many(path: Path) -> Path:
    return save(
        path, [("Conv", ["x", "w"], ["y"], {})], {"w": kernel(3)}, outputs=[("y", "float32", [1, 3, SIZE, SIZE])]
    )


def class_index_out_of_range(path: Path) -> Path:
    nodes = [
        ("Conv", ["x", "w"], ["z"], {}),
        ("ArgMax", ["z"], ["m"], {"axis": 1, "keepdims": 0}),
        ("Add", ["m", "seven"], ["y"], {}),
    ]
    constants = {"w": kernel(2), "seven": np.array(7, np.int64)}
    return save(path, nodes, constants, outputs=[("y", "int64", [1, SIZE, SIZE])])


def negative_class_index(path: Path) -> Path:
    nodes = [
        ("Conv", ["x", "w"], ["z"], {}),
        ("ArgMax", ["z"], ["m"], {"axis": 1, "keepdims": 0}),
        ("Sub", ["m", "seven"], ["y"], {}),
    ]
    constants = {"w": kernel(2), "seven": np.array(7, np.int64)}
    return save(path, nodes, constants, outputs=[("y", "int64", [1, SIZE, SIZE])])


def half_size(path: Path) -> Path:
    return save(
        path,
        [("Conv", ["x", "w"], ["y"], {"strides": [2, 2]})],
        {"w": kernel(2)},
        outputs=[("y", "float32", [1, 2, SIZE // 2, SIZE // 2])],
    )


def smaller_input(path: Path) -> Path:
    return save(
        path,
        [("Conv", ["x", "w"], ["y"], {})],
        {"w": kernel(2)},
        inputs=[("x", "float32", [1, 3, 64, 64])],
        outputs=[("y", "float32", [1, 2, 64, 64])],
    )


def takes_doubles(path: Path) -> Path:
    return save(
        path,
        [("Cast", ["x"], ["f"], {"to": 1}), ("Conv", ["f", "w"], ["y"], {})],
        {"w": kernel(2)},
        inputs=[("x", "double", [1, 3, SIZE, SIZE])],
    )


def random_from_run_to_run(path: Path) -> Path:
    nodes = [("RandomNormal", [], ["y"], {"shape": [1, 2, SIZE, SIZE]}), ("Conv", ["x", "w"], ["unused"], {})]
    return save(
        path,
        nodes,
        {"w": kernel(2)},
        outputs=[("y", "float32", [1, 2, SIZE, SIZE]), ("unused", "float32", [1, 2, SIZE, SIZE])],
    )


def endless(path: Path) -> Path:
    """A loop of 2^62 rounds around a convolution."""
    from onnx import TensorProto, helper

    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still"]),
            helper.make_node("Cos", ["state"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, 2, SIZE, SIZE]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1, 2, SIZE, SIZE]),
        ],
    )
    nodes = [
        ("Conv", ["x", "w"], ["z"], {}),
        helper.make_node("Loop", ["rounds", "true", "z"], ["y"], body=body),
    ]
    return save(path, nodes, {"w": kernel(2), "rounds": np.array(2**62), "true": np.array(True)})


def no_segmentation(path: Path) -> Path:
    nodes = [("Conv", ["x", "w"], ["z"], {}), ("ReduceMean", ["z"], ["y"], {"axes": [2, 3], "keepdims": 0})]
    return save(path, nodes, {"w": kernel(2)}, outputs=[("y", "float32", [1, 2])])
