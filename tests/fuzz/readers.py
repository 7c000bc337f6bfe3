"""Every reader of foreign files, with good files to start from and the harm that suits their form."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mutations import (
    Mutation,
    edit_array,
    edit_bytes,
    edit_json,
    edit_protobuf,
    edit_yaml,
    edit_zip,
)
from PIL import Image

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / name) for name in ("unit", "exporter", "instance")]

import pir_cases  # noqa: E402
import recordings  # noqa: E402
import shapes  # noqa: E402
from test_deploy_config import PADDLEX_0, PADDLEX_1, PADDLEX_2, PADDLEX_3, PADDLEX_3_OPS  # noqa: E402
from test_golden import write_result  # noqa: E402
from test_shard import write_parts  # noqa: E402

from segexport import report  # noqa: E402
from segexport.artifact import digest_of, read_artifact  # noqa: E402
from segexport.commands.run import DEMO_RECIPE  # noqa: E402
from segexport.data import convert  # noqa: E402
from segexport.data.dataset import Dataset  # noqa: E402
from segexport.data.images import decode_image, decode_label, image_size, own_pixels  # noqa: E402
from segexport.errors import SegexportError  # noqa: E402
from segexport.exporter import from_paddle, import_options, pir, program  # noqa: E402
from segexport.exporter.inspect import inspect  # noqa: E402
from segexport.files.external_data import external_data, require_inside  # noqa: E402
from segexport.files.store import Store  # noqa: E402
from segexport.files.yaml_reader import read_yaml  # noqa: E402
from segexport.importers.checkpoint import find_checkpoint, read_checkpoint  # noqa: E402
from segexport.importers.deploy_config import parse_deploy_config  # noqa: E402
from segexport.importers.detection_config import read_detection_config  # noqa: E402
from segexport.importers.model_files import find_model  # noqa: E402
from segexport.importers.training_config import read_training_config  # noqa: E402
from segexport.predict.model_pipeline import read_config  # noqa: E402
from segexport.recipe.reader import read_recipe  # noqa: E402
from segexport.references.golden import _tolerances, _write_header  # noqa: E402
from segexport.references.golden_pack import GoldenImage, Pack, open_pack  # noqa: E402
from segexport.references.merge import merge  # noqa: E402
from segexport.references.reference_file import read_reference  # noqa: E402
from segexport.runtimes.device_job import read_mask, read_result  # noqa: E402
from segexport.spec import Pixels  # noqa: E402
from segexport.task.open_data import open_data  # noqa: E402

DEMO = DEMO_RECIPE.parent


@dataclass(frozen=True)
class Seed:
    """A good file: all files of its folder, and which of them is harmed."""

    files: dict[str, bytes]
    name: str


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        seeds: Makes the good files.
        edit: The harm.
        read: Reads the harmed file, as commands do.
    """

    name: str
    seeds: Callable[[], list[Seed]]
    edit: Mutation
    read: Callable[[Path], object]


def _one(name: str, *contents: str | bytes) -> Callable[[], list[Seed]]:
    return lambda: [Seed({name: c.encode() if isinstance(c, str) else c}, name) for c in contents]


def _folder(make: Callable[[Path], object], *names: str) -> Callable[[], list[Seed]]:
    """Seeds from a folder that `make` fills, one for each of its files that is harmed."""

    def seeds() -> list[Seed]:
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch)
            make(root)
            files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        return [Seed(files, name) for name in names]

    return seeds


