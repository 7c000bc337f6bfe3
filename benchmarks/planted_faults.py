"""Plants faults in good exports, and tests whether `segexport diagnose` finds and names them.

    python benchmarks/planted_faults.py --shared DIR [--json FILE] [--markdown FILE] [--only NAME ...]

DIR holds the test models. Faults are planted in ESPNet (Cityscapes weights, 512x1024 and smaller inputs) where it has
such an operator, else in the built-in model, else in a small program; those of OpenVINO, MNN, ncnn and LiteRT in the
built-in model. `FAULTS`, on the built-in model, are the cases of `tests/e2e/test_diagnose.py`. Rows of --json that are
not measured again are kept.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from stamped import load, save

from segexport.artifact import ModelArtifact, file_entry, read_artifact, write_artifact
from segexport.data.dataset import Dataset
from segexport.data.images import decode_image
from segexport.diagnose.diagnose import diagnose
from segexport.diagnose.schema import Diagnosis
from segexport.exporter import program as programs
from segexport.exporter import rewrites
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.onnx_quantize import QuantizeOnnx
from segexport.exporter.program import Program
from segexport.exporter.to_onnx import ToOnnx
from segexport.exporter.to_paddle_lite import ToPaddleLite
from segexport.files.store import Store
from segexport.pipeline.registry import target_named
from segexport.pipeline.step import StepContext
from segexport.spec import Resize

REPOSITORY = Path(__file__).resolve().parent.parent
DEMO = REPOSITORY / "src/segexport/demo"
TIME_LIMIT_S = 120.0


@dataclass(frozen=True)
class Fault:
    """A fault, and its expected diagnosis.

    Attributes:
        export: onnx, int8 or lite.
        plant: Changes a copy of the export's folder; returns the expected layer, or the preprocessing field.
        kind: Expected kind of the first finding.
        operator: Expected operator of the reference; empty for preprocessing.
    """

    name: str
    export: str
    plant: Callable[[Path, ModelArtifact], str]
    kind: str
    operator: str = ""


# -- what is planted -------------------------------------------------------------------------------------------


def _edited(folder: Path, change: Callable) -> str:
    """Changes `model.onnx` in a folder and updates the manifest."""
    import onnx

    model = onnx.load(folder / "model.onnx")
    named = change(model)
    onnx.save(model, folder / "model.onnx")
    manifest = read_artifact(folder, verify=False).manifest
    write_artifact(folder, manifest.model_copy(update={"files": (file_entry(folder, "model.onnx"),)}))
    return named


def _nodes(model, *kinds: str) -> list:
    return [node for node in model.graph.node if node.op_type in kinds]


def _middle(items: list):
    return items[len(items) // 2]


def align_corners(folder: Path, _source: ModelArtifact) -> str:
    def change(model) -> str:
        node = _middle(_nodes(model, "Resize"))
        for attribute in node.attribute:
            if attribute.name == "coordinate_transformation_mode":
                attribute.s = b"align_corners"
        return node.output[0]

    return _edited(folder, change)


def relu6_to_relu(folder: Path, _source: ModelArtifact) -> str:
    def change(model) -> str:
        node = _nodes(model, "Clip")[1]
        node.op_type = "Relu"
        del node.input[1:]
        return node.output[0]

    return _edited(folder, change)


def perturbed_weight(folder: Path, _source: ModelArtifact) -> str:
    """Changes the strongest filter of one convolution by 2 %."""
    from onnx import numpy_helper

    def change(model) -> str:
        node = _middle(_nodes(model, "Conv"))
        weight = next(value for value in model.graph.initializer if value.name == node.input[1])
        value = _perturbed(numpy_helper.to_array(weight))
        weight.CopyFrom(numpy_helper.from_array(value, weight.name))
        return node.output[0]

    return _edited(folder, change)


def _perturbed(weight: np.ndarray) -> np.ndarray:
    value = weight.copy()
    value[np.abs(value).max(axis=(1, 2, 3)).argmax()] *= np.float32(1.02)
    return value


def swapped_inputs(folder: Path, _source: ModelArtifact) -> str:
    def change(model) -> str:
        node = _middle(_nodes(model, "Concat"))
        given = list(node.input)
        node.input[0], node.input[1] = given[1], given[0]
        return node.output[0]

    return _edited(folder, change)


def _shifted_scale(factor: float) -> Callable[[Path, ModelArtifact], str]:
    """Multiplies the scale of one convolution's output by `factor`, and changes nothing else."""

    def change(model) -> str:
        from onnx import numpy_helper

        made = {name for node in _nodes(model, "Conv") for name in node.output}
        node = _middle([node for node in _nodes(model, "QuantizeLinear") if node.input[0] in made])
        scale = next(value for value in model.graph.initializer if value.name == node.input[1])
        scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(factor), scale.name))
        return node.input[0]

    return lambda folder, _source: _edited(folder, change)


