"""`segexport.load`: predict and evaluate on the built-in model, and on small nets whose answers are known."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path

import numpy as np
import pytest
from installed import require
from PIL import Image

import segexport
from segexport.artifact import Manifest, TargetDevice, file_entry, read_artifact, write_artifact
from segexport.commands.run import DEMO_RECIPE
from segexport.data.dataset import Dataset
from segexport.errors import EnvironmentMissingError, InputError
from segexport.exporter.from_paddle import ImportOptions
from segexport.spec import Format, Precision, Preprocess, TensorSpec
from segexport.ui.pictures import default_labels

DEMO = DEMO_RECIPE.parent
IMAGE = DEMO / "data" / "images" / "tile_00.png"


@pytest.fixture(scope="module")
def demo(shared_cache):
    require("paddle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGEXPORT_CACHE", str(shared_cache))
        with segexport.load(DEMO / "model") as model:
            yield model


def artifact_of(
    folder: Path, nodes, constants, *, channels=2, semantics="probability", classes=2, **preprocess
) -> Path:
    """An ONNX artifact with any input size, from nodes that make `y` of `x`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    mask = semantics == "class_index"
    shape = [1, "h", "w"] if mask else [1, channels, "h", "w"]
    dtype = TensorProto.INT64 if mask else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("y", dtype, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    net = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(net)
    folder.mkdir(parents=True)
    onnx.save(net, folder / "model.onnx")
    output = TensorSpec(
        name="y",
        dtype="int64" if mask else "float32",
        shape=(1, -1, -1) if mask else (1, channels, -1, -1),
        layout="NHW" if mask else "NCHW",
        semantics=semantics,
    )
    manifest = Manifest(
        name=folder.name,
        format=Format.ONNX,
        files=(file_entry(folder, "model.onnx"),),
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 3, -1, -1), layout="NCHW", semantics="image"),),
        outputs=(output,),
        preprocess=Preprocess(**{"mean": (0, 0, 0), "std": (1, 1, 1), **preprocess}),
        labels=default_labels([f"class {index}" for index in range(classes)]),
        target=TargetDevice(arch="any", precision=Precision.FP32),
    )
    write_artifact(folder, manifest)
    return folder


def telling_size(folder: Path) -> Path:
    """Its "probabilities" are the height and the width of its input, so that they can be read off the score map."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "sides"], ["both"]),
        helper.make_node("Cast", ["both"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["numbers", "column"], ["each"]),
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "each"], ["y"]),
    ]
    constants = {"sides": np.array([2, 3]), "column": np.array([1, 2, 1, 1]), "zero": np.zeros(1, np.float32)}
    return artifact_of(folder, nodes, constants, geometry=({"op": "resize", "width": 10, "height": 6},))


def of_red(folder: Path, *, single: bool = False, argmax: bool = False, wide: bool = False, **preprocess) -> Path:
    """The logit of class 1 is 8 * red - 4 and that of class 0 is none; `wide` takes the mean of 3x3 pixels."""
    from onnx import helper

    channels = 1 if single else 2
    size = 3 if wide else 1
    weights = np.zeros((channels, 3, size, size), np.float32)
    weights[-1, 0] = 8 / size**2
    bias = np.zeros(channels, np.float32)
    bias[-1] = -4
    end = "scores" if argmax else "y"
    nodes = [helper.make_node("Conv", ["x", "w", "b"], [end], pads=[size // 2] * 4)]
    if argmax:
        nodes.append(helper.make_node("ArgMax", ["scores"], ["y"], axis=1, keepdims=0))
    semantics = "class_index" if argmax else "logits"
    return artifact_of(folder, nodes, {"w": weights, "b": bias}, channels=channels, semantics=semantics, **preprocess)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def size_seen(model, image, **options) -> tuple[int, int]:
    """(width, height) of the net's input."""
    (found,) = model.predict(image, **options)
    assert found.label_map.shape == image.shape[:2]
    height, width = found.score_map[0, 0]
    return int(width), int(height)


# -- the functions of the Python API ---------------------------------------------------------------------------