def _pictures() -> list[Seed]:
    chance = np.random.default_rng(0)
    colors = Image.fromarray(chance.integers(0, 256, (9, 14, 3), np.uint8))
    grey = colors.convert("L")
    wide = Image.fromarray(chance.integers(0, 65536, (9, 14), np.uint16))
    made: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("png", colors, {}),
        ("png", colors.convert("P"), {}),
        ("png", wide, {}),
        ("png", colors.convert("RGBA"), {}),
        ("jpg", colors, {"exif": Image.Exif()}),
        ("jpg", colors.convert("CMYK"), {}),
        ("bmp", grey, {}),
        ("gif", colors.convert("P"), {}),
        ("webp", colors, {}),
        ("ppm", colors, {}),
        ("tif", colors, {"compression": "tiff_lzw"}),
        ("tif", wide, {"compression": "tiff_adobe_deflate"}),
        ("tif", grey, {}),
    ]
    seeds = []
    for suffix, image, options in made:
        stream = io.BytesIO()
        image.save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()), **options)
        seeds.append(Seed({f"image.{suffix}": stream.getvalue()}, f"image.{suffix}"))
    return seeds


def _arrays() -> list[Seed]:
    seeds = []
    for array in (np.zeros((5, 6, 4), np.uint8), np.ones((5, 6), np.float32), np.zeros((5, 6, 3), np.uint16)):
        stream, packed = io.BytesIO(), io.BytesIO()
        np.save(stream, array)
        np.savez_compressed(packed, array)
        seeds += [Seed({"image.npy": stream.getvalue()}, "image.npy")]
        seeds += [Seed({"image.npz": packed.getvalue()}, "image.npz")]
    return seeds


def _read_image(path: Path) -> None:
    for pixels in (Pixels(color="gray", channels=1), Pixels(color="channels", channels=4, depth="stored")):
        _attempt(decode_image, path, pixels=pixels)
    _attempt(image_size, path)
    _attempt(decode_label, path)
    decode_image(path, pixels=own_pixels(path))


def _attempt(call: Callable[..., object], *arguments: object, **options: object) -> None:
    """One of several readings: that it refuses does not end them."""
    with suppress(SegexportError):
        call(*arguments, **options)


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _labelme() -> list[Seed]:
    files = {"a.png": _png(np.zeros((40, 60, 3), np.uint8)), "val_anno_list.txt": b"a.json\n"}
    points = [[1, 2], [30, 4], [20, 30]]
    shapes_ = [
        {"label": "cell", "points": points, "shape_type": "polygon", "group_id": None, "flags": {}},
        {"label": "edge", "points": points[:2], "shape_type": "circle"},
        {"label": "edge", "points": points[:2], "shape_type": "rectangle"},
        {"label": "cell", "points": points, "shape_type": "linestrip"},
    ]
    content = {"version": "5.4", "flags": {}, "shapes": shapes_, "imagePath": "a.png", "imageData": None}
    files["a.json"] = json.dumps(content | {"imageHeight": 40, "imageWidth": 60}).encode()
    return [Seed(files, "a.json")]


def _coco() -> list[Seed]:
    square = [[2, 2, 20, 2, 20, 20, 2, 20]]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 3, "segmentation": square, "bbox": [2, 2, 18, 18], "area": 324},
            {"id": 2, "image_id": 1, "category_id": 7, "segmentation": {"size": [40, 60], "counts": [900, 300, 1200]}},
        ],
        "categories": [{"id": 3, "name": "cell"}, {"id": 7, "name": "edge"}],
    }
    files = {"a.png": _png(np.zeros((40, 60, 3), np.uint8)), "train.json": json.dumps(content).encode()}
    return [Seed(files, "train.json")]


def _cvat() -> list[Seed]:
    mask = np.zeros((8, 9, 3), np.uint8)
    mask[2:5] = (200, 0, 0)
    files = {
        "JPEGImages/a.png": _png(np.zeros((8, 9, 3), np.uint8)),
        "SegmentationClass/a.png": _png(mask),
        "ImageSets/Segmentation/train.txt": b"a\n",
        "labelmap.txt": b"# label:color_rgb:parts:actions\nbackground:0,0,0::\ncell:200,0,0::\n",
    }
    return [Seed(files, name) for name in files if name.endswith(".txt")]


