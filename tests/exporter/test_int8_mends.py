"""What is done if int8 changes too much: which attempts, in which order, and what is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from int8_weights import weights_of  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from quantizer_options import asked  # noqa: E402

from segexport.exporter import mending, onnx_quantize  # noqa: E402
from segexport.pipeline.step import StepContext  # noqa: E402

pytestmark = pytest.mark.usefixtures("importable_workers")


# -- the order of the attempts -----------------------------------------------------------------------------------------


class Scripted:
    """A worker whose model has these errors: quantized, equalized, and with operators in float."""

    def __init__(self, plain: float, equalized: float, mixed: float) -> None:
        self.errors = {False: plain, True: equalized}
        self.mixed, self.equalized, self.calls = mixed, False, []

    def call(self, command, arguments, _tensors=(), **_limits):
        self.calls.append(command)
        if command == "begin":
            self.equalized = bool(arguments["equalize"])
            return {"pairs": 1}, []
        if command == "observe":
            return {"finite": True}, []
        error = self.errors[self.equalized]
        found = {"errors": {"mse": error}, "method": "mse", "surveyed": 2, "levels": 0, "equalized": self.equalized}
        if command == "keep_float":
            better = self.mixed < error
            found |= {"float": ["a"] if better else [], "mended": better, "share": 0.1, "before": error}
            found |= {"error": min(error, self.mixed), "wide": 0}
        return found, []


def mended(plain: float, equalized: float, mixed: float, *, equalize: bool | None = None):
    """The worker after the attempts, what is shipped, and the notes."""
    worker, notes = Scripted(plain, equalized, mixed), []
    arguments = {"equalize": equalize, "bias_correction": False}

    def feed():
        yield "image", []

    first = onnx_quantize._calibrated(worker, arguments, feed, 1, StepContext())
    worker.calls.clear()
    _, found = onnx_quantize._mended(worker, arguments, first, feed, 1, StepContext(), notes)
    return worker, found, notes


def test_equalization_comes_first_because_it_costs_no_time_in_the_model():
    worker, found, notes = mended(26.0, 0.5, 0.1)
    assert worker.calls == ["begin", "observe", "quantize"]  # good enough: nothing is surveyed
    assert found["equalized"]
    assert len(notes) == 1


def test_float_operators_come_last_on_top_of_what_equalization_gained():
    worker, found, notes = mended(26.0, 2.5, 0.3)
    assert worker.calls == ["begin", "observe", "quantize", "survey", "survey", "keep_float"]
    assert (found["equalized"], found["float"]) == (True, ["a"])
    assert "2.5" in notes[0]
    assert "in int8 2.5" in notes[1]


def test_an_equalization_that_makes_it_worse_is_taken_back():
    worker, found, notes = mended(3.0, 5.0, 0.3)
    assert worker.calls == ["begin", "observe", "quantize"] * 2 + ["survey", "survey", "keep_float"]
    assert (found["equalized"], found["error"]) == (False, 0.3)
    assert "not equalized" in notes[0]


def test_the_best_of_what_was_tried_is_shipped_even_if_it_is_not_good():
    _, found, notes = mended(26.0, 2.5, 7.0)
    assert (found["equalized"], found["float"], found["error"]) == (True, [], 2.5)
    assert len(notes) == 1


@pytest.mark.parametrize("equalize", [True, False])
def test_what_the_user_decides_is_not_tried(equalize):
    worker, _, _ = mended(26.0, 26.0, 0.3, equalize=equalize)
    assert worker.calls == ["survey", "survey", "keep_float"]


# -- classes that change -----------------------------------------------------------------------------------------------


def coarse(path: Path) -> list[np.ndarray]:
    """Scores of four classes, of which the first convolution decides: its channels have very different scales."""
    random = np.random.default_rng(0)
    scale = np.array([1, 1, 1, 1, 6, 6, 6, 6], np.float32)
    first = random.normal(size=(8, 3, 3, 3)).astype("f4") * scale.reshape(-1, 1, 1, 1)
    second = random.normal(size=(8, 8, 1, 1)).astype("f4") / scale.reshape(1, -1, 1, 1) ** 1.5
    third = random.normal(size=(4, 8, 1, 1)).astype("f4")
    weights = [numpy_helper.from_array(value, name) for name, value in (("w0", first), ("w1", second), ("w2", third))]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "w1"], ["b"], "second"),
        helper.make_node("Relu", ["b"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "w2"], ["y"], "third"),
    ]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, c, 24, 24]) for name, c in (("x", 3), ("y", 4))]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return [random.normal(size=(1, 3, 24, 24)).astype("f4") for _ in range(4)]


def rounded(tmp_path, **options):
    """A worker with a quantized model whose weights are rounded, and its images."""
    import onnx_quantize_worker as worker

    images = coarse(tmp_path / "f.onnx")
    given = asked(**{"axes": {"y": 1}, "rounding": "compensated", "agreement": 0.995} | options)
    worker.begin({"fp32": str(tmp_path / "f.onnx"), "scratch": str(tmp_path), **given}, [])
    for index, image in enumerate(images):
        worker.observe({"keep": "held" if index == 3 else "kept"}, [image])
    found, _ = worker.quantize({}, [])
    assert found["errors"]["mse"] <= 1  # not far off
    for turn in range(found["turns"]):
        worker.round_weights({"turn": turn}, [])
    return worker, found


def kept_float(worker, monkeypatch, int8: float, mixed: float):
    """What is judged, and what stays float, if all in int8 and every mix take these shares of the float time."""
    from roofline import Roofline

    judged, _ = worker.judge({}, [])
    assert not judged["enough"]
    assert judged["agreement"] < 0.995
    for _ in range(judged["surveyed"]):
        worker.survey({}, [])
    assert worker.judge({}, [])[0]["surveyed"] == 0  # nothing is surveyed twice
    times, chosen = {0: 1.0}, len(worker._state["chosen"])
    times |= {chosen: int8}
    monkeypatch.setattr(Roofline, "nanoseconds", lambda _self, names: times.get(len(names), mixed))
    return judged, worker.keep_float({"agreeing": True}, [])[0]


def test_operators_stay_float_until_the_classes_agree(tmp_path, monkeypatch):
    worker, found = rounded(tmp_path)
    before, after = kept_float(worker, monkeypatch, 0.5, 0.74)
    assert after["mended"]
    assert after["float"]
    assert set(after["chosen"]) < set(found["chosen"])
    assert after["saved"] == pytest.approx(0.52)
    assert worker.judge({}, [])[0]["agreement"] > before["agreement"]
    whole = worker.weights({}, [])
    worker.save({"out": str(tmp_path / "int8.onnx")}, [])
    saved = weights_of(onnx.load(tmp_path / "int8.onnx"))
    kept = [name for name in after["chosen"] if name in whole[0]["names"]]
    assert kept
    for name, value in zip(whole[0]["names"], whole[1], strict=True):
        if name in kept:  # the weights that were rounded before, not new ones
            np.testing.assert_array_equal(numpy_helper.to_array(saved[name].whole), value)


def test_time_that_int8_saves_is_not_given_away(tmp_path, monkeypatch):
    worker, found = rounded(tmp_path)
    before, after = kept_float(worker, monkeypatch, 0.5, 0.76)  # more than half of what was saved
    assert (after["mended"], after["float"], after["chosen"]) == (False, [], found["chosen"])
    assert worker.judge({}, [])[0]["agreement"] == before["agreement"]


@pytest.mark.parametrize(
    ("saved", "told"),
    [(0.52, "52% of the time that int8 saves is left"), (1.4, "as fast as int8"), (None, "as fast as int8")],
)
def test_what_float_operators_cost_is_told(saved, told):
    assert mending._time_of(saved) == told


def test_outputs_without_classes_are_not_judged(tmp_path):
    worker, _ = rounded(tmp_path, axes={})
    assert worker.judge({}, [])[0] == {"agreement": None, "error": None, "enough": True, "surveyed": 0}


# -- weights that 4 bits are too few for -------------------------------------------------------------------------------


def bits_of(path: Path) -> dict[str, int]:
    bits = {TensorProto.INT8: 8, TensorProto.INT4: 4}
    return {name: bits[held.whole.data_type] for name, held in weights_of(onnx.load(path)).items()}


def test_layers_get_eight_bits_where_four_cost_the_outputs_most(tmp_path, monkeypatch):
    worker, found = rounded(tmp_path, weight_bits=4, ends=4)
    before, after = kept_float(worker, monkeypatch, 0.5, 0.76)  # float would be too slow
    assert after["mended"]
    assert (after["float"], after["chosen"]) == ([], found["chosen"])
    assert worker.judge({}, [])[0]["agreement"] > before["agreement"]
    worker.save({"out": str(tmp_path / "mixed.onnx")}, [])
    bits = bits_of(tmp_path / "mixed.onnx")
    assert bits["first"] == 4  # more than half of the weights
    assert sorted(bits.values()).count(8) == after["wide"] > 0
    sizes = {"first": 216, "second": 64, "third": 32}
    assert after["wide_share"] == pytest.approx(sum(sizes[name] for name in bits if bits[name] == 8) / 312)


def test_a_layer_of_eight_bits_is_what_it_is_in_int8(tmp_path, monkeypatch):
    for name, bits in (("int8", 8), ("mixed", 4)):
        worker, _ = rounded(tmp_path, weight_bits=bits, ends=4)
        if bits == 4:
            kept_float(worker, monkeypatch, 0.5, 0.76)
        worker.save({"out": str(tmp_path / f"{name}.onnx")}, [])
    plain, mixed = (weights_of(onnx.load(tmp_path / f"{name}.onnx")) for name in ("int8", "mixed"))
    same = [name for name, bits in bits_of(tmp_path / "mixed.onnx").items() if bits == 8]
    assert same
    for name in same:
        for one, other in ((plain[name].whole, mixed[name].whole), (plain[name].scale, mixed[name].scale)):
            np.testing.assert_array_equal(numpy_helper.to_array(one), numpy_helper.to_array(other))


def test_outputs_without_classes_that_four_bits_put_far_off_are_mended(tmp_path):
    worker, _ = rounded(tmp_path, axes={}, weight_bits=4, ends=4)
    judged, _ = worker.judge({}, [])
    assert judged["error"] > 1
    assert not judged["enough"]
    assert judged["surveyed"] == 6  # three layers, with 4 and 8 bits
    for _ in range(judged["surveyed"]):
        worker.survey({}, [])
    after, _ = worker.keep_float({"agreeing": False}, [])
    assert after["mended"]
    assert worker.judge({}, [])[0]["error"] < judged["error"]


@pytest.mark.parametrize("axes", [{"y": 1}, {}], ids=["classes", "scores"])
def test_stored_weights_get_eight_bits_where_four_cost_the_outputs_most(tmp_path, axes):
    import onnx_weights_worker as worker
    from narrow_weights import narrow_products

    images = coarse(tmp_path / "f.onnx")
    given = asked(weight_bits=4, ends=4, group_size=0, rounding="compensated", axes=axes, agreement=0.99)
    worker.begin({"fp32": str(tmp_path / "f.onnx"), "scratch": str(tmp_path), **given}, [])
    for index, image in enumerate(images):
        worker.gather({"turn": 0, "image": index, "keep": index < 3}, [image])
    worker.round_weights({"turn": 0}, [])
    judged, _ = worker.judge({}, [])
    assert not judged["enough"]
    assert judged["surveyed"] == 3
    for _ in range(judged["surveyed"]):
        worker.survey({}, [])
    after, _ = worker.keep_float({"agreeing": judged["agreement"] is not None}, [])
    assert after["mended"]
    again, _ = worker.judge({}, [])
    assert again["error"] < judged["error"]
    worker.save({"out": str(tmp_path / "stored.onnx")}, [])
    model = onnx.load(tmp_path / "stored.onnx")
    narrow, wide = narrow_products(model), narrow_products(model, TensorProto.INT8)
    assert "first" in narrow  # more than half of the weights
    assert len(wide) == after["wide"] > 0
    sizes = {"first": 216, "second": 64, "third": 32}
    assert after["wide_share"] == pytest.approx(sum(sizes[name] for name in wide) / 312)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (3.0, ["warning: 4-bit weights put outputs far off: outputs on calibration images have 3 of the error"]),
        (0.5, []),
    ],
)
def test_outputs_that_stay_far_off_are_a_warning(error, said):
    class Judges:
        def call(self, command, _arguments, **_limits):
            if command == "judge":
                return {"agreement": None, "error": error, "enough": error <= 1, "surveyed": 0}, []
            return {"mended": False}, []

    notes = []
    mending.agreeing(Judges(), {}, StepContext(), notes)
    assert [note.split(" that is")[0] for note in notes] == said


def test_the_classes_of_the_worst_output_count():
    from output_comparison import OutputComparison

    both = np.array([[[0.0, 1.0, 1.0, 1.0]], [[1.0, 0.0, 0.0, 0.0]]], np.float32)[None]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, 1, 4]) for name in ("x", "y", "z")]
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:])
    floats = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    shifted = onnx.ModelProto()
    shifted.CopyFrom(floats)
    bias = np.zeros((1, 2, 1, 4), np.float32)
    bias[0, 0, 0, 0] = -5.0  # of `z`, one pixel in four gets the other class
    shifted.graph.initializer.append(numpy_helper.from_array(bias, "bias"))
    shifted.graph.node[1].output[0] = "t"
    shifted.graph.node.append(helper.make_node("Add", ["t", "bias"], ["z"]))

    def agreement(axes, folder=None):
        import tempfile

        from output_comparison import store

        with tempfile.TemporaryDirectory() as scratch:
            store(f"{scratch}/0.npz", [both])
            return OutputComparison(floats, axes).agreement(shifted, [f"{scratch}/0.npz"])

    flipped = float(np.mean((-both).argmax(1) != (-both + bias).argmax(1)))
    assert agreement({"y": 1, "z": 1}) == pytest.approx(1 - flipped)
    assert agreement({"y": 1}) == 1.0
    assert agreement({}) is None


# -- int8 products that float operators leave alone --------------------------------------------------------------------


def test_a_product_between_float_operators_becomes_float_as_well():
    from float_layers import kept_in_float

    alone, shares = {"a": 0.5, "b": 6.0, "c": 0.1}, {"a": 0.2, "b": 0.1, "c": 0.1}
    calls = []

    def measured(names):
        calls.append(list(names))
        return 0.2

    found = kept_in_float(
        alone, shares, 6.6, measured, target=1.0, most=0.5, lone=lambda names: ["a"] if "b" in names else []
    )
    assert found == (["b", "a"], 0.2)
    kept_in_float(alone, shares, 6.6, measured, target=1.0, most=0.2, lone=lambda _names: ["a"])
    assert calls == [["b", "a"], ["b"]]  # over the budget, it stays


def test_which_products_are_left_alone(tmp_path):
    from int8_operators import lone_products

    coarse(tmp_path / "f.onnx")
    model = onnx.load(tmp_path / "f.onnx")
    assert lone_products(model, {"first", "third"}) == ["first", "third"]
    assert lone_products(model, {"first", "second", "relu"}) == []
    assert lone_products(model, {"second", "relu"}) == ["second"]  # its ReLU is a part of it
    assert lone_products(model, {"second", "relu", "third"}) == []


def test_a_product_that_was_alone_before_is_not_one_of_them(tmp_path, monkeypatch):
    """Between float operators from the start, it saves what it saved."""
    import mixed_precision

    images = coarse(tmp_path / "f.onnx")
    mixed = mixed_precision.MixedPrecision(onnx.load(tmp_path / "f.onnx"), {"float_operators": [], "float_nodes": []})
    seen = []

    def kept_in_float(_alone, _costs, before, _measured, *, lone, **_options):
        seen.append((lone(["first"]), lone(["first", "second"])))
        return [], before

    monkeypatch.setattr(mixed_precision, "kept_in_float", kept_in_float)
    for chosen in ({"first", "second", "relu", "third"}, {"first", "third"}):
        assert mixed.choose(chosen, 9.0, lambda *_: (None, None), lambda _: 0.0, images[:1], agreeing=True) is None
    assert seen == [([], ["third"]), ([], [])]


def test_what_is_float_already_is_added_to():
    from float_layers import kept_in_float

    alone = {"a": 4.0, "b": 3.0, "c": 1.0}
    calls = []

    def measured(names):
        calls.append(list(names))
        return 0.4

    found = kept_in_float(alone, dict.fromkeys(alone, 0.1), 4.0, measured, target=0.5, most=0.5, kept=["a"])
    assert found == (["a", "b", "c"], 0.4)
    assert all(names[0] == "a" for names in calls)


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (lambda _names: True, ["a", "slow", "c"]),
        (lambda names: "slow" not in names, ["a", "c", "d"]),  # the next ones instead
        (lambda names: len(names) != 2, ["a", "slow", "c"]),  # a part of a set may be slower than the whole
        (lambda names: len(names) < 2, ["a"]),
        (lambda _names: False, []),
    ],
)
def test_a_smaller_set_is_taken_if_one_is_too_slow(allowed, expected):
    from float_layers import kept_in_float

    alone = {"a": 6.0, "slow": 3.0, "c": 1.0, "d": 0.5}

    def measured(names):
        return 10.5 - sum(alone[name] for name in names)

    found = kept_in_float(alone, dict.fromkeys(alone, 0.1), 10.5, measured, target=0.6, most=0.5, allowed=allowed)
    assert found == (expected, measured(expected))


# -- candidates are corrected as the model that they are compared with -------------------------------------------------


def test_a_mix_is_corrected_as_int8_was(tmp_path, monkeypatch):
    """Compared without correction, a mix loses to a corrected int8 model by errors that its own correction removes."""
    from roofline import Roofline

    monkeypatch.setattr(Roofline, "nanoseconds", lambda _self, _int8: 1.0)
    worker, found = rounded(tmp_path, bias_correction=True)
    for level in range(found["levels"]):
        worker.correct({"level": level}, [])
    judged, _ = worker.judge({}, [])
    for _ in range(judged["surveyed"]):
        worker.survey({}, [])
    after, _ = worker.keep_float({"agreeing": True}, [])
    assert after["mended"]
    shipped = worker._state["int8"].SerializeToString()
    plain = worker._quantized("mse")
    assert shipped != plain.SerializeToString()
    again, correction = worker._state["correction"].corrected(plain)
    assert shipped == again.SerializeToString()
    assert after["correction"] == correction
    assert correction["levels"] == len(worker._state["corrector"].levels)
    assert after["error"] == worker._state["outputs"].disagreement(again)


# -- bias correction by its own measurement ----------------------------------------------------------------------------


@pytest.mark.parametrize(("images", "kept", "held"), [(32, 16, 8), (64, 16, 8), (8, 6, 2), (3, 3, 0), (1, 1, 0)])
def test_no_image_that_judges_a_correction_is_one_that_made_it(images, kept, held):
    found = [onnx_quantize.kept_as(index, images, hold=True) for index in range(images)]
    assert (found.count("kept"), found.count("held")) == (kept, held)
    assert "held" not in [onnx_quantize.kept_as(index, images, hold=False) for index in range(images)]


def corrected(tmp_path, change):
    """A correction of a model that was changed before, judged; with the model before the correction."""
    worker, found = rounded(tmp_path, bias_correction=None, rounding="nearest", images=0)
    assert found["levels"] == 3
    change(worker._state)
    before = worker._state["int8"].SerializeToString()
    for level in range(found["levels"]):
        worker.correct({"level": level}, [])
    return worker, worker.corrected({}, [])[0], before


def test_a_correction_that_makes_other_images_worse_is_taken_back(tmp_path):
    def wrong_means(state):
        corrector = state["corrector"]
        corrector._means = {name: mean + 3.0 for name, mean in corrector._means.items()}

    worker, judged, before = corrected(tmp_path, wrong_means)
    assert judged["after"] > judged["before"]
    assert worker._state["int8"].SerializeToString() == before
    worker.save({"out": str(tmp_path / "int8.onnx")}, [])
    saved = onnx.load(tmp_path / "int8.onnx")
    assert [len(node.input) for node in saved.graph.node if node.op_type == "Conv"] == [2, 2, 2]  # no zeros are left
    assert not [value.name for value in saved.graph.initializer if value.data_type == onnx.TensorProto.INT32]


def test_a_correction_that_helps_other_images_is_kept(tmp_path):
    def shift(state):
        held = next(value for value in state["int8"].graph.initializer if value.name == "y_zero_bias_quantized")
        held.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(held) + np.int32(5000), held.name))

    worker, judged, before = corrected(tmp_path, shift)
    assert judged["after"] < 0.1 * judged["before"]
    assert worker._state["int8"].SerializeToString() != before


def test_what_a_correction_adds_is_told(tmp_path):
    worker, _ = rounded(tmp_path, bias_correction=None, rounding="nearest", images=0)
    assert worker.biases({}, []) == ({"names": []}, [])
    constants = {value.name: value for value in worker._state["int8"].graph.initializer}
    held, scale = (constants[name] for name in ("y_zero_bias_quantized", "y_zero_bias_quantized_scale"))
    held.CopyFrom(numpy_helper.from_array(np.array([0, 300, -7, 1], np.int32), held.name))
    listed, (added,) = worker.biases({}, [])
    assert listed == {"names": ["y"]}
    np.testing.assert_allclose(added, numpy_helper.to_array(scale) * [0, 300, -7, 1], rtol=1e-5)