def _preprocess(**changes) -> Callable[[Path, ModelArtifact], str]:
    def plant(folder: Path, _source: ModelArtifact) -> str:
        manifest = read_artifact(folder, verify=False).manifest
        contract = manifest.preprocess.model_copy(update=changes)
        write_artifact(folder, manifest.model_copy(update={"preprocess": contract}))
        return next(iter(changes))

    return plant


def _recompiled(folder: Path, source: ModelArtifact, change: Callable[[Program], str]) -> str:
    """Compiles a changed program to a `.nb`."""
    graph = programs.read(source.file("model"), source.file("params"))
    named = change(graph)
    made = folder / "changed"
    made.mkdir()
    model, params = graph.write(made)
    files = (file_entry(made, model.name), file_entry(made, params.name, "params"))
    changed = write_artifact(made, source.manifest.model_copy(update={"files": files}))
    write_artifact(folder, ToPaddleLite().run(changed, folder, StepContext()))
    return named


def _converted(name: str, plant: Callable[[Path, ModelArtifact], str]) -> Callable[[Path, ModelArtifact], str]:
    """Plants a fault in an ONNX export, and replaces that by its conversion to another target."""

    def change(folder: Path, source: ModelArtifact) -> str:
        named = plant(folder, source)
        changed = folder.rename(folder.with_name(f"{folder.name}-onnx"))
        folder.mkdir()
        target = target_named(name)
        step = target.steps(target.Recipe(to=name))[-1]
        write_artifact(folder, step.run(read_artifact(changed), folder, StepContext()))
        return named

    return change


def lite_align_corners(folder: Path, source: ModelArtifact) -> str:
    def change(graph: Program) -> str:
        op = _middle([op for op in graph.ops if op.type == "bilinear_interp_v2"])
        op.set_attr("align_corners", True)
        return op.output("Out")

    return _recompiled(folder, source, change)


def lite_perturbed_weight(folder: Path, source: ModelArtifact) -> str:
    def change(graph: Program) -> str:
        op = _middle([op for op in graph.ops if op.type == "conv2d"])
        graph.params[op.input("Filter")] = _perturbed(graph.params[op.input("Filter")])
        return op.output("Output")

    return _recompiled(folder, source, change)


FAULTS = (
    Fault("align_corners swapped in a Resize", "onnx", align_corners, "operator", "bilinear_interp_v2"),
    Fault("relu6 turned into relu", "onnx", relu6_to_relu, "operator", "relu6"),
    Fault("a convolution's weight perturbed", "onnx", perturbed_weight, "operator", "conv2d"),
    Fault("inputs of a Concat swapped", "onnx", swapped_inputs, "operator", "concat"),
    Fault("activation scale a quarter (int8)", "int8", _shifted_scale(0.25), "operator", "conv2d"),
    Fault("activation scale five times (int8)", "int8", _shifted_scale(5.0), "operator", "conv2d"),
    Fault("bad channel order in preprocessing", "onnx", _preprocess(color="bgr"), "preprocess"),
    Fault("wrong mean in preprocessing", "onnx", _preprocess(mean=(0.485, 0.456, 0.406)), "preprocess"),
    Fault("align_corners swapped (Paddle-Lite)", "lite", lite_align_corners, "operator", "bilinear_interp_v2"),
    Fault("a convolution's weight perturbed (Paddle-Lite)", "lite", lite_perturbed_weight, "operator", "conv2d"),
)
RUNTIMES = ("openvino", "mnn", "ncnn", "litert")
# As if the converter had made the fault; in the built-in model. Tests plant faults in these files' own bytes.
RUNTIME_FAULTS = tuple(
    Fault(f"{what} ({target_named(name).title})", "onnx", _converted(name, plant), "operator", operator)
    for name in RUNTIMES
    for what, plant, operator in (
        ("align_corners swapped", align_corners, "bilinear_interp_v2"),
        ("relu6 turned into relu", relu6_to_relu, "relu6"),
        ("a convolution's weight perturbed", perturbed_weight, "conv2d"),
    )
)
ADAPTIVE_POOL = "paddle2onnx's adaptive pool"


