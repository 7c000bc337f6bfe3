"""Fake quantization by hand-computed values, and the whole way: train, export, quantize, compare."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import paddle
import programs
import pytest
from paddle import nn

from segexport.artifact import Manifest, ModelArtifact, TargetDevice, file_entry, read_artifact, write_artifact
from segexport.check.audit import audit
from segexport.compress.live_program import LiveProgram
from segexport.compress.qat import Qat
from segexport.compress.qat_program import QuantizedProgram, RoundToGrid, round_weight
from segexport.data.dataset import Dataset
from segexport.errors import InputError, WorkerFailed
from segexport.exporter.calibrate import Calibrate
from segexport.exporter.onnx_quantize import QuantizeOnnx
from segexport.exporter.quantization_ranges import CONVOLUTIONS, Grid, Ranges
from segexport.exporter.to_onnx import ToOnnx
from segexport.exporter.to_paddle_lite import ToPaddleLite
from segexport.pipeline.step import StepContext
from segexport.recipe.calibration import Calibration
from segexport.runtimes.base import RunOptions
from segexport.spec import Format, Label, Precision, Preprocess


def tensor(*values, trains=False) -> paddle.Tensor:
    return paddle.to_tensor(np.array(values, np.float32), stop_gradient=not trains)


# -- rounding ----------------------------------------------------------------------------------------------------------


def test_values_go_to_the_grid_and_gradients_are_those_of_lsq():
    """Scale 0.5, zero point 2: the grid is -1, -0.5, ... 126.5."""
    x = tensor(0.3, -1.4, 200.0, 0.76, trains=True)
    scale = tensor(0.5, trains=True)
    y = RoundToGrid.apply(x, scale, tensor(2.0))
    np.testing.assert_allclose(y.numpy(), [0.5, -1.0, 126.5, 1.0])
    (y * tensor(1.0, 10.0, 100.0, 1000.0)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [1.0, 0.0, 0.0, 1000.0])
    # inside: round(v) - v, for v = 0.6 and 1.52; outside: the ends -2 and 253; one value an image: 1 / sqrt(255)
    expected = (0.4 * 1 - 2 * 10 + 253 * 100 + 0.48 * 1000) / math.sqrt(255)
    np.testing.assert_allclose(scale.grad.numpy(), [expected], rtol=1e-5)


def test_what_does_not_train_gets_no_gradient():
    x = tensor(0.3, 0.9)
    scale = tensor(0.5, trains=True)
    RoundToGrid.apply(x, scale, tensor(0.0)).sum().backward()
    assert x.grad is None
    assert scale.grad is not None


def test_weights_have_127_steps_of_each_channel_and_pass_the_gradient():
    weight = paddle.to_tensor(np.array([[127.0, 0.4, -63.6], [1.27, 0.004, -0.636]], np.float32), stop_gradient=False)
    rounded = round_weight(weight, axis=0)
    np.testing.assert_allclose(rounded.numpy(), [[127, 0, -64], [1.27, 0, -0.64]], rtol=1e-6)
    (rounded * paddle.to_tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])).sum().backward()
    np.testing.assert_allclose(weight.grad.numpy(), [[1, 2, 3], [4, 5, 6]])


def test_a_norm_behind_is_folded_before_rounding_and_taken_out_again():
    """All channels share a range once the factor is in it; on a transposed convolution the channels are axis 1."""
    weight = paddle.to_tensor(np.array([[1.0, 0.3], [0.5, 1.0]], np.float32))
    factor = tensor(-2.0, 0.0)
    rounded = round_weight(weight, axis=1, factor=factor).numpy()
    np.testing.assert_allclose(rounded[:, 0], [1.0, 64 / 127], rtol=1e-6)  # steps of 2 / 127: 63.5 rounds to 64
    np.testing.assert_allclose(rounded[:, 1], [38 / 127, 1.0], rtol=1e-6)  # the channel whose factor is 0


# -- the program -------------------------------------------------------------------------------------------------------


class Small(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Conv2D(3, 8, 3, padding=1, bias_attr=False), nn.BatchNorm2D(8), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2D(8, 8, 3, padding=1, groups=8), nn.BatchNorm2D(8), nn.ReLU())
        self.drop, self.head = nn.Dropout(0.5), nn.Conv2D(8, 3, 1)

    def forward(self, x):
        first = self.one(x)
        return self.head(self.drop(first + self.two(first)))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    paddle.seed(7)
    return programs.export(programs.randomize_norms(Small()), tmp_path_factory.mktemp("net"), [1, 3, 32, 32])


def quantized(program, **options) -> QuantizedProgram:
    relus = [op.output("Out") for op in program.ops if op.type == "relu"]
    grids = {name: Grid(scale=0.02, zero_point=0) for name in relus} | {
        program.feed_names[0]: Grid(scale=0.02, zero_point=128)
    }
    weights = [op.output("Output") for op in program.ops if op.type in CONVOLUTIONS]
    return QuantizedProgram(program, ranges=Ranges(tensors=grids), weights=weights, **options)


def test_norms_and_dropout_stay_as_the_export_has_them(small):
    net = quantized(small)
    net.train()
    x = paddle.to_tensor(np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32))
    before = net.program().params
    first, again = net(x), net(x)
    np.testing.assert_array_equal(first.numpy(), again.numpy())
    first.sum().backward()
    for name, value in net.program().params.items():
        np.testing.assert_array_equal(value, before[name])
    live = LiveProgram(small)
    live.eval()
    assert float((first - live(x)).abs().max()) > 1e-4  # and it rounds


def test_every_rounded_tensor_lies_on_its_grid(small):
    net = quantized(small)
    x = paddle.to_tensor(np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32))
    relus = [op.output("Out") for op in small.ops if op.type == "relu"]
    _, kept = net.run([x], keep=relus)
    for value in kept.values():
        steps = value.numpy() / 0.02
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
        assert steps.max() <= 255.001


def test_scales_are_learned_and_kept_with_the_checkpoint(small):
    net = quantized(small)
    names = [name for name in net.trained_names() if name.startswith("grid ")]
    assert len(names) == 3
    assert net.ranges().tensors[small.feed_names[0]].scale == pytest.approx(0.02)
    net.tensor(names[0]).set_value(net.tensor(names[0]) + math.log(2.0))
    doubled = names[0].removeprefix("grid ").removesuffix(" log_scale")
    assert net.ranges().tensors[doubled].scale == pytest.approx(0.04)
    assert set(net.program().params) == set(small.params)  # the exported program holds none of it


def test_observed_ranges_follow_the_batches(small):
    """From (-2.56, 2.54), a batch within (-5.0, 5.0) moves each end a hundredth of the way."""
    net = quantized(small, moving="observed")
    x = np.zeros((1, 3, 32, 32), np.float32)
    x[0, 0, 0, :2] = -5.0, 5.0
    low, high = -2.56 * 0.99 - 0.05, 2.54 * 0.99 + 0.05
    net(paddle.to_tensor(x))
    grid = net.ranges().tensors[small.feed_names[0]]
    assert grid.scale == pytest.approx((high - low) / 255, rel=1e-5)
    assert grid.zero_point == round(-low / grid.scale)
    with paddle.no_grad():
        net(paddle.to_tensor(x))
    assert net.ranges().tensors[small.feed_names[0]] == grid  # measuring moves nothing
    assert not [name for name in net.trained_names() if name.startswith("grid ")]


# -- the whole way -----------------------------------------------------------------------------------------------------


def write_images(root: Path, count: int = 6, constant: bool = False) -> Dataset:
    random = np.random.RandomState(0)
    for index in range(count):
        image = cv2.resize(random.randint(0, 255, (8, 8, 3)).astype(np.uint8), (32, 32))
        image = np.full_like(image, 40 * index) if constant else image
        cv2.imwrite(str(root / f"image{index}.png"), image)
    (root / "train.txt").write_text("".join(f"image{index}.png\n" for index in range(count)))
    return Dataset.open(root, "train")


def artifact(program, folder: Path, preprocess: Preprocess | None = None) -> ModelArtifact:
    folder.mkdir()
    model, params = program.write(folder)
    manifest = Manifest(
        name="small",
        format=Format.PADDLE,
        files=(file_entry(folder, model.name), file_entry(folder, params.name, "params")),
        inputs=tuple(program.inputs()),
        outputs=tuple(program.outputs()),
        preprocess=preprocess or Preprocess(),
        labels=tuple(Label(id=index, name=f"c{index}", rgb=(index, 0, 0)) for index in range(3)),
        target=TargetDevice(arch="any", precision=Precision.FP32),
    )
    return write_artifact(folder, manifest)


def made(step, source: ModelArtifact, folder: Path, context: StepContext) -> ModelArtifact:
    folder.mkdir()
    write_artifact(folder, step.run(source, folder, context))
    return read_artifact(folder)  # every file against its recorded digest


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    pytest.importorskip("paddle2onnx")
    root = tmp_path_factory.mktemp("qat")
    (root / "data").mkdir()
    context = StepContext(data=write_images(root / "data"), key="test-qat")
    options = {"steps": 4, "batch_size": 2, "save_dir": str(root / "training"), "calibration": Calibration(images=4)}
    found = {"fp32": artifact(small, root / "source"), "context": context}
    found["qat"] = made(Qat(Qat.Params(**options)), found["fp32"], root / "trained", context)
    found["onnx"] = made(ToOnnx(), found["qat"], root / "onnx", context)
    found["int8"] = made(
        QuantizeOnnx(Calibration(images=2, bias_correction=True)), found["onnx"], root / "int8", context
    )
    return found


def test_the_export_takes_the_trained_ranges(trained):
    learned, passed = Ranges.of(trained["qat"]), Ranges.of(trained["onnx"])
    assert len(learned.tensors) == len(passed.tensors) >= 4
    assert set(learned.tensors) != set(passed.tensors) or learned == passed  # under the names of the ONNX file
    entry = trained["int8"].manifest.lineage[-1]
    count = len(learned.tensors)
    assert any(note.startswith(f"{count} of {count} ranges are those") for note in entry.notes)
    assert any("neither equalized nor bias-corrected" in note for note in entry.notes)
    assert [step.step for step in trained["int8"].manifest.lineage] == ["qat", "to_onnx", "onnx_int8"]
    assert "convolutions are rounded to int8" in " ".join(trained["int8"].manifest.lineage[0].notes)


def test_what_was_trained_is_what_runs(trained, small):
    """The int8 export in ONNX Runtime gives what the training saw, but for the rounding of biases and ties."""
    ort = pytest.importorskip("onnxruntime")
    qat = trained["qat"]
    from segexport.exporter.program import read

    program = read(qat.file("model"), qat.file("params"))
    weights = [op.output("Output") for op in program.ops if op.type in CONVOLUTIONS]
    net = QuantizedProgram(program, ranges=Ranges.of(qat), weights=weights)
    session = ort.InferenceSession(str(trained["int8"].file("model")), providers=["CPUExecutionProvider"])
    plain = ort.InferenceSession(str(trained["onnx"].file("model")), providers=["CPUExecutionProvider"])
    step = max(grid.scale for grid in Ranges.of(qat).tensors.values())
    for seed in range(3):
        x = np.clip(np.random.default_rng(seed).normal(size=(1, 3, 32, 32)), -1, 1).astype(np.float32)
        with paddle.no_grad():
            seen = net(paddle.to_tensor(x)).numpy()
        feed = {session.get_inputs()[0].name: x}
        ran, exact = session.run(None, feed)[0], plain.run(None, feed)[0]
        assert np.abs(seen - ran).mean() < 0.25 * np.abs(exact - ran).mean()
        assert np.abs(seen - ran).max() <= 2.5 * step


def test_the_audit_sees_int8_in_every_convolution(trained):
    tensors = [np.zeros((1, 3, 32, 32), np.float32)]
    assert audit(trained["int8"], [tensors], RunOptions()).check.value == 1.0


def test_paddle_lite_runs_in_int8_from_the_same_ranges(trained, tmp_path):
    pytest.importorskip("paddlelite")
    step = ToPaddleLite(ToPaddleLite.Params(precision=Precision.INT8))
    lite = made(step, trained["qat"], tmp_path / "lite", trained["context"])
    found = audit(lite, [[np.zeros((1, 3, 32, 32), np.float32)]], RunOptions())
    assert found.check.value == 1.0
    assert found.operators["int8"] == {"conv2d": 2, "depthwise_conv2d": 1}
    assert lite.file("model").stat().st_size < lite.file("host_model").stat().st_size


def test_paddle_lite_calibrates_where_no_ranges_are(trained, tmp_path):
    calibration = Calibration(images=3, agreement=0.0)
    step = ToPaddleLite(ToPaddleLite.Params(precision=Precision.INT8, calibration=calibration))
    assert step.uses_data
    with pytest.raises(InputError, match="needs images, and none are given"):
        made(step, trained["fp32"], tmp_path / "none", StepContext())
    lite = made(step, trained["fp32"], tmp_path / "lite", trained["context"])
    assert "int8: 3 of 3 convolutions have a range for their input" in lite.manifest.lineage[-1].notes
    assert not ToPaddleLite().uses_data


def test_calibrate_changes_no_weight(trained, tmp_path):
    found = made(Calibrate(Calibration(images=3)), trained["fp32"], tmp_path / "ranges", trained["context"])
    assert found.file("params").read_bytes() == trained["fp32"].file("params").read_bytes()
    assert set(Ranges.of(found).tensors) == set(Ranges.of(trained["qat"]).tensors)


def test_damaged_ranges_are_refused(trained, tmp_path):
    for number, text in enumerate(("", "{}", '{"tensors": {"x": {"scale": 0, "zero_point": 3}}}', "[" * 3000)):
        folder = tmp_path / str(number)
        folder.mkdir()
        for entry in trained["qat"].manifest.files:
            (folder / entry.path).write_bytes((trained["qat"].path / entry.path).read_bytes())
        (folder / "ranges.json").write_text(text)
        broken = ModelArtifact(folder, trained["qat"].manifest)
        with pytest.raises(InputError, match=r"ranges\.json: no ranges of a quantized model"):
            Ranges.of(broken)
        write_artifact(folder, trained["qat"].manifest)
        with pytest.raises(InputError, match="not the file that"):
            read_artifact(folder)


# -- bad data ----------------------------------------------------------------------------------------------------------


def test_images_of_one_colour_are_refused_before_the_work(trained, tmp_path):
    (tmp_path / "flat").mkdir()
    context = StepContext(data=write_images(tmp_path / "flat", constant=True))
    for step in (QuantizeOnnx(), Qat()):
        source = trained["onnx"] if isinstance(step, QuantizeOnnx) else trained["fp32"]
        with pytest.raises(InputError, match="all 6 calibration images are of a single colour"):
            made(step, source, tmp_path / step.kind, context)


def test_few_or_equal_images_are_a_warning(trained, tmp_path):
    (tmp_path / "data").mkdir()
    data = write_images(tmp_path / "data", 3)
    (tmp_path / "data/image1.png").write_bytes((tmp_path / "data/image0.png").read_bytes())
    cv2.imwrite(str(tmp_path / "data/image2.png"), np.full((32, 32, 3), 9, np.uint8))
    onnx = made(ToOnnx(), trained["fp32"], tmp_path / "onnx", StepContext())
    notes = made(QuantizeOnnx(), onnx, tmp_path / "a", StepContext(data=data)).manifest.lineage[-1].notes
    assert "warning: 1 of 3 calibration images are of a single colour (image2.png)" in notes
    assert "warning: 3 calibration images, 2 different ones among them" in notes
    notes = made(QuantizeOnnx(Calibration(images=1)), onnx, tmp_path / "b", StepContext(data=data.subset(1)))
    assert notes.manifest.lineage[-1].notes[-1].startswith("warning: calibrated on one image")


def test_weights_that_are_nan_are_named(small, tmp_path):
    pytest.importorskip("paddle2onnx")
    (tmp_path / "data").mkdir()
    broken = small.copy()
    name = next(op.input("Filter") for op in small.ops if op.type == "conv2d")
    value = broken.params[name].copy()
    value[0, 0, 0, 0] = np.nan
    broken.params[name] = value
    source = artifact(broken, tmp_path / "source")
    context = StepContext(data=write_images(tmp_path / "data"))
    onnx = made(ToOnnx(ToOnnx.Params(simplify=False)), source, tmp_path / "onnx", context)
    with pytest.raises(WorkerFailed, match="contains NaN or infinity"):
        made(QuantizeOnnx(), onnx, tmp_path / "int8", context)


def test_labels_of_other_classes_are_not_needed(trained, tmp_path):
    """3 classes against 2: the head must stay, so labels are left out, or refused where a loss wants them."""
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((32, 32, 3), 50 + index, np.uint8))
        cv2.imwrite(str(tmp_path / f"label{index}.png"), np.zeros((32, 32), np.uint8))
    (tmp_path / "train.txt").write_text("0.png label0.png\n1.png label1.png\n")
    (tmp_path / "labels.txt").write_text("a\nb\n")
    context = StepContext(data=Dataset.open(tmp_path, "train"), validation=Dataset.open(tmp_path, "train"))
    found = Qat()._with_own_classes(trained["fp32"], context)
    assert not found.data.labelled
    assert found.validation is None
    with pytest.raises(InputError, match="labels of 2 classes, the model has 3"):
        Qat(Qat.Params(losses={"cross_entropy": 1})).run(trained["fp32"], tmp_path, context)


def test_the_log_tells_of_every_step(trained):
    lines = (trained["qat"].path / "training.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
    assert all(json.loads(line)["kl"] > 0 for line in lines)  # the float original is the teacher