def _convert(path: Path) -> None:
    root = path
    while not any((root / name).exists() for name in ("a.png", "JPEGImages")):
        root = root.parent
    for items in convert.read_source(root).splits.values():
        for item in items:
            with tempfile.TemporaryDirectory() as scratch:
                for name in ("images", "labels"):
                    (Path(scratch) / name).mkdir()
                convert._write(Path(scratch), "one", item, 3, [0] * 768, False)


def _read_list(path: Path) -> None:
    data = Dataset.open(path.parent, "val")
    data.read(0)


def _read_objects(path: Path) -> None:
    root = path
    while not any((root / name).exists() for name in ("images", "JPEGImages")):
        root = root.parent
    data = open_data(root, "val")
    data.read(0)


def _parts(root: Path) -> None:
    from test_shard import NUMBERS

    from segexport import preprocess

    data = recordings.make_data(root / "street", 4)
    recorded = recordings.write_recording(root / "street.ref", data).as_reference()
    for sample in data:
        NUMBERS[preprocess.apply(recorded.artifact.manifest.preprocess, sample.image)[0].tobytes()] = sample.index
    write_parts((data, recorded), root, 2)


def _merge(path: Path) -> None:
    from segexport.check.build_report import conclude

    with tempfile.TemporaryDirectory() as scratch:
        found = conclude(merge([path.parent / "part-1", path.parent / "part-2"], Path(scratch)))
        for form in ("json", "markdown", "junit"):
            report.render(found, form)


def _seal_archive(members: dict[str, bytes], header: dict[str, Any]) -> None:
    for name, entry in header["members"].items():
        if name in members and isinstance(entry, dict):
            entry |= {"sha256": hashlib.sha256(members[name]).hexdigest(), "size_bytes": len(members[name])}
    header.pop("digest", None)
    header["digest"] = digest_of(header)


def _pack(root: Path) -> None:
    data = recordings.make_data(root / "street", 2)
    folder = root / "pack"
    folder.mkdir()
    images = []
    for sample in data:
        name, expected = f"input-{sample.index}.png", f"expected-{sample.index}.png"
        (folder / name).write_bytes(_png(sample.image))
        (folder / expected).write_bytes(_png(recordings.mask_of(sample.index)))
        digests = [hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in (name, expected)]
        size = {"width": recordings.WIDTH, "height": recordings.HEIGHT}
        sums = {"image_sha256": digests[0], "mask_sha256": digests[1]}
        images.append(GoldenImage(name=name, source=sample.name, expected_mask=expected, **sums, **size))
    run = {"runtime": "paddle", "version": "2.6.2", "provider": "oneDNN", "device": "Some CPU", "threads": 1}
    made = {"created": "2024-05-06T07:08:09+00:00", "segexport_version": "0.1.0", "model": recordings.manifest()}
    _write_header(Pack(**made, **run, tolerances=_tolerances(), images=tuple(images)), folder)
    with zipfile.ZipFile(root / "pack.zip", "w") as file:
        for path in folder.iterdir():
            file.write(path, path.name)


def _seal_pack(members: dict[str, bytes], header: dict[str, Any]) -> None:
    for image in header["images"]:
        for name, digest in (("name", "image_sha256"), ("expected_mask", "mask_sha256")):
            if image.get(name) in members:
                image[digest] = hashlib.sha256(members[image[name]]).hexdigest()
    header.pop("digest", None)
    header["digest"] = digest_of(header)


def _read_pack(path: Path) -> None:
    with open_pack(path) as pack:
        pack.as_reference()
        for sample in pack.data():
            pack.expected_mask(sample.name)


def _phone(root: Path) -> None:
    (root / "pack").mkdir()
    (root / "pack/job.json").write_text('{"id": "7"}')
    write_result(root / "out", root / "pack", [recordings.mask_of(0)])


def _read_phone(path: Path) -> None:
    result = read_result(path.parent / "result.json")
    _ = result.device_name, result.agreement, result.latency()
    for item in result.items:
        read_mask(path.parent, item)