def test_predict_and_evaluate_in_one_call(tmp_path):
    require("onnx", "onnxruntime")
    net, data = of_red(tmp_path / "net"), tmp_path / "data"
    data.mkdir()
    image = np.zeros((4, 6, 3), np.uint8)
    image[:, 2:, 0] = 255  # two of three columns are red
    Image.fromarray(image).save(data / "a.png")
    Image.fromarray(np.repeat([[0, 0, 0, 1, 1, 1]], 4, axis=0).astype(np.uint8)).save(data / "a_label.png")
    (data / "val.txt").write_text("a.png a_label.png\n")
    (result,) = segexport.predict(net, data / "a.png", tmp_path / "out", kind="mask")
    assert result.label_map[0].tolist() == [0, 0, 1, 1, 1, 1]
    (saved,) = (tmp_path / "out").iterdir()
    assert np.array_equal(np.asarray(Image.open(saved)), result.label_map)
    found = segexport.evaluate(net, data=data)
    assert found.values["category_iou"] == pytest.approx([2 / 3, 3 / 4])
    assert "confusion_matrix" not in found.values
    assert segexport.evaluate(net, data=data, details=True).values["confusion_matrix"] == [[8, 4], [0, 12]]


def test_inspect_describes_a_program_and_an_export(tmp_path):
    require("onnx")
    described = segexport.inspect(DEMO / "model")
    assert described.program is not None
    assert {"onnx", "paddle-lite"} <= {found.target.split(" ")[0] for found in described.program.targets}
    assert described.program.parameter_count > 0
    export = segexport.inspect(of_red(tmp_path / "net"))
    assert (export.program, export.manifest.format) == (None, Format.ONNX)


# -- target_size -----------------------------------------------------------------------------------------------


def test_target_size_of_predict_before_that_of_load_before_the_model(tmp_path):
    require("onnx", "onnxruntime")
    path, image = telling_size(tmp_path / "net"), noise(20, 30)
    with segexport.load(path) as model:
        assert size_seen(model, image) == (10, 6)
        assert size_seen(model, image, target_size=None) == (10, 6)
        assert size_seen(model, image, target_size=-1) == (30, 20)
        assert size_seen(model, image, target_size=16) == (16, 16)
        assert size_seen(model, image, target_size=(12, 8)) == (12, 8)
        assert size_seen(model, image, target_size=[12, 8]) == (12, 8)
        assert size_seen(model, image) == (10, 6)
    with segexport.load(path, target_size=(14, 9)) as model:
        assert size_seen(model, image) == (14, 9)
        assert size_seen(model, image, target_size=-1) == (30, 20)
        assert size_seen(model, image, target_size=7) == (7, 7)
    with segexport.load(path, target_size=-1) as model:
        assert size_seen(model, image) == (30, 20)


@pytest.mark.parametrize("size", [0, -2, (3,), (3, 0), (1, 2, 3), "512", 1.5, True])
def test_target_sizes_that_are_none(demo, size):
    with pytest.raises(InputError, match="target_size is") as caught:
        demo.predict(IMAGE, target_size=size)  # at once, not when the first result is asked for
    assert caught.value.cause == "it is -1, a number of pixels, or (width, height)"
    with pytest.raises(InputError, match="target_size is"):
        segexport.load(DEMO / "model", target_size=size)


def test_a_size_that_the_net_does_not_take(demo):
    with pytest.raises(InputError, match=r"but the model's input 'x' takes 128x128") as caught:
        list(demo.predict(IMAGE, target_size=64))
    assert "fixed input size" in caught.value.cause
    with pytest.raises(InputError, match="takes 128x128"):
        list(demo.predict(noise(20, 30), target_size=-1))
    assert len(list(demo.predict(IMAGE, target_size=(128, 128)))) == 1


# -- results ---------------------------------------------------------------------------------------------------


def test_predict_by_hand(tmp_path):
    require("onnx", "onnxruntime")
    image = np.zeros((1, 3, 3), np.uint8)
    image[0, :, 2] = (0, 255, 127)  # red is the last channel of BGR
    expected = [1 / (1 + np.exp(4)), 1 / (1 + np.exp(-4)), 1 / (1 + np.exp(4 - 8 * 127 / 255))]
    for single in (False, True):
        with segexport.load(of_red(tmp_path / f"net_{single}", single=single)) as model:
            (found,) = model.predict(image)
        assert found.label_map.tolist() == [[0, 1, 0]]
        assert found.label_map.dtype == np.uint8
        np.testing.assert_allclose(found.score_map[0, :, 1], expected, rtol=1e-5)
        np.testing.assert_allclose(found.score_map.sum(axis=2), 1, rtol=1e-6)


