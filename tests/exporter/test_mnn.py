"""Exports to MNN: they compute what their source does, are the same each time, and nothing is sent on the way."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from graphs import Graph
from installed import require, require_worker
from workshop import Workshop

from segexport.artifact import ModelArtifact
from segexport.errors import UnsupportedModelError
from segexport.exporter import to_mnn
from segexport.exporter.mnn_hints import hinted
from segexport.exporter.program import Program
from segexport.exporter.same_as_source import difference, made_inputs, outputs_of
from segexport.pipeline.registry import make_step, target_named
from segexport.pipeline.step import StepContext
from segexport.process.interpreter import interpreter_for
from segexport.runtimes.base import RunOptions
from segexport.runtimes.mnn import MnnRuntime
from segexport.runtimes.ort import OnnxRuntime
from segexport.spec import Precision
from segexport.verdict import Verdict

REPOSITORY = Path(__file__).resolve().parents[2]


def network(seed: int = 0, classes: int = 4, head: str = "logits") -> Program:
    """Three convolutions with a pool between them, and an upsampling back."""
    random, graph = np.random.default_rng(seed), Graph()
    convolution = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1}
    convolution |= {"padding_algorithm": "EXPLICIT", "data_format": "NCHW"}

    def convolved(value: str, given: int, made: int, side: int) -> str:
        weight = graph.param(random.normal(0, 0.3, (made, given, 3, 3)).astype(np.float32))
        inputs = {"Input": value, "Filter": weight}
        return graph.op("conv2d", inputs, (1, made, side, side), slot="Output", **convolution)

    value = graph.op("relu", {"X": convolved(graph.feed(1, 3, 32, 32), 3, 16, 32)}, (1, 16, 32, 32))
    pool = {"pooling_type": "max", "ksize": [2, 2], "strides": [2, 2], "paddings": [0, 0], "global_pooling": False}
    pool |= {"adaptive": False, "ceil_mode": False, "exclusive": True}
    pool |= {"padding_algorithm": "EXPLICIT", "data_format": "NCHW"}
    value = graph.op("pool2d", {"X": value}, (1, 16, 16, 16), **pool)
    value = graph.op("relu", {"X": convolved(value, 16, 16, 16)}, (1, 16, 16, 16))
    value = convolved(value, 16, classes, 16)
    resize = {"interp_method": "bilinear", "align_corners": False, "align_mode": 0, "out_h": 32, "out_w": 32}
    resize |= {"data_layout": "NCHW", "scale": [], "out_d": -1}
    value = graph.op("bilinear_interp_v2", {"X": value}, (1, classes, 32, 32), **resize)
    if head == "argmax":
        types = {"dtype": ("INT", 2), "axis": ("LONG", 1)}
        shape = (1, 32, 32)
        value = graph.op("arg_max", {"X": value}, shape, dtype="int32", typed=types, keepdims=False, flatten=False)
    return graph.program(value)


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    require("paddle2onnx", "onnx", "onnxruntime")
    require_worker("MNN")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="module")
def source(workshop) -> ModelArtifact:
    return workshop.made(make_step("to_onnx", {}), workshop.imported(network()))


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-4), ("fp16", 1e-2)])
def test_an_export_computes_what_its_source_does(workshop, source, precision, limit):
    made = workshop.made(make_step("to_mnn", {"half": precision == "fp16"}), source)
    inputs = [made_inputs(source.manifest, 3)]
    ((expected,),), ((found,),) = (
        outputs_of(one, runtime, inputs, StepContext())
        for one, runtime in ((source, OnnxRuntime()), (made, MnnRuntime()))
    )
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= limit * np.abs(expected).max()
    assert made.manifest.target.precision == precision
    audit = target_named("mnn").audit(made, inputs, RunOptions(), MnnRuntime())
    assert audit.check.verdict is Verdict.PASS, audit.check.message
    assert audit.operators["fp32"]["Convolution"] == 3


def test_int8_computes_with_our_ranges_and_weights(workshop, source):
    quantized = workshop.made(make_step("onnx_int8", {}), source)
    made = workshop.made(make_step("to_mnn", {}), quantized)
    inputs = [made_inputs(source.manifest, 3)]
    ((exact,),), ((ours,),), ((found,),) = (
        outputs_of(one, runtime, inputs, StepContext())
        for one, runtime in ((source, OnnxRuntime()), (quantized, OnnxRuntime()), (made, MnnRuntime()))
    )
    assert np.abs(found - ours).mean() < 0.01 * np.abs(exact).max()
    assert np.abs(found - exact).mean() <= 1.2 * np.abs(ours - exact).mean()
    assert made.manifest.target.precision == "int8"
    assert "int8: 2 of 3 quantized products keep weights and scales" in made.manifest.lineage[-1].notes
    audit = target_named("mnn").audit(made, inputs, RunOptions(), MnnRuntime())
    assert audit.operators["int8"] == {"Convolution": 2}  # and no pool: MNN takes the largest without their sign
    assert audit.operators["fp32"]["Convolution"] == 1  # the one that gives the scores


def residual() -> Program:
    """Two blocks whose sums go through a ReLU of their own; a convolution and the next sum read it."""
    random, graph = np.random.default_rng(5), Graph()
    convolution = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1}
    convolution |= {"padding_algorithm": "EXPLICIT", "data_format": "NCHW"}

    def convolved(value: str, given: int, made: int) -> str:
        weight = graph.param(random.normal(0, 0.1, (made, given, 3, 3)).astype(np.float32))
        return graph.op("conv2d", {"Input": value, "Filter": weight}, (1, made, 32, 32), slot="Output", **convolution)

    value = convolved(graph.feed(1, 3, 32, 32), 3, 16)
    for _ in range(2):
        added = {"X": convolved(value, 16, 16), "Y": convolved(value, 16, 16)}
        value = graph.op("elementwise_add", added, (1, 16, 32, 32), axis=-1)
        value = graph.op("relu", {"X": value}, (1, 16, 32, 32))
    added = {"X": convolved(convolved(value, 16, 16), 16, 16), "Y": value}
    value = graph.op("relu", {"X": graph.op("elementwise_add", added, (1, 16, 32, 32), axis=-1)}, (1, 16, 32, 32))
    return graph.program(value)


def test_int8_of_a_sum_with_its_own_relu_is_right(workshop):
    """MNN 3.6.1 computes a ReLU of integers wrongly, unless it is a convolution's."""
    floats = workshop.made(make_step("to_onnx", {}), workshop.imported(residual(), "residual"))
    quantized = workshop.made(make_step("onnx_int8", {"agreement": 0.0}), floats)
    made = workshop.made(make_step("to_mnn", {}), quantized)
    assert "int8: 6 of 7 quantized products keep weights and scales" in made.manifest.lineage[-1].notes
    inputs = [made_inputs(floats.manifest, 3)]
    ((exact,),), ((ours,),), ((found,),) = (
        outputs_of(one, runtime, inputs, StepContext())
        for one, runtime in ((floats, OnnxRuntime()), (quantized, OnnxRuntime()), (made, MnnRuntime()))
    )
    assert np.abs(found - exact).mean() <= 1.2 * np.abs(ours - exact).mean()