# -- planting and looking --------------------------------------------------------------------------------------


class Exports:
    """The good exports of one model, each made at its first use."""

    def __init__(self, source: ModelArtifact, data: Dataset, folder: Path) -> None:
        self.source, self._data, self._folder = source, data, folder
        self._made: dict[str, ModelArtifact] = {}

    def __getitem__(self, name: str) -> ModelArtifact:
        if name not in self._made:
            out = self._folder / name
            out.mkdir(parents=True)
            context = StepContext(data=self._data)
            if name == "int8":
                step, start = QuantizeOnnx(QuantizeOnnx.Params(method="minmax", images=4, agreement=0)), self["onnx"]
            else:
                step, start = ToPaddleLite() if name == "lite" else ToOnnx(), self.source
            self._made[name] = write_artifact(out, step.run(start, out, context))
        return self._made[name]


def plant(fault: Fault, exports: Exports, folder: Path) -> tuple[ModelArtifact, str]:
    """Returns a copy of the export with the fault, and the expected layer or field."""
    shutil.copytree(exports[fault.export].path, folder)
    named = fault.plant(folder, exports.source)
    return read_artifact(folder), named


def without_the_rewrite(source: ModelArtifact, out: Path) -> ModelArtifact:
    """Makes paddle2onnx's own ONNX export, with a plain AveragePool for overlapping adaptive bins."""
    every = rewrites.REWRITES
    rewrites.REWRITES = tuple(one for one in every if one.name != "adaptive_pool_to_matmul")
    try:
        return write_artifact(out, ToOnnx().run(source, out, StepContext()))
    finally:
        rewrites.REWRITES = every


def named_right(found: Diagnosis, fault_kind: str, operator: str, variable: str) -> bool:
    """Whether the first finding has the kind, and names operator and layer (or the preprocessing field)."""
    if not found.findings or found.findings[0].kind != fault_kind:
        return False
    first = found.findings[0]
    if fault_kind == "preprocess":
        return first.layer == variable
    layer = next(layer for layer in found.layers if layer.variable == first.layer)
    return operator in first.operators and variable in (layer.tensor, layer.variable)


def source_program(fault: Fault, artifact: ModelArtifact) -> Program | None:
    """The compiled program, for Paddle-Lite."""
    if fault.export != "lite":
        return None
    folder = artifact.path / "changed"
    return programs.read(folder / "model.pdmodel", folder / "model.pdiparams")


# -- the benchmark ---------------------------------------------------------------------------------------------


def _espnet(shared: Path, folder: Path, store: Store) -> tuple[Exports, np.ndarray]:
    import tarfile

    model = shared / "models/espnet_cityscapes/export_argmax"
    source = import_model(model, ImportOptions(input_size=(1024, 512)), store)
    resize = Resize(width=1024, height=512)
    contract = source.manifest.preprocess.model_copy(update={"geometry": (resize,)})
    source = ModelArtifact(source.path, source.manifest.model_copy(update={"preprocess": contract}))
    with tarfile.open(shared / "data/camvid_trainval.tar.gz") as archive:
        images = [item for item in archive.getmembers() if item.name.endswith((".jpg", ".png"))]
        images = [item for item in images if "label" not in item.name][:5]
        archive.extractall(folder / "images", members=images, filter="data")
    files = sorted((folder / "images").rglob("*.*"))
    flat = folder / "flat"
    flat.mkdir()
    for file in files:
        if file.is_file():
            shutil.copyfile(file, flat / file.name)
    return Exports(source, Dataset.open(flat, "train"), folder / "espnet"), decode_image(sorted(flat.iterdir())[0])