def test_scores_sum_to_one_and_the_mask_is_that_without_scores(demo):
    image = noise(100, 75)
    (scored,) = demo.predict(image)
    assert scored.score_map.shape == (100, 75, 2)
    assert scored.score_map.dtype == np.float32
    np.testing.assert_allclose(scored.score_map.sum(axis=2), 1, atol=1e-5)
    (plain,) = demo.predict(image, score_map=False)
    assert plain.score_map is None
    assert np.array_equal(plain.label_map, scored.label_map)


def test_an_argmax_head_has_no_scores(tmp_path):
    require("onnx", "onnxruntime")
    image = noise(9, 8)
    with segexport.load(of_red(tmp_path / "net", argmax=True)) as model:
        (found,) = model.predict(image)
        assert found.score_map is None
        assert np.array_equal(found.label_map, image[:, :, 2] >= 128)
        with pytest.raises(InputError, match="tiles are averaged by their scores, and this model has none") as caught:
            model.predict(image, slice_size=4)
    assert "argmax" in caught.value.cause


def test_a_generator_of_results_with_files(demo, tmp_path):
    folder = DEMO / "data" / "images"
    results = demo.predict([folder, str(IMAGE), np.zeros((8, 9), np.uint8)], batch_size=4, score_map=False)
    assert next(results).input_path == str(sorted(folder.iterdir())[0])
    rest = list(results)
    assert len(rest) == 17
    last = rest[-1]
    assert (last.input_path, last.label_map.shape) == ("array_0", (8, 9))
    assert rest[-2].save_to_img(tmp_path) == tmp_path / "tile_00.png"
    assert rest[-2].save_to_json(tmp_path) == tmp_path / "tile_00.json"
    assert Image.open(tmp_path / "tile_00.png").size == Image.open(IMAGE).size


# -- windows ---------------------------------------------------------------------------------------------------


def test_a_window_that_covers_the_image_is_the_image(demo):
    image = noise(90, 110)
    (whole,) = demo.predict(image)
    for window in (110, (110, 90), (5000, 5000)):
        (sliced,) = demo.predict(image, slice_size=window)
        assert np.array_equal(sliced.score_map, whole.score_map)
        assert np.array_equal(sliced.label_map, whole.label_map)


@pytest.mark.parametrize("window", [7, (16, 5), (1, 1), (40, 3)])
def test_windows_cover_every_pixel_once_or_averaged(tmp_path, window):
    """A net that looks at single pixels gives the same in every window."""
    require("onnx", "onnxruntime")
    image = noise(21, 33)
    with segexport.load(of_red(tmp_path / "net")) as model:
        (whole,) = model.predict(image)
        (sliced,) = model.predict(image, slice_size=window)
    np.testing.assert_allclose(sliced.score_map, whole.score_map, atol=1e-6)
    assert np.array_equal(sliced.label_map, whole.label_map)


def test_scores_of_two_windows_are_averaged_where_they_overlap(tmp_path):
    """By hand: 3x3 means of a white image are smaller at the edges of each window, where padding is counted in."""
    require("onnx", "onnxruntime")
    image = np.full((3, 7, 3), 255, np.uint8)
    with segexport.load(of_red(tmp_path / "net", wide=True)) as model:
        (found,) = model.predict(image, slice_size=(4, 3))
    inner, edge = (1 / (1 + np.exp(4 - 8 * share)) for share in (1, 6 / 9))
    # windows 0..3 and 3..6: pixel 3 is the right edge of one and the left edge of the other
    np.testing.assert_allclose(found.score_map[1, :, 1], [edge, inner, inner, edge, inner, inner, edge], rtol=1e-5)


@pytest.mark.parametrize("window", [0, (3, -1), "7x7", (1, 2, 3), -1])
def test_windows_that_are_none(demo, window):
    with pytest.raises(InputError, match="slice_size is") as caught:
        demo.predict(IMAGE, slice_size=window)
    assert caught.value.cause == "it is a number of pixels, or (width, height)"


def test_a_batch_of_nothing(demo):
    with pytest.raises(InputError, match="batch_size is 0"):
        demo.predict(IMAGE, batch_size=0)


# -- evaluate --------------------------------------------------------------------------------------------------