def convolutions(count: int, channels: int = 32, side: int = 48) -> Program:
    """Convolutions of 3x3 with a ReLU each, which MNN computes with Winograd's largest tiles."""
    random, graph = np.random.default_rng(3), Graph()
    convolution = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1}
    convolution |= {"padding_algorithm": "EXPLICIT", "data_format": "NCHW"}
    value, given = graph.feed(1, 3, side, side), 3
    for _ in range(count):
        spread = np.sqrt(2 / (9 * given))
        inputs = {"Input": value, "Filter": graph.param(random.normal(0, spread, (channels, given, 3, 3)).astype("f"))}
        shape, given = (1, channels, side, side), channels
        value = graph.op("relu", {"X": graph.op("conv2d", inputs, shape, slot="Output", **convolution)}, shape)
    return graph.program(value)


def test_winograd_tiles_are_small_where_the_large_ones_are_off(workshop):
    floats = workshop.made(make_step("to_onnx", {}), workshop.imported(convolutions(12), "convolutions"))
    made = workshop.made(make_step("to_mnn", {}), floats)
    assert made.manifest.target.hints == {"WINOGRAD_MEMORY_LEVEL": 0}
    assert any("WINOGRAD_MEMORY_LEVEL 0" in text for text in made.manifest.warnings)
    plain = ModelArtifact(made.path, hinted(made.manifest, {}))
    inputs = [made_inputs(floats.manifest, 3)]
    ((expected,),), ((found,),), ((default,),) = (
        outputs_of(one, runtime, inputs, StepContext())
        for one, runtime in ((floats, OnnxRuntime()), (made, MnnRuntime()), (plain, MnnRuntime()))
    )
    assert difference(expected, found) < 1e-5
    assert difference(expected, default) > 1e-4  # what an app gets that does not set the hint