def demo_exports(folder: Path, store: Store) -> tuple[Exports, np.ndarray]:
    """The built-in model and one of its images."""
    source = import_model(DEMO / "model", ImportOptions(), store)
    image = decode_image(DEMO / "data/images/tile_03.png")
    return Exports(source, Dataset.open(DEMO / "data", "train"), folder / "demo"), image


def _fastscnn(shared: Path, folder: Path, store: Store) -> tuple[ModelArtifact, np.ndarray]:
    import sys

    sys.path.insert(0, str(REPOSITORY / "tests" / "exporter"))
    import zoo

    from segexport.spec import Preprocess

    filled = zoo.fill(shared / "zoo/fastscnn.pdmodel", folder / "fastscnn")
    contract = Preprocess(geometry=(Resize(width=512, height=512),))
    labels = tuple(f"class_{index}" for index in range(19))
    source = import_model(filled.model.parent, ImportOptions(preprocess=contract, labels=labels), store)
    image = (np.clip(filled.feed[0][0].transpose(1, 2, 0) * 40 + 128, 0, 255)).astype(np.uint8)
    return source, image


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--only", nargs="*", default=())
    arguments = parser.parse_args()
    before = load(arguments.json)["faults"] if arguments.json and arguments.json.is_file() else []
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = Store(folder / "store")
        espnet, demo = _espnet(arguments.shared, folder, store), demo_exports(folder, store)
        in_espnet = {"conv2d", "concat", ""}
        for fault in (*FAULTS, *RUNTIME_FAULTS):
            if arguments.only and not any(word in fault.name for word in arguments.only):
                continue
            is_small = fault in RUNTIME_FAULTS or fault.operator not in in_espnet
            model, (exports, image) = ("built-in", demo) if is_small else ("ESPNet", espnet)
            planted, variable = plant(fault, exports, folder / f"planted{len(rows)}")
            found = diagnose(planted, exports.source, image, source=source_program(fault, planted))
            rows.append(_row(fault.name, model, found, fault.kind, fault.operator, variable))
        if not arguments.only or any(word in ADAPTIVE_POOL for word in arguments.only):
            source, image = _fastscnn(arguments.shared, folder, store)
            (folder / "pool").mkdir()
            planted = without_the_rewrite(source, folder / "pool")
            found = diagnose(planted, source, image)
            rows.append(_row(ADAPTIVE_POOL, "FastSCNN", found, "operator", "pool2d", found.findings[0].layer))
    measured = {row["fault"]: row for row in rows}
    rows = [measured.pop(row["fault"], row) for row in before] + list(measured.values())
    text = "\n".join(
        ["| fault | model | first finding | found | seconds |", "|---|---|---|---|---|"]
        + [
            f"| {r['fault']} | {r['model']} | {r['says']} | {'yes' if r['right'] else 'NO'} | {r['seconds']} |"
            for r in rows
        ]
    )
    if arguments.json:
        save(arguments.json, {"faults": rows})
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n")
    print(text)


def _row(fault: str, model: str, found: Diagnosis, kind: str, operator: str, variable: str) -> dict:
    right = named_right(found, kind, operator, variable) and found.seconds < TIME_LIMIT_S
    says = found.findings[0].message if found.findings else "nothing"
    row = {"fault": fault, "model": model, "right": right, "seconds": round(found.seconds, 1), "says": says}
    row["faulty_layers"] = sum(layer.is_faulty for layer in found.layers)
    print(f"{'found' if right else 'MISSED'} in {row['seconds']} s: {fault} ({variable}): {says}", flush=True)
    return row


if __name__ == "__main__":
    _main()