def test_metrics_are_those_of_scikit_learn(demo):
    metrics = pytest.importorskip("sklearn.metrics")
    data = Dataset.open(DEMO / "data", "all")
    truth, predicted = [], []
    for sample, found in zip(data, demo.predict(DEMO / "data" / "images", score_map=False), strict=True):
        assert sample.name.endswith(Path(found.input_path).name)
        counted = sample.label != 255
        truth.append(sample.label[counted])
        predicted.append(found.label_map[counted])
    truth, predicted = np.concatenate(truth), np.concatenate(predicted)

    found, details = demo.evaluate(DEMO / "data", split="all", return_details=True)
    assert {"miou", "category_iou", "macc", "category_acc", "kappa"} <= set(found)
    assert details == {"confusion_matrix": metrics.confusion_matrix(truth, predicted, labels=[0, 1]).tolist()}
    iou = metrics.jaccard_score(truth, predicted, average=None)
    assert found["category_iou"] == pytest.approx(iou.tolist(), abs=1e-12)
    assert found["miou"] == pytest.approx(iou.mean(), abs=1e-12)
    recall = metrics.recall_score(truth, predicted, average=None)
    assert found["category_acc"] == pytest.approx(recall.tolist(), abs=1e-12)
    assert found["macc"] == pytest.approx(metrics.balanced_accuracy_score(truth, predicted), abs=1e-12)
    assert found["pixel_accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted), abs=1e-12)
    assert found["kappa"] == pytest.approx(metrics.cohen_kappa_score(truth, predicted), abs=1e-12)


def test_evaluate_takes_a_data_set_too(demo):
    folder = DEMO / "data"
    by_path = demo.evaluate(str(folder), batch_size=2)
    assert isinstance(by_path, dict)
    assert demo.evaluate(Dataset.open(folder, "val")) == by_path
    assert demo.evaluate(folder, split="train") != by_path


def test_ignored_pixels_do_not_count(tmp_path):
    require("onnx", "onnxruntime")
    data = tmp_path / "data"
    data.mkdir()
    image = np.zeros((1, 4, 3), np.uint8)
    image[0, :, 0] = (0, 255, 255, 255)
    Image.fromarray(image).save(data / "a.png")
    Image.fromarray(np.array([[0, 1, 0, 255]], np.uint8)).save(data / "a_label.png")
    (data / "val.txt").write_text("a.png a_label.png\n")
    (data / "labels.txt").write_text("none\nred\n")
    with segexport.load(of_red(tmp_path / "net")) as model:
        found, details = model.evaluate(data, return_details=True)
    assert details["confusion_matrix"] == [[1, 1], [0, 1]]
    assert found["category_iou"] == [0.5, 0.5]
    assert (found["miou"], found["macc"]) == (0.5, 0.75)


def broken_copy(tmp_path: Path, name: str, content: bytes) -> Path:
    data = tmp_path / "data"
    shutil.copytree(DEMO / "data", data)
    (data / name).write_bytes(content)
    return data


def test_after_an_error_the_model_gives_the_right_answers(demo, tmp_path):
    """The worker was running another image when the broken one was read; its result is dropped."""
    entries = Dataset.open(DEMO / "data", "all").entries
    data = broken_copy(tmp_path, entries[3].image, b"broken")
    (before,) = demo.predict(IMAGE)
    for _ in range(2):
        with pytest.raises(InputError, match=f"{Path(entries[3].image).name}.*not an image"):
            demo.evaluate(data, split="all")
        gc.collect()
        (after,) = demo.predict(IMAGE)
        assert np.array_equal(after.label_map, before.label_map)


def test_data_that_cannot_be_evaluated(demo, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        demo.evaluate(tmp_path / "gone")
    data = broken_copy(tmp_path, "labels.txt", b"a\nb\nc\n")
    with pytest.raises(InputError, match=r"the model has 2 classes, .* has 3"):
        demo.evaluate(data)
    with pytest.raises(InputError, match="the images have no labels"):
        demo.evaluate(DEMO / "data" / "images")


# -- devices ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["npu:0", "gpu:x", "cpu:1", "", "GPU"])
def test_an_unknown_device_is_refused_with_those_that_are_here(tmp_path, device):
    require("onnx", "onnxruntime")
    with pytest.raises(InputError) as caught:
        segexport.load(of_red(tmp_path / "net"), device=device)
    assert caught.value.what.startswith(f"device {device!r}: onnxruntime here has cpu")


def test_a_runtime_that_is_missing_is_said(tmp_path, monkeypatch):
    from segexport.runtimes import ort
    from segexport.runtimes.base import Availability

    require("onnx")
    monkeypatch.setattr(ort.OnnxRuntime, "probe", lambda self: Availability(False, reason="no such module", hint="pip"))
    with pytest.raises(EnvironmentMissingError, match="onnxruntime: no such module"):
        segexport.load(of_red(tmp_path / "net"), device="gpu:0")


# -- batches ---------------------------------------------------------------------------------------------------


def free_batch(folder: Path) -> Path:
    """`of_red` for batches of any size."""
    import onnx

    path = of_red(folder)
    net = onnx.load(path / "model.onnx")
    for value in (*net.graph.input, *net.graph.output):
        value.type.tensor_type.shape.dim[0].ClearField("dim_value")
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(net, path / "model.onnx")
    manifest = read_artifact(path, verify=False).manifest

    def freed(specs):
        return tuple(spec.model_copy(update={"shape": (-1, *spec.shape[1:])}) for spec in specs)

    files = (file_entry(path, "model.onnx"),)
    update = {"files": files, "inputs": freed(manifest.inputs), "outputs": freed(manifest.outputs)}
    write_artifact(path, manifest.model_copy(update=update))
    return path


def sent_sizes(model, monkeypatch) -> list[int]:
    """How many images each run of the worker had."""
    sizes, send = [], model._session._worker.send

    def noted(command, arguments=None, arrays=(), **options):
        sizes.append(len(arrays[0]))
        return send(command, arguments, arrays, **options)

    monkeypatch.setattr(model._session._worker, "send", noted)
    return sizes


@pytest.mark.parametrize("score_map", [True, False])
def test_a_batch_is_one_run_and_gives_what_single_images_give(tmp_path, monkeypatch, score_map):
    require("onnx", "onnxruntime")
    images = [noise(8, 9), noise(8, 9)[::-1].copy(), noise(8, 9)[:, ::-1].copy(), noise(5, 9), noise(8, 9)]
    with segexport.load(free_batch(tmp_path / "net")) as model:
        single = list(model.predict(images, score_map=score_map))
        sizes = sent_sizes(model, monkeypatch)
        together = list(model.predict(images, batch_size=2, score_map=score_map))
    assert sizes == [2, 1, 1, 1]  # the fourth has another size
    for one, other in zip(single, together, strict=True):
        assert one.input_path == other.input_path
        assert np.array_equal(one.label_map, other.label_map)
        assert score_map is False or np.allclose(one.score_map, other.score_map, atol=1e-6)


def test_evaluate_in_batches(tmp_path, monkeypatch):
    require("onnx", "onnxruntime")
    with segexport.load(free_batch(tmp_path / "net")) as model:
        one = model.evaluate(DEMO / "data", split="all", return_details=True)
        sizes = sent_sizes(model, monkeypatch)
        assert model.evaluate(DEMO / "data", batch_size=5, split="all", return_details=True) == one
    assert sizes == [5, 5, 5, 1]


def test_an_export_for_single_images_runs_them_one_by_one(tmp_path, monkeypatch):
    require("onnx", "onnxruntime")
    with segexport.load(of_red(tmp_path / "net")) as model:
        sizes = sent_sizes(model, monkeypatch)
        assert len(list(model.predict([noise(8, 9)] * 3, batch_size=3))) == 3
    assert sizes == [1, 1, 1]


def test_several_devices_for_one_export_are_refused(tmp_path):
    require("onnx", "onnxruntime")
    with pytest.raises(InputError, match="device 'gpu:0,1': one export runs on one device"):
        segexport.load(of_red(tmp_path / "net"), device="gpu:0,1")


def test_what_an_export_does_not_say_can_be_told(tmp_path):
    require("paddle")
    shutil.copytree(DEMO / "model", tmp_path / "export")
    (tmp_path / "export" / "deploy.yaml").unlink()
    told = ImportOptions(labels=("nothing", "nucleus"), mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5))
    with segexport.load(tmp_path / "export", importing=told) as model:
        assert [label.name for label in model.artifact.manifest.labels] == ["nothing", "nucleus"]
        assert model.artifact.manifest.preprocess.mean == (0.1, 0.2, 0.3)
        artifact = model.artifact.path
    with pytest.raises(InputError, match="--mean, --std, --labels cannot be given for an artifact"):
        segexport.load(artifact, importing=told)