def test_no_hint_where_nothing_is_lost(workshop, source):
    made = workshop.made(make_step("to_mnn", {}), source)
    assert made.manifest.target.hints == {}
    assert not any("WINOGRAD" in text for text in made.manifest.warnings)


def with_context(groups: int = 1) -> Program:
    """Scores of features, plus scores of their means over the image, in groups."""
    random, graph = np.random.default_rng(6), Graph()
    convolution = {"strides": [1, 1], "dilations": [1, 1]}
    convolution |= {"padding_algorithm": "EXPLICIT", "data_format": "NCHW"}

    def convolved(value: str, given: int, made: int, side: int, kernel: int, groups: int = 1) -> str:
        weight = graph.param(random.normal(0, 0.3, (made, given // groups, kernel, kernel)).astype(np.float32))
        inputs, how = {"Input": value, "Filter": weight}, {"paddings": [kernel // 2, kernel // 2], "groups": groups}
        return graph.op("conv2d", inputs, (1, made, side, side), slot="Output", **how, **convolution)

    value = convolved(graph.feed(1, 3, 32, 32), 3, 16, 32, 3)
    pool = {"pooling_type": "avg", "ksize": [1, 1], "strides": [1, 1], "paddings": [0, 0], "global_pooling": False}
    pool |= {"adaptive": True, "ceil_mode": False, "exclusive": True}
    pool |= {"padding_algorithm": "EXPLICIT", "data_format": "NCHW"}
    means = graph.op("pool2d", {"X": value}, (1, 16, 1, 1), **pool)
    context = convolved(means, 16, 4, 1, 1, groups)
    added = {"X": convolved(value, 16, 4, 32, 3), "Y": context}
    return graph.program(graph.op("elementwise_add", added, (1, 4, 32, 32), axis=-1))


def test_what_stays_float_keeps_its_range(workshop):
    """The means of a white image are far larger than those of the calibration images, whose mean is grey."""
    floats = workshop.made(make_step("to_onnx", {}), workshop.imported(with_context(), "context"))
    quantized = workshop.made(make_step("onnx_int8", {"agreement": 0.0}), floats)
    made = workshop.made(make_step("to_mnn", {}), quantized)
    white = [[np.ones((1, 3, 32, 32), np.float32)]]
    ((wanted,),), ((found,),) = (
        outputs_of(one, runtime, white, StepContext())
        for one, runtime in ((quantized, OnnxRuntime()), (made, MnnRuntime()))
    )
    assert difference(wanted, found) < 0.05


def test_what_is_int8_is_no_other_precision(workshop, source):
    quantized = workshop.made(make_step("onnx_int8", {}), source)
    with pytest.raises(UnsupportedModelError, match="fp16"):
        workshop.made(make_step("to_mnn", {"half": True}), quantized)


def test_the_same_model_gives_the_same_bytes(workshop, source):
    files = [workshop.made(make_step("to_mnn", {}), source).file("model") for _ in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_what_the_converter_makes_of_another_model_is_no_success(workshop, source, monkeypatch):
    other = workshop.made(make_step("to_onnx", {}), workshop.imported(network(seed=1), "other"))
    right = to_mnn.convert
    monkeypatch.setattr(to_mnn, "convert", lambda _onnx, *others: right(other.file("model"), *others))
    with pytest.raises(UnsupportedModelError, match="MNN converts this model into another one") as caught:
        workshop.made(make_step("to_mnn", {}), source)
    assert "its outputs differ from the source's by" in caught.value.cause


def test_a_fault_of_the_converter_is_found_and_named(workshop, source, tmp_path, monkeypatch):
    """It takes the mean where it should take the largest."""
    import onnx

    right = to_mnn.convert

    def faulty(file: Path, *others) -> None:
        model = onnx.load(file)
        for node in model.graph.node:
            node.op_type = "AveragePool" if node.op_type == "MaxPool" else node.op_type
        onnx.save(model, tmp_path / "faulty.onnx")
        right(tmp_path / "faulty.onnx", *others)

    monkeypatch.setattr(to_mnn, "convert", faulty)
    with pytest.raises(UnsupportedModelError, match=r"MNN converts this model into another one, from MaxPool \("):
        workshop.made(make_step("to_mnn", {}), source)


def test_what_the_converter_does_not_take_is_refused(workshop, source, tmp_path):
    content = source.file("model").read_bytes().replace(b"MaxPool", b"NoSuchP")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.onnx").write_bytes(content)
    with pytest.raises(UnsupportedModelError, match="MNN cannot convert this model"):
        workshop.made(make_step("to_mnn", {}), ModelArtifact(broken, source.manifest))


# MNN's own scripts start pip and send what they did. Whoever opens a socket or becomes another program under this
# filter is ended by the kernel, native code too; and whoever starts a program from Python ends with code 99.
_FILTERED = """
import ctypes, importlib.metadata, os, platform, struct, sys

def watch(event, _arguments):
    if event in ("os.system", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen"):
        os._exit(99)

def installed():
    return sorted(f"{one.name} {one.version}" for one in importlib.metadata.distributions())

def forbid(*numbers):
    load, equal, answer = 0x20, 0x15, 0x06
    program = [(load, 0, 0, 0)]
    for number in numbers:
        program += [(equal, 0, 1, number), (answer, 0, 0, 0x80000000)]
    program.append((answer, 0, 0, 0x7FFF0000))
    code = b"".join(struct.pack("HBBI", *one) for one in program)
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(Program(len(program), code)), 0, 0) == 0

before = installed()
sys.addaudithook(watch)
forbid(*{"x86_64": (41, 42, 59, 322), "aarch64": (198, 203, 221, 281)}[platform.machine()])
"""
_CONVERTED = """
sys.path.insert(0, sys.argv[1])
sys.path.insert(0, sys.argv[2])
import mnn_convert_worker
given = {"model": sys.argv[3], "source_format": "ONNX", "out": sys.argv[4], "options": ["--weightQuantBits", "8"]}
mnn_convert_worker.COMMANDS["convert"](given, [])
mnn_convert_worker.COMMANDS["describe"]({"model": sys.argv[4]}, [])
assert not [name for name in sys.modules if name.startswith(("MNN.tools", "aliyun"))]
assert installed() == before
"""


def filtered(code: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [str(interpreter_for("MNN")), "-I", "-c", _FILTERED + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_conversion_sends_nothing_and_installs_nothing(source, tmp_path):
    workers, host = REPOSITORY / "exporter" / "workers", REPOSITORY / "src" / "segexport" / "process"
    done = filtered(_CONVERTED, str(host), str(workers), str(source.file("model")), str(tmp_path / "model.mnn"))
    assert (done.returncode, (tmp_path / "model.mnn").is_file()) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("import socket; socket.socket()", -signal.SIGSYS),
        ("os.execv('/bin/true', ['true'])", -signal.SIGSYS),
        ("os.system('true')", 99),
        ("import subprocess; subprocess.run(['true'])", 99),
    ],
)
def test_sending_or_starting_a_program_would_be_seen(code, end):
    assert filtered(code).returncode == end


def bicubic(graph: Graph, image: str) -> str:
    attrs = {"interp_method": "bicubic", "align_corners": False, "align_mode": 0, "data_layout": "NCHW"}
    size = {"scale": ("FLOATS", []), "out_d": ("INT", -1)}
    return graph.op("bicubic_interp_v2", {"X": image}, (1, 3, 48, 40), typed=size, out_h=48, out_w=40, **attrs)


def shrunk(graph: Graph, image: str) -> str:
    return graph.op("softshrink", {"X": image}, (1, 3, 32, 32), **{"lambda": 0.3})


@pytest.mark.parametrize("make", [bicubic, shrunk])
def test_what_mnn_computes_otherwise_is_written_as_arithmetic(workshop, make):
    """`to_mnn` refuses a result that differs."""
    graph, target = Graph(), target_named("mnn")
    made = workshop.imported(graph.program(make(graph, graph.feed(1, 3, 32, 32))), make.__name__)
    for step in target.steps(target.Recipe(to="mnn")):
        made = workshop.made(step, made)
    assert "differ from ONNX Runtime's by" in made.manifest.lineage[-1].notes[-1]


def followed(
    source: ModelArtifact, folder: Path, operators: list[tuple], constants: dict[str, object]
) -> ModelArtifact:
    """The model with more operators behind its scores: type, inputs, outputs, attributes; from `scores` to `end`."""
    import onnx

    model = onnx.load(source.file("model"))
    graph, end = model.graph, model.graph.output[0].name
    graph.node[-1].output[0] = "scores"
    rename = {"end": end}
    for kind, takes, makes, attributes in operators:
        made = [rename.get(name, name) for name in makes]
        graph.node.append(onnx.helper.make_node(kind, takes, made, f"to {makes[0]}", **attributes))
    graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    return ModelArtifact(folder, source.manifest)


_CHANNELS = {"limits": np.float32([0.5, -0.5, 0.1, -0.3]).reshape(1, 4, 1, 1)}


@pytest.mark.parametrize(
    ("operators", "constants"),
    [
        ([("LogSoftmax", ["scores"], ["end"], {})], {}),
        ([("ReduceL2", ["scores"], ["norm"], {"axes": [2]}), ("Div", ["scores", "norm"], ["end"], {})], {}),
        (
            [
                ("ArgMax", ["scores"], ["classes"], {"axis": 1, "keepdims": 0}),
                ("OneHot", ["classes", "depth", "values"], ["last"], {}),
                ("Transpose", ["last"], ["end"], {"perm": [0, 3, 1, 2]}),
            ],
            {"depth": np.int64(4), "values": np.float32([0, 1])},
        ),
        (
            [
                ("Resize", ["scores", "", "", "small"], ["fewer"], {}),
                ("Resize", ["fewer", "", "", "large"], ["end"], {"mode": "linear"}),
            ],
            {"small": np.int64([1, 4, 12, 20]), "large": np.int64([1, 4, 32, 32])},
        ),
        ([("MaxPool", ["scores"], ["end"], {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"})], {}),
        (
            [
                ("Conv", ["scores", "weight"], ["many"], {}),
                ("Transpose", ["many"], ["moved"], {"perm": [0, 3, 1, 2]}),
                ("Reshape", ["moved", "flat"], ["lines"], {}),
                ("MatMul", ["mixed", "lines"], ["fewer"], {}),
                ("Reshape", ["fewer", "square"], ["end"], {}),
            ],
            {
                "weight": np.random.default_rng(6).normal(size=(32, 4, 1, 1)).astype(np.float32),
                "mixed": np.random.default_rng(7).normal(size=(4, 32)).astype(np.float32),
                **{"flat": np.int64([1, 32, 1024]), "square": np.int64([1, 4, 32, 32])},
            },
        ),
        *(
            ([(kind, given, ["truth"], {}), ("Cast", ["truth"], ["end"], {"to": 1})], _CHANNELS)
            for kind in ("Less", "Greater", "LessOrEqual", "GreaterOrEqual")
            for given in (["scores", "limits"], ["limits", "scores"])
        ),
        (
            [
                ("ReduceMean", ["scores"], ["mean"], {"axes": [1]}),
                ("Less", ["scores", "mean"], ["truth"], {}),
                ("Where", ["truth", "scores", "mean"], ["end"], {}),
            ],
            {},
        ),
        (
            [("Less", ["scores", "limits"], ["truth"], {}), ("Where", ["truth", "scores", "limits"], ["end"], {})],
            _CHANNELS,
        ),
    ],
)
def test_what_mnn_reads_otherwise_than_onnx_is_written_out(workshop, source, operators, constants, tmp_path):
    """Defaults that a file leaves out, comparisons, choices, a square transpose; `to_mnn` refuses what differs."""
    model = followed(source, tmp_path / "model", operators, constants)
    made = workshop.made(make_step("to_mnn", {}), model)
    assert "differ from ONNX Runtime's by" in made.manifest.lineage[-1].notes[-1]


def test_every_precision_of_the_target_has_its_steps():
    target = target_named("mnn")
    for precision in target.searched:
        assert target.steps(target.Recipe(to="mnn", precision=precision))[-1].produces == "mnn"
    assert Precision.FP32 in target.searched