def _read_reference(path: Path) -> None:
    found = read_reference(path)
    reference = found.as_reference()
    for image in found.header.images[:2]:
        reference.predict(image.name)


def _demo_files(folder: str) -> Callable[[], list[Seed]]:
    names = {"model": ("model.pdmodel",), "params": ("model.pdiparams",)}[folder]
    files = {name: (DEMO / "model" / name).read_bytes() for name in ("model.pdmodel", "model.pdiparams")}
    return lambda: [Seed(files, name) for name in names]


def _read_program(path: Path) -> None:
    program.read(path.parent / "model.pdmodel", path.parent / "model.pdiparams")


def _import(path: Path) -> None:
    """What `inspect` does, without the converters of other processes."""
    with tempfile.TemporaryDirectory() as scratch:
        made = from_paddle.import_model(path.parent, from_paddle.ImportOptions(), Store(Path(scratch)))
        inspect(program.read(made.file("model"), made.file("params")))


def _pir_files(name: str) -> Callable[[], list[Seed]]:
    def seeds() -> list[Seed]:
        cases = pir_cases.read(TESTS / "golden" / "pir" / "cases.zip")
        return [
            Seed({"model.json": cases[case].model, "model.pdiparams": cases[case].params}, name)
            for case in ("convolutions", "free_sizes", "dynamic")
        ]

    return seeds


def _read_pir(path: Path) -> None:
    pir.read_program(path.parent / "model.json", path.parent / "model.pdiparams")


def _manifest(root: Path) -> None:
    from segexport.artifact import file_entry, write_artifact

    (root / "model.bin").write_bytes(b"weights")
    write_artifact(root, recordings.manifest().model_copy(update={"files": (file_entry(root, "model.bin"),)}))


def _read_report(path: Path) -> None:
    found = report.read(path)
    for form in ("json", "markdown", "html", "junit", "annotations", "table"):
        report.render(found, form, path.parent)


def _onnx() -> list[Seed]:
    import onnx

    weights = onnx.numpy_helper.from_array(np.arange(600, dtype=np.float32).reshape(20, 30), "w")
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    value = onnx.helper.make_tensor_value_info
    given = value("x", onnx.TensorProto.FLOAT, [1, 20]), value("y", onnx.TensorProto.FLOAT, [1, 30])
    graph = onnx.helper.make_graph([node], "g", [given[0]], [given[1]], [weights])
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        how = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
        onnx.save(onnx.helper.make_model(graph), root / "net.onnx", **how)
        files = {path.name: path.read_bytes() for path in root.iterdir()}
    return [Seed(files, "net.onnx")]


def _read_onnx(path: Path) -> None:
    for location in external_data(path):
        require_inside(path, location)


def _checkpoint(root: Path) -> None:
    from segexport.compress import checkpoint

    arrays = {"param": {"w": np.ones((3, 4), np.float32)}, "optimizer": {"m": np.zeros(3, np.float32)}}
    checkpoint.save(root, checkpoint.Checkpoint(3, "{}", arrays, {"best": 0.5}))


def _read_checkpoint(path: Path) -> None:
    from segexport.compress import checkpoint

    checkpoint.load(path.parent)


def _sensitivities() -> list[Seed]:
    found = {"conv1_weights": {0.1: 0.01, 0.3: 0.2}, "conv2_weights": {0.1: 0.0, 0.3: 0.1}}
    scalars = {"w": {np.float64(0.1): np.float32(0.2)}}
    as_json = {name: {str(ratio): loss for ratio, loss in each.items()} for name, each in found.items()}
    return [
        Seed({"s.json": json.dumps({"baseline": {"0": 0.7}, **as_json}).encode()}, "s.json"),
        Seed({"s.data": pickle.dumps(found, 2)}, "s.data"),
        Seed({"s.data": pickle.dumps(scalars, 4)}, "s.data"),
    ]


