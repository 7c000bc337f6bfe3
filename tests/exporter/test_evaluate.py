"""Every rule of the constant evaluator against Paddle itself, all in one program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from graphs import Graph
from toolchain import Toolchain

from segexport.exporter import evaluate as evaluator
from segexport.exporter.evaluate import CannotEvaluate, evaluate
from segexport.exporter.framework_proto import DTYPE_CODE
from segexport.exporter.program import Op
from segexport.exporter.shapes import infer_shapes

_RANDOM = np.random.default_rng(9)
X = _RANDOM.uniform(0.2, 2.0, (2, 3, 4)).astype(np.float32)
Y = _RANDOM.uniform(0.2, 2.0, (3, 4)).astype(np.float32)
U, V = _RANDOM.normal(size=3).astype(np.float32), _RANDOM.normal(size=8).astype(np.float32)  # of X turned to [3, 8]
LOW = np.float32([-1])
WHOLE = np.array([[7, -3, 5], [2, 9, -8]], np.int32)
LOGICAL = np.array([[True, False, True], [False, False, True]])
IMAGE = _RANDOM.normal(size=(1, 2, 5)).astype(np.float32)
INTERP = {"data_layout": "NCHW", "interp_method": "linear", "out_d": -1, "out_h": -1, "scale": []}

# (operator, inputs by slot, attributes, number of outputs)
CASES: list[tuple[str, dict[str, Any], dict[str, Any], int]] = [
    *[(name, {"X": X}, {}, 1) for name in ("sin", "cos", "exp", "log", "sqrt", "abs", "floor", "ceil", "square")],
    *[(name, {"X": X}, {}, 1) for name in ("rsqrt", "tanh", "sigmoid", "relu", "reciprocal", "assign", "share_data")],
    ("relu", {"X": X - 1}, {}, 1),
    ("logical_not", {"X": LOGICAL}, {}, 1),
    ("bitwise_not", {"X": LOGICAL}, {}, 1),
    ("bitwise_not", {"X": WHOLE}, {}, 1),
    *[
        (f"elementwise_{name}", {"X": X, "Y": Y}, {"axis": -1}, 1)
        for name in ("add", "sub", "mul", "div", "pow", "max", "min", "floordiv", "mod")
    ],
    ("elementwise_add", {"X": X, "Y": Y[:, 0].copy()}, {"axis": 1}, 1),
    *[
        (f"elementwise_{name}", {"X": np.abs(WHOLE), "Y": np.array([3], np.int32)}, {"axis": -1}, 1)
        for name in ("div", "floordiv", "mod")
    ],
    *[
        (name, {"X": WHOLE, "Y": WHOLE[::-1].copy()}, {"axis": -1}, 1)
        for name in ("equal", "not_equal", "less_than", "less_equal", "greater_than", "greater_equal")
    ],
    *[
        (name, {"X": LOGICAL, "Y": LOGICAL[::-1].copy()}, {}, 1)
        for name in ("logical_and", "logical_or", "bitwise_and", "bitwise_or")
    ],
    *[
        ("p_norm", {"X": X}, {"porder": order, "axis": 1, "keepdim": keep, "asvector": False, "epsilon": 1e-12}, 1)
        for order, keep in ((2.0, True), (1.0, False), (3.0, False), (float("inf"), True), (float("-inf"), False))
    ],
    ("frobenius_norm", {"X": X}, {"dim": [1, 2], "keep_dim": True, "reduce_all": False}, 1),
    ("p_norm", {"X": X}, {"porder": 2.0, "axis": -1, "keepdim": False, "asvector": True, "epsilon": 1e-12}, 1),
    *[
        ("spectral_norm", {"Weight": X, "U": U, "V": V}, {"dim": 1, "power_iters": rounds, "eps": 1e-12}, 1)
        for rounds in (0, 2)
    ],
    *[
        ("linspace", {"Start": LOW, "Stop": -LOW, "Num": np.array([number], np.int32)}, {"dtype": 5}, 1)
        for number in (1, 2, 7, 16)
    ],
    ("eye", {}, {"num_rows": 3, "num_columns": 4, "dtype": 5}, 1),
    *[("diag_v2", {"X": Y[0].copy()}, {"offset": k, "padding_value": -1.5}, 1) for k in (0, 2, -1)],
    ("diag_v2", {"X": Y}, {"offset": 1, "padding_value": 0.0}, 1),
    *[("tril_triu", {"X": X}, {"diagonal": k, "lower": lower}, 1) for k, lower in ((0, True), (1, False), (-1, True))],
    ("meshgrid", {"X": [Y[0].copy(), Y[1, :3].copy()]}, {}, 2),
    ("unstack", {"X": X}, {"axis": 1, "num": 3}, 3),
    ("unbind", {"X": X}, {"axis": 0}, 2),
    ("flip", {"X": X}, {"axis": [0, 2]}, 1),
    *[
        (
            "strided_slice",
            {"Input": X},
            {"axes": [2], "starts": [start], "ends": [end], "strides": [step], "infer_flags": [1], "decrease_axis": []},
            1,
        )
        for start, end, step in ((2**31 - 1, -1, -1), (3, -1, -2), (-1, -5, -1), (3, 0, -1), (-1, -3, -1), (2, -10, -1))
    ],
    ("mv", {"X": Y, "Vec": Y[0].copy()}, {}, 1),
    ("dot", {"X": Y[0].copy(), "Y": Y[1].copy()}, {}, 1),
    ("dot", {"X": Y, "Y": Y[::-1].copy()}, {}, 1),
    ("fill_constant", {}, {"shape": [2, 3], "dtype": 3, "str_value": "9007199254740993", "value": 0.0}, 1),
    ("fill_constant", {}, {"shape": [2], "dtype": 5, "str_value": "", "value": 1.5}, 1),
    ("fill_any_like", {"X": X}, {"value": 2.5, "dtype": -1}, 1),
    ("fill_any_like", {"X": X}, {"value": 2.0, "dtype": 3}, 1),
    ("size", {"Input": X}, {}, 1),
    ("cast", {"X": X * 3}, {"in_dtype": 5, "out_dtype": 2}, 1),
    ("cast", {"X": WHOLE}, {"in_dtype": 2, "out_dtype": 0}, 1),
    ("reshape2", {"X": X}, {"shape": [0, -1, 2]}, 1),
    ("flatten_contiguous_range", {"X": X}, {"start_axis": 1, "stop_axis": 2}, 1),
    ("squeeze2", {"X": X[:1]}, {"axes": [0]}, 1),
    ("unsqueeze2", {"X": Y}, {"axes": [0, 2]}, 1),
    ("transpose2", {"X": X}, {"axis": [2, 0, 1]}, 1),
    (
        "slice",
        {"Input": X},
        {"axes": [0, 2], "starts": [1, -3], "ends": [2, 100], "decrease_axis": [0], "infer_flags": [1, 1]},
        1,
    ),
    (
        "strided_slice",
        {"Input": X},
        {
            "axes": [1, 2],
            "starts": [2, 0],
            "ends": [-3, 4],
            "strides": [-1, 2],
            "infer_flags": [1, 1],
            "decrease_axis": [],
        },
        1,
    ),
    ("concat", {"X": [X, X * 2]}, {"axis": 1}, 1),
    ("split", {"X": X}, {"axis": 2, "num": 2, "sections": []}, 2),
    ("split", {"X": X}, {"axis": 2, "num": 0, "sections": [1, -1]}, 2),
    ("stack", {"X": [X, X * 2]}, {"axis": 1}, 1),
    ("expand_v2", {"X": Y}, {"shape": [2, -1, 4]}, 1),
    ("tile", {"X": Y}, {"repeat_times": [2, 1, 2]}, 1),
    ("scale", {"X": X}, {"scale": 2.0, "bias": 0.5, "bias_after_scale": True}, 1),
    ("scale", {"X": X}, {"scale": 2.0, "bias": 0.5, "bias_after_scale": False}, 1),
    ("cumsum", {"X": X}, {"axis": 1, "flatten": False, "exclusive": False, "reverse": False}, 1),
    ("shape", {"Input": X}, {}, 1),
    ("gather", {"X": Y, "Index": np.array([2, 0], np.int32)}, {"axis": 0}, 1),
    ("index_select", {"X": Y, "Index": np.array([3, 1], np.int64)}, {"dim": 1}, 1),
    ("take_along_axis", {"Input": Y, "Index": np.array([[3, 1], [0, 0], [2, 3]], np.int64)}, {"Axis": 1}, 1),
    ("roll", {"X": X}, {"shifts": [1, -1], "axis": [1, 2]}, 1),
    ("where", {"Condition": X > 1, "X": X, "Y": -X}, {}, 1),
    ("softmax", {"X": X}, {"axis": 1}, 1),
    ("matmul_v2", {"X": X, "Y": Y}, {"trans_x": False, "trans_y": True}, 1),
    (
        "range",
        {"Start": np.array([1], np.int64), "End": np.array([9], np.int64), "Step": np.array([3], np.int64)},
        {},
        1,
    ),
    ("dropout", {"X": X}, {"dropout_prob": 0.5, "is_test": True, "dropout_implementation": "upscale_in_train"}, 1),
    ("dropout", {"X": X}, {"dropout_prob": 0.25, "is_test": True, "dropout_implementation": "downgrade_in_infer"}, 1),
    *[
        (
            f"reduce_{name}",
            {"X": X},
            {"dim": [1], "keep_dim": keep, "reduce_all": False, "in_dtype": -1, "out_dtype": -1},
            1,
        )
        for name in ("sum", "mean", "max", "min", "prod")
        for keep in (False, True)
    ],
    ("linear_interp_v2", {"X": IMAGE}, {**INTERP, "out_w": 11, "align_corners": False, "align_mode": 0}, 1),
    ("linear_interp_v2", {"X": IMAGE}, {**INTERP, "out_w": 3, "align_corners": False, "align_mode": 1}, 1),
    ("linear_interp_v2", {"X": IMAGE}, {**INTERP, "out_w": 8, "align_corners": True, "align_mode": 0}, 1),
]


def build() -> tuple[Graph, list[tuple[Op, dict[str, np.ndarray]]], list[str]]:
    graph, made, names = Graph(), [], []
    for kind, inputs, attrs, outputs in CASES:
        slots = {slot: value if isinstance(value, list) else [value] for slot, value in inputs.items()}
        named = {slot: [graph.param(v, str(v.dtype)) for v in values] for slot, values in slots.items()}
        slot = {"stack": "Y", "unstack": "Y", "take_along_axis": "Result"}.get(kind, "Out")
        typed = {"scale": ("FLOATS", [])} if kind == "linear_interp_v2" else {}
        typed |= {n: ("INTS", attrs[n]) for n in ("sections", "decrease_axis") if attrs.get(n) == []}
        plain = {name: value for name, value in attrs.items() if name not in typed and name != "dtype"}
        graph.op(kind, named, (), slot=slot, typed=typed, **plain)
        op = graph.last()
        if "dtype" in attrs:
            op.set_attr("dtype", attrs["dtype"])
        op.outputs[slot] += [graph._program.add_var("value", ()) for _ in range(outputs - 1)]
        if kind in ("reshape2", "flatten_contiguous_range", "squeeze2", "unsqueeze2", "transpose2"):
            op.outputs["XShape"] = [graph._program.add_var("shadow", ())]
        if kind == "dropout":
            op.outputs["Mask"] = [graph._program.add_var("mask", (), "uint8")]
        found = evaluate(op, slots)
        for name, value in found.items():
            graph._program.vars[name].dims = value.shape
            graph._program.vars[name].dtype = str(value.dtype)
        made.append((op, found))
        names += list(found)
    return graph, made, names


def test_every_rule_gives_what_paddle_gives(tools: Toolchain) -> None:
    graph, made, names = build()
    extra = graph.feed(1)
    program = graph.program(*names, extra)
    reference = dict(zip([*names, extra], tools.paddle(program, [np.zeros(1, np.float32)]), strict=True))
    wrong = {}
    for op, found in made:
        for name, value in found.items():
            expected = reference[name]
            same = value.shape == expected.shape and value.dtype == expected.dtype
            if not same or not np.allclose(value, expected, rtol=1e-5, atol=1e-6):
                wrong[op.type, str(value.dtype), value.shape] = (str(expected.dtype), expected.shape)
    assert not wrong


def test_every_rule_has_a_case() -> None:
    # set_value and layer_norm are compared in the rewrites' tests and on whole networks, assign_value is a plain list
    assert set(evaluator._RULES) - {kind for kind, *_ in CASES} == {"set_value", "layer_norm", "assign_value"}


def test_inferred_sizes_are_those_of_the_values() -> None:
    graph, made, names = build()
    program = graph.program(*names, graph.feed(1))
    expected = {name: program.shape(name) for name in names}
    for name in names:
        program.vars[name].dims = (-1,) * len(expected[name])
    infer_shapes(program)
    assert {name: program.shape(name) for name in names} == expected
    assert len(made) == len(CASES)


@pytest.mark.parametrize(
    ("op", "inputs"),
    [
        (Op("unknown"), {}),
        (Op("fill_constant", attrs={}), {}),
        (Op("elementwise_add"), {"X": [np.ones(3)], "Y": [np.ones(4)]}),
        (Op("range"), {"Start": [np.array([0])], "End": [np.array([10**15])], "Step": [np.array([1])]}),
        (Op("range"), {"Start": [np.array([0])], "End": [np.array([1])], "Step": [np.array([0])]}),
        (Op("reshape2"), {"X": [np.ones(3)]}),
    ],
)
def test_what_does_not_fit_is_left_alone(op: Op, inputs: dict[str, list[np.ndarray]]) -> None:
    op.outputs = {"Out": ["out"]}
    with pytest.raises(CannotEvaluate):
        evaluate(op, inputs)


def test_dtype_names_are_numpys() -> None:
    for name in DTYPE_CODE:
        assert name == "bfloat16" or np.dtype(name).name == name