def _read_sensitivities(path: Path) -> None:
    from segexport.compress import sensitivity

    sensitivity.ratios_by_loss(sensitivity.load(path), 0.05)


def _weights() -> list[Seed]:
    weights = {"conv.weight": np.ones((2, 3, 1, 1), np.float32), "norm._mean": np.zeros(2, np.float32)}
    names = {"StructuredToParameterName@@": {"conv.weight": "conv2d_0.w_0"}}
    return [Seed({"model.pdparams": pickle.dumps({**weights, **names}, each)}, "model.pdparams") for each in (2, 4, 5)]


def _read_training_config(path: Path) -> None:
    read_training_config(path).deploy_config(3, None)


def _read_detection_config(path: Path) -> None:
    read_detection_config(path).deploy_config(3, None)


def _by_suffix(**edits: Mutation) -> Mutation:
    """Harm by what the bytes begin with: JSON, or anything else."""

    def edit(chance: Any, data: bytes) -> bytes:
        return edits["json" if data[:1] in (b"{", b"[") else "other"](chance, data)

    return edit


def _edit_either(chance: Any, data: bytes) -> bytes:
    return (edit_array if data[:6] == b"\x93NUMPY" else edit_bytes)(chance, data)


PADDLESEG = """
Deploy:
  model: model.pdmodel
  params: model.pdiparams
  input_shape: [-1, 3, -1, -1]
  output_op: argmax
  transforms:
  - {type: ResizeByShort, short_size: 96}
  - {type: Padding, target_size: [128, 96], im_padding_value: [127.5, 127.5, 127.5]}
  - {type: Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
"""
TRAINING = """
train_dataset: {type: Dataset, num_classes: 2, img_channels: 3, transforms: [{type: RandomHorizontalFlip}]}
val_dataset:
  type: Dataset
  num_classes: 2
  transforms:
  - {type: Resize, target_size: [64, 32]}
  - {type: Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
model: {type: FCN, num_classes: 2, backbone: {type: HRNet_W18, pretrained: null}, backbone_indices: [-1]}
test_config: {is_slide: true}
"""
DETECTION = """
architecture: Net
num_classes: 2
Net: {backbone: Body, head: Head}
Body: {depth: 18, freeze_at: 0}
Head: {lr: 0.1}
TestReader:
  sample_transforms:
  - Decode: {}
  - Resize: {interp: 2, target_size: [64, 96], keep_ratio: true}
  - NormalizeImage: {is_scale: true, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
  - Permute: {}
  batch_transforms:
  - PadBatch: {pad_to_stride: 32}
"""
RECIPE = """
model: {path: model, preprocess: {color: rgb, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}
data: {path: data, split: val, groups: '(?P<group>[^/]+)_[0-9]+', label_map: {road: street}}
steps:
- {step: prune, params: {ratio: 0.3, criterion: l1}}
exports:
- {to: onnx, precision: int8, calibration: {images: 8, method: mse}, limits: {agreement_min: 0.9}}
- {to: paddle-lite, name: lite}
check: {latency: warn, latency_seconds: 2, tolerances: {miou: 0.01}}
"""
PREPROCESS = """
color: bgr
geometry:
- {op: resize, width: 64, height: 32, interpolation: linear}
- {op: pad_to_multiple, multiple: 32}
mean: [0.5, 0.5, 0.5]
std: [0.5, 0.5, 0.5]
"""
PIPELINE = (
    "Global: {pipeline_name: semantic_segmentation}\nPipeline: {model: m, batch_size: 1, target_size: [64, 32]}\n"
)


READERS = (
    Reader(
        "YAML", _one("x.yaml", PADDLESEG, RECIPE, "a: &a {b: 1, c: 2023-01-01}\nd: {<<: *a}\n"), edit_yaml, read_yaml
    ),
    Reader("recipe", _one("recipe.yaml", RECIPE), edit_yaml, read_recipe),
    Reader(
        "deploy file",
        _one("deploy.yaml", PADDLESEG, PADDLEX_0, PADDLEX_1, PADDLEX_2, PADDLEX_3, PADDLEX_3_OPS),
        edit_yaml,
        parse_deploy_config,
    ),
    Reader("training configuration", _one("net.yml", TRAINING), edit_yaml, _read_training_config),
    Reader("detection configuration", _one("net.yml", DETECTION), edit_yaml, _read_detection_config),
    Reader("training checkpoint", _weights, edit_bytes, lambda path: read_checkpoint(find_checkpoint(path))),
    Reader("preprocessing", _one("p.yaml", PREPROCESS), edit_yaml, import_options._preprocess),
    Reader("pipeline", _one("pipeline.yaml", PIPELINE), edit_yaml, read_config),
    Reader("picture", _pictures, edit_bytes, _read_image),
    Reader("array as picture", _arrays, _edit_either, _read_image),
    Reader(
        "list of images",
        lambda: [
            Seed(
                {
                    "val.txt": b"images/a b.png labels/a.png\nimages/c.png\tlabels/a.png\n",
                    "labels.txt": "a\nb\n中\n".encode(),
                    "images/a b.png": _png(np.zeros((3, 4, 3), np.uint8)),
                    "images/c.png": _png(np.zeros((3, 4, 3), np.uint8)),
                    "labels/a.png": _png(np.zeros((3, 4), np.uint8)),
                },
                name,
            )
            for name in ("val.txt", "labels.txt")
        ],
        edit_bytes,
        _read_list,
    ),
    Reader("LabelMe", _labelme, edit_json, _convert),
    Reader("COCO", _coco, edit_json, _convert),
    Reader("Pascal VOC", _cvat, edit_bytes, _convert),
    Reader(
        "COCO objects",
        _folder(lambda root: shapes.write_coco(root, 2), "annotations/instances_val.json"),
        edit_json,
        _read_objects,
    ),
    Reader(
        "VOC objects",
        _folder(lambda root: shapes.write_voc(root, 1), "Annotations/000.xml"),
        edit_bytes,
        _read_objects,
    ),
    Reader(
        "manifest",
        _folder(_manifest, "manifest.json"),
        edit_json,
        lambda path: (find_model(path), read_artifact(path.parent)),
    ),
    Reader(
        "report",
        lambda: [Seed({"report.json": (TESTS / "golden/report/report.json").read_bytes()}, "report.json")],
        edit_json,
        _read_report,
    ),
    Reader(
        "recorded reference",
        _folder(lambda root: recordings.write_recording(root / "x.ref", recordings.make_data(root / "d", 3)), "x.ref"),
        edit_zip("header.json", _seal_archive),
        _read_reference,
    ),
    Reader("parts of a check", _folder(_parts, "part-1", "part-2"), edit_zip("header.json", _seal_archive), _merge),
    Reader("golden pack", _folder(_pack, "pack.zip"), edit_zip("pack.json", _seal_pack), _read_pack),
    Reader(
        "device result",
        _folder(_phone, "out/result.json", "out/mask-0.u16"),
        _by_suffix(json=edit_json, other=edit_bytes),
        _read_phone,
    ),
    Reader("program", _demo_files("model"), edit_protobuf, _read_program),
    Reader("parameters", _demo_files("params"), edit_bytes, _read_program),
    Reader("model", _demo_files("model"), edit_protobuf, _import),
    Reader("program of Paddle 3", _pir_files("model.json"), edit_json, _read_pir),
    Reader("parameters of Paddle 3", _pir_files("model.pdiparams"), edit_bytes, _read_pir),
    Reader("ONNX model", _onnx, edit_protobuf, _read_onnx),
    Reader("checkpoint", _folder(_checkpoint, "checkpoint.npz"), edit_bytes, _read_checkpoint),
    Reader("sensitivities", _sensitivities, _by_suffix(json=edit_json, other=edit_bytes), _read_sensitivities),
)
"""By the names that results use."""
