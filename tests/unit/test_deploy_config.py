"""The files beside an export, in every dialect that was met; and whatever is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segexport import preprocess as run
from segexport.errors import InputError
from segexport.importers.deploy_config import DeployConfig, find_model, parse_deploy_config, read_deploy_config
from segexport.spec import (
    Clip,
    LimitLong,
    LimitShort,
    Pad,
    PadToMultiple,
    PadToRatio,
    Preprocess,
    Resize,
    ResizeLong,
    ResizeShort,
    ResizeToMultiple,
)

HALF = Preprocess()

# As PaddleX 1.2.8 writes it.
PADDLEX_1 = """
Model: FastSCNN
Transforms:
- ResizeByLong:
    long_size: 512
- Padding:
    im_padding_value: !!python/tuple
    - 127.5
    - 127.5
    - 127.5
    label_padding_value: 255
    target_size: 512
- Normalize:
    max_val: [255.0, 255.0, 255.0]
    mean: [0.5, 0.5, 0.5]
    min_val: [0, 0, 0]
    std: [0.5, 0.5, 0.5]
TransformsMode: BGR
_Attributes:
  eval_metrics: {miou: 0.92}
  fixed_input_shape: null
  labels: [_background_, organoid]
  model_type: segmenter
  num_classes: 2
_ModelInputsOutputs:
  test_inputs:
  - [image, image]
  test_outputs:
  - [pred, unsqueeze2_0.tmp_0]
  - [logit, softmax_0.tmp_0]
status: Infer
version: 1.2.8
"""

PADDLEX_2 = """
Model: UNet
Transforms:
- Resize: {interp: LINEAR, keep_ratio: false, target_size: [360, 480]}
- Normalize: {is_scale: true, max_val: [255.0, 255.0, 255.0], mean: [0.5, 0.5, 0.5], min_val: [0, 0, 0],
    std: [0.5, 0.5, 0.5]}
_Attributes: {labels: [a, b, c], num_classes: 3, model_type: segmenter, fixed_input_shape: [1, 3, 360, 480]}
status: Infer
version: 2.1.0
"""

PADDLEX_3 = """
Global: {model_name: PP-LiteSeg-T}
Hpi: {backend: auto}
Deploy:
  model: inference.pdmodel
  params: inference.pdiparams
  input_shape: [null, 3, null, null]
  output_op: argmax
  transforms:
  - {type: Resize, target_size: [1024, 512]}
  - {type: Normalize, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
"""

PADDLEX_3_OPS = """
Global: {model_name: Something}
PreProcess:
  transform_ops:
  - DecodeImage: {img_mode: BGR, channel_first: false}
  - ResizeImage: {size: [320, 240]}
  - NormalizeImage: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], scale: 1./255., order: hwc}
  - ToCHWImage: null
  - KeepKeys: {keep_keys: [image]}
PostProcess: {label_list: [cat, dog]}
"""


def parse(folder: Path, text: str, name: str = "deploy.yaml") -> DeployConfig:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return parse_deploy_config(path)


def seg(folder: Path, *transforms: str) -> DeployConfig:
    """A PaddleSeg file with these transforms, each in flow style."""
    return parse(folder, "Deploy:\n  transforms:\n" + "".join(f"  - {{{line}}}\n" for line in transforms))


def x2(folder: Path, *transforms: str) -> DeployConfig:
    lines = "".join(f"- {{{line}}}\n" for line in transforms)
    return parse(folder, f"version: 2.0.0\nTransforms:\n{lines or '[]'}\n", "model.yml")


@pytest.mark.parametrize(
    ("name", "preprocess", "shape"),
    [
        ("alanxinn", HALF, (-1, 3, -1, -1)),
        ("espnet_paddleseg23", HALF, None),
        ("gmudcxr", HALF, None),
        (
            "pphumanseg_paddleseg210",
            Preprocess(geometry=(Resize(width=398, height=224),)),
            (1, 3, 224, 398),
        ),
        (
            "raoyutian",
            Preprocess(geometry=(ResizeShort(size=512), ResizeToMultiple(multiple=32))),
            (-1, 3, -1, -1),
        ),
    ],
)
def test_the_five_dialects_of_paddleseg(shared_dir, name, preprocess, shape):
    config = parse_deploy_config(shared_dir / "data" / "deploy_yaml_samples" / f"{name}.yaml")
    assert config == DeployConfig(
        source=f"{name}.yaml (PaddleSeg)",
        preprocess=preprocess,
        model_file="model.pdmodel",
        params_file="model.pdiparams",
        input_shape=shape,
    )


def test_paddlex_1(tmp_path):
    config = parse(tmp_path, PADDLEX_1, "model.yml")
    assert config.preprocess == Preprocess(color="bgr", geometry=(ResizeLong(size=512), Pad(width=512, height=512)))
    assert (config.labels, config.num_classes) == (("_background_", "organoid"), 2)
    assert config.source == "model.yml (PaddleX 1)"
    assert config.notes == ("outputs: pred is unsqueeze2_0.tmp_0, logit is softmax_0.tmp_0",)
    assert parse(tmp_path, PADDLEX_1.replace("BGR", "RGB"), "model.yml").preprocess.color == "rgb"
    silent = PADDLEX_1.replace("TransformsMode: BGR\n", "")  # PaddleX 1's loader takes RGB then
    assert parse(tmp_path, silent, "model.yml").preprocess.color == "rgb"
    fixed = PADDLEX_1.replace("fixed_input_shape: null", "fixed_input_shape: [640, 480]")
    assert parse(tmp_path, fixed, "model.yml").input_shape == (1, 3, 480, 640)


def test_paddlex_2_writes_the_height_first(tmp_path):
    config = parse(tmp_path, PADDLEX_2, "model.yml")
    assert config.preprocess == Preprocess(color="rgb", geometry=(Resize(width=480, height=360),))
    assert (config.labels, config.input_shape) == (("a", "b", "c"), (1, 3, 360, 480))
    assert x2(tmp_path, "Normalize: null").preprocess.mean == (0.485, 0.456, 0.406)


def test_paddlex_3_keeps_the_ratio_unless_told_otherwise(tmp_path):
    config = parse(tmp_path, PADDLEX_3, "inference.yml")
    assert config.preprocess.geometry == (Resize(width=1024, height=512, keep_ratio=True, size_divisor=32),)
    assert config.preprocess.std == (0.229, 0.224, 0.225)
    assert (config.model_file, config.params_file) == ("inference.pdmodel", "inference.pdiparams")
    assert config.input_shape == (-1, 3, -1, -1)
    assert config.source == "inference.yml (PaddleX 3)"
    assert "turns the target by 90 degrees" in config.notes[0]
    plain = PADDLEX_3.replace("[1024, 512]", "[1024, 512], keep_ratio: false, size_divisor: null")
    assert parse(tmp_path, plain, "inference.yml").preprocess.geometry == (Resize(width=1024, height=512),)
    own = PADDLEX_3.replace("[1024, 512]", "-1")
    assert parse(tmp_path, own, "inference.yml").preprocess.geometry == ()


def test_paddlex_3_transform_ops(tmp_path):
    config = parse(tmp_path, PADDLEX_3_OPS, "inference.yml")
    assert config.preprocess == Preprocess(
        color="bgr",
        geometry=(Resize(width=320, height=240),),
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    assert config.labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("transform", "geometry"),
    [
        ("type: Resize", Resize(width=512, height=512)),
        ("type: Resize, target_size: [64, 48], interp: CUBIC", Resize(width=64, height=48, interpolation="cubic")),
        (
            "type: Resize, target_size: [64, 64], keep_ratio: true, size_divisor: 8",
            Resize(width=64, height=64, keep_ratio=True, size_divisor=8),
        ),
        ("type: ResizeByLong, long_size: 300", ResizeLong(size=300)),
        ("type: ResizeByShort, short_size: 300, max_size: 400", ResizeShort(size=300, max_size=400)),
        ("type: ResizeByShort, short_size: 300, max_size: -1", ResizeShort(size=300)),
        ("type: LimitLong, max_long: 900, min_long: 200", LimitLong(min_size=200, max_size=900)),
        ("type: LimitShort, max_short: 1536", LimitShort(max_size=1536)),
        ("type: LimitShort, max_short: 900, min_short: 200", LimitShort(min_size=200, max_size=900)),
        ("type: ResizeRangeScaling, min_value: 500, max_value: 500", ResizeLong(size=500)),
        ("type: ResizeToIntMult", ResizeToMultiple(multiple=32)),
        ("type: ResizeToMultiple, mult_int: 16", ResizeToMultiple(multiple=16)),
        ("type: Padding, target_size: [640, 480]", Pad(width=640, height=480)),
        ("type: Padding, target_size: [9, 8], im_padding_value: [1, 2, 3]", Pad(width=9, height=8, value=(1, 2, 3))),
        ("type: PaddingByAspectRatio, aspect_ratio: 1.77777778", PadToRatio(ratio=1.77777778)),
        ("type: PaddingByAspectRatio", PadToRatio(ratio=1)),
    ],
)
def test_transforms_of_paddleseg(tmp_path, transform, geometry):
    config = seg(tmp_path, transform, "type: Normalize")
    assert config.preprocess == Preprocess(geometry=(geometry,))


def test_transforms_that_touch_no_pixel(tmp_path):
    config = seg(tmp_path, "type: LoadImages", "type: Normalize", "type: ToTensor", "type: AddEdgeLabel, a: 1")
    assert config.preprocess == HALF
    assert seg(tmp_path, "type: LoadImages, to_rgb: false", "type: Normalize").preprocess.color == "bgr"


def test_without_normalize_the_model_gets_grey_levels(tmp_path):
    config = parse(tmp_path, "Deploy: {transforms: null}")
    assert config.preprocess == Preprocess(scale=1, mean=(0, 0, 0), std=(1, 1, 1))
    assert config.notes == ("warning: no Normalize: the model gets grey levels from 0 to 255",)


def test_one_number_counts_for_all_channels(tmp_path):
    config = seg(tmp_path, "type: Normalize, mean: [0.78], std: [0.01]")
    assert (config.preprocess.mean, config.preprocess.std) == ((0.78,) * 3, (0.01,) * 3)


@pytest.mark.parametrize(
    ("low", "high", "scaled"),
    [
        ("[0, 0, 0]", "[255, 255, 255]", True),
        ("[10, 20, 30]", "[110, 220, 255]", True),
        ("[0, 0, 0]", "[9, 9, 9]", False),
    ],
)
def test_ranges_of_values_are_folded_into_the_contract(tmp_path, low, high, scaled):
    text = f"min_val: {low}, max_val: {high}, is_scale: {str(scaled).lower()}"
    config = x2(tmp_path, f"Normalize: {{mean: [0.1, 0.2, 0.3], std: [0.4, 0.5, 0.6], {text}}}")
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    a, b = np.array(eval(low), float), np.array(eval(high), float)
    value = (image - a) / (b - a) if scaled else image.astype(float)
    expected = (value - [0.1, 0.2, 0.3]) / [0.4, 0.5, 0.6]
    tensor, _ = run.apply(config.preprocess, image)
    np.testing.assert_allclose(tensor[0].transpose(1, 2, 0), expected, rtol=1e-5, atol=1e-4)


def test_geometry_after_the_normalisation_means_the_same_before_it(tmp_path):
    """PaddleSeg in float64, step by step, against the contract that was made of it."""
    config = seg(
        tmp_path,
        "type: Normalize, mean: [0.1, 0.2, 0.3], std: [0.4, 0.5, 0.6]",
        "type: Padding, target_size: [5, 4], im_padding_value: [1, -2, 0]",
        "type: Normalize, mean: [0.5, 0.5, 0.5], std: [2, 2, 2]",
    )
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    first = (image / 255 - [0.1, 0.2, 0.3]) / [0.4, 0.5, 0.6]
    padded = np.empty((4, 5, 3))
    padded[:] = (1, -2, 0)
    padded[:3, :4] = first
    expected = (padded / 255 - 0.5) / 2
    tensor, _ = run.apply(config.preprocess, image)
    np.testing.assert_allclose(tensor[0].transpose(1, 2, 0), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (
            "type: Resise",
            r"transform 1, Resise: unknown transform, perhaps Resize\ncause: the known ones are .*LimitLong",
        ),
        ("type: Foo", "transform 1, Foo: unknown transform\n"),
        ("type: RandomHorizontalFlip", "RandomHorizontalFlip: a random transform\ncause: .*are for training"),
        ("type: RandomPaddingCrop, crop_size: [1, 1]", "RandomPaddingCrop: a random transform"),
        ("type: ResizeRangeScaling", "ResizeRangeScaling: a random size from 400 to 600"),
        ("type: ResizeStepScaling", "ResizeStepScaling: a random scale from 0.75 to 1.25"),
        ("type: Resize, interp: RANDOM", "Resize: a random interpolation"),
        ("type: Resize, interp: BEST", "interp is 'BEST', NEAREST, LINEAR"),
        ("type: Resize, target_size: [0, 4]", r"target_size is \[0, 4\], \[width, height\] is expected"),
        ("type: Resize, target_size: [4, 4, 4]", r"target_size is \[4, 4, 4\]"),
        ("type: Resize, target_size: big", "target_size is 'big'"),
        (
            "type: Resize, target_sise: [4, 4]",
            "unknown parameter 'target_sise', perhaps 'target_size'\ncause: Resize takes",
        ),
        ("type: ResizeByShort", "short_size is None, a number of pixels is expected"),
        ("type: ResizeByLong, long_size: -3", "long_size is -3, a number of pixels"),
        ("type: ResizeToIntMult, mult_int: 0", "multiple: Input should be greater than 0"),
        ("type: LimitLong, max_long: 1, min_long: 2", "min_long 2 is above max_long 1"),
        ("type: LimitShort, max_short: 1, min_short: 2", "min_short 2 is above max_short 1"),
        ("type: LimitShort, max_long: 1", "unknown parameter 'max_long'"),
        (
            "type: ResizeStepScaling, min_scale_factor: 0.5, max_scale_factor: 0.5",
            "a scale of 0.5\ncause: the contract resizes to a size, not by a factor",
        ),
        ("type: Padding", r"target_size is None, \[width, height\] is expected"),
        ("type: Padding, target_size: [4, 4], pad_mode: 1", "pad_mode 1\ncause: the contract pads at the right"),
        ("type: PaddingByAspectRatio, aspect_ratio: -1", "ratio: Input should be greater than 0"),
        ("type: ScalePadding", "ScalePadding: not expressible in the preprocessing contract\ncause: it pads around"),
        ("type: Normalize, std: [0.5, 0, 0.5]", r"std contains a 0, which is a divisor: \[0.5, 0.0, 0.5\]"),
        ("type: Normalize, mean: [1, 2]", r"mean is \[1, 2\], a number for each of 3 channels"),
        ("type: Normalize, mean: many", "mean is 'many'"),
        ("type: Normalize, mean: .nan", "mean is nan"),
        ("type: NormalizeImage, scale: .inf", "scale is inf"),
        ("type: NormalizeImage, scale: 1/0", "scale is '1/0', a number such as"),
        ("target_size: [4, 4]", "Deploy.transforms holds .* which has no `type`"),
    ],
)
def test_bad_transforms(tmp_path, transform, message):
    with pytest.raises(InputError, match=message) as caught:
        seg(tmp_path, transform)
    assert str(tmp_path / "deploy.yaml") in str(caught.value)


def test_a_padding_of_paddlex_2_without_a_size(tmp_path):
    assert x2(tmp_path, "Padding: {target_size: null}").preprocess.geometry == (PadToMultiple(multiple=32),)


def test_paddledetection(tmp_path):
    """Its order is resize, normalize, pad: zeros behind the normalization are the mean before it."""
    config = parse(
        tmp_path,
        """
mode: paddle
draw_threshold: 0.5
arch: RCNN
mask: true
Preprocess:
- {type: Resize, interp: 2, keep_ratio: true, target_size: [800, 1333]}
- {type: NormalizeImage, is_scale: true, mean: [0.5, 0.25, 0.1], std: [0.2, 0.2, 0.2]}
- {type: Permute}
- {type: PadStride, stride: 32}
label_list: [person, car]
""",
    )
    resize, pad = config.preprocess.geometry
    assert resize == ResizeShort(size=800, max_size=1333, interpolation="cubic")
    assert pad.multiple == 32
    assert pad.value == pytest.approx((127.5, 63.75, 25.5))
    assert (config.labels, config.num_classes) == (("person", "car"), 2)
    assert (config.preprocess.color, config.preprocess.scale) == ("rgb", 1 / 255)


@pytest.mark.parametrize(
    ("transform", "geometry"),
    [
        ("type: Resize, keep_ratio: false, target_size: [480, 640]", Resize(width=640, height=480)),
        ("type: Pad, size: [480, 640]", Pad(width=640, height=480, value=(114, 114, 114))),
        ("type: PadStride, stride: 16", PadToMultiple(multiple=16, value=(0, 0, 0))),
    ],
)
def test_transforms_of_paddledetection(tmp_path, transform, geometry):
    config = parse(tmp_path, f"arch: RCNN\nPreprocess: [{{{transform}}}]\n")
    assert config.preprocess.geometry == (geometry,)


def test_a_detector_of_paddlex_2(tmp_path):
    config = parse(
        tmp_path,
        """
version: 2.1.0
_Attributes: {model_type: detector, labels: [a, b], num_classes: 2}
Transforms:
- ResizeByShort: {short_size: 800, max_size: 1333, interp: CUBIC}
- Normalize: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
- BatchPadding: {pad_to_stride: 32}
""",
    )
    assert [op.op for op in config.preprocess.geometry] == ["resize_short", "pad_to_multiple"]
    assert config.preprocess.geometry[1].value == pytest.approx((123.675, 116.28, 103.53))


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{n}: &{n} [{', '.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("just words", "not a configuration\ncause: its top level is a str"),
        ("- 1\n- 2\n", "its top level is a list"),
        ("a: 1\nb: 2\n", "of an unknown system\ncause: its keys are a, b;"),
        ("arch: RCNN\nPreprocess: [{type: WarpAffine}]\n", "WarpAffine: not expressible in the preprocessing contract"),
        ("arch: RCNN\nPreprocess: 3\n", "Preprocess is a int, a list is expected"),
        ("arch: RCNN\nPreprocess: [{type: PadStride, stride: x}]\n", "stride is 'x', a number of pixels"),
        ("Deploy:\n\ttransforms: []\n", "not valid YAML\ncause: .*line 2"),
        ("Deploy: {transforms: [}\n", "not valid YAML"),
        ("Deploy: {transforms: []}\nDeploy: {}\n", "line 2: 'Deploy' is given twice, first in line 1"),
        (BOMB, "too much YAML"),
        ("Deploy: !!python/object/apply:os.system ['true']\n", "not plain YAML data"),
        ("Deploy: &a {transforms: *a}\n", "too much YAML|not valid YAML"),
        ("Deploy: " + "[" * 5000, "not valid YAML|too much YAML"),
        ("Deploy: {transforms: Normalize}\n", "Deploy.transforms is a str, a list is expected"),
        ("Deploy: {model: ../x.pdmodel, transforms: []}\n", "Deploy.model is '../x.pdmodel'\ncause: a file beside"),
        ("Deploy: {params: /etc/passwd, transforms: []}\n", "Deploy.params is '/etc/passwd'"),
        ("Deploy: {model: 3, transforms: []}\n", "Deploy.model is 3"),
        ("Deploy: {input_shape: 7, transforms: []}\n", "Deploy.input_shape is 7"),
        ("Deploy: {label_list: [a, a], transforms: []}\n", "two classes are called 'a'"),
        ("Deploy: {label_list: a, transforms: []}\n", "labels are 'a', a list of names"),
        ("Transforms:\n- 3\n", "Transforms holds 3, which is not a transform"),
        ("Transforms:\n- Resize: 3\n", "the parameters of Resize are 3"),
        ("Transforms: []\nstatus: Normal\n", "a training checkpoint of PaddleX .status Normal"),
        ("Transforms: []\n_Attributes: {model_type: detector}\n", "a detector of PaddleX 1\ncause: its program takes"),
        ("Transforms: []\n_Attributes: {model_type: classifier}\n", "a classifier, not a segmenter"),
        ("Transforms: []\n_Attributes: {labels: [a], num_classes: 2}\n", "1 labels for 2 classes"),
        ("Transforms: []\n_Attributes: {fixed_input_shape: 5}\n", "fixed_input_shape is 5"),
    ],
)
def test_bad_files(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        parse(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        parse_deploy_config(tmp_path / "gone.yaml")
    (tmp_path / "big.yaml").write_bytes(b"# \n" * 600_000)
    with pytest.raises(InputError, match="more than 1048576 bytes of YAML"):
        parse_deploy_config(tmp_path / "big.yaml")
    (tmp_path / "utf16.yaml").write_bytes("Deploy: {}".encode("utf-16"))
    with pytest.raises(InputError, match="not UTF-8 text"):
        parse_deploy_config(tmp_path / "utf16.yaml")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b'{"base_code":{"magic":"pir"}}' if name.endswith(".json") else b"x")


@pytest.mark.parametrize(
    ("names", "kind", "model", "params"),
    [
        (["model.pdmodel", "model.pdiparams", "deploy.yaml"], "paddle", "model.pdmodel", "model.pdiparams"),
        (
            ["inference.pdmodel", "inference.pdiparams", "inference.yml"],
            "paddle",
            "inference.pdmodel",
            "inference.pdiparams",
        ),
        (["__model__", "__params__", "model.yml", ".success"], "paddle", "__model__", "__params__"),
        (
            ["inference.json", "inference.pdiparams", "inference.yml"],
            "paddle-pir",
            "inference.json",
            "inference.pdiparams",
        ),
        (
            ["inference.json", "inference.pdmodel", "inference.pdiparams"],
            "paddle",
            "inference.pdmodel",
            "inference.pdiparams",
        ),
        (["model", "params", "deploy.yaml"], "paddle", "model", "params"),
        (["model.onnx"], "onnx", "model.onnx", None),
        (["model.nb"], "paddle-lite", "model.nb", None),
        (["manifest.json", "model.pdmodel"], "artifact", "manifest.json", None),
    ],
)
def test_models_are_found(tmp_path, names, kind, model, params):
    touch(tmp_path, *names)
    files = find_model(tmp_path)
    assert (files.kind, files.folder, files.model) == (kind, tmp_path, tmp_path / model)
    assert files.params == (tmp_path / params if params else None)
    assert find_model(tmp_path / model) == files
    if params and kind == "paddle":
        assert find_model(tmp_path / params) == files
    if files.config is not None:
        assert files.config.name in names
        assert find_model(files.config) == files


def test_a_deploy_yaml_chooses_among_models(tmp_path):
    touch(tmp_path, "a.pdmodel", "a.pdiparams", "b.pdmodel", "b.pdiparams")
    with pytest.raises(
        InputError, match=r": 2 models: a.pdmodel, b.pdmodel\nhint: name the one that you mean: .*a.pdmodel"
    ):
        find_model(tmp_path)
    (tmp_path / "deploy.yaml").write_text("Deploy: {model: b.pdmodel, transforms: []}")
    assert find_model(tmp_path).model.name == "b.pdmodel"


@pytest.mark.parametrize(
    "text",
    [
        "DEPLOY: {MODEL_PATH: freeze_model, MODEL_FILENAME: net.bin, PARAMS_FILENAME: weights}",
        "Deploy: {model: net.bin, params: weights}",
    ],
)
def test_a_deploy_yaml_names_files_of_any_name(tmp_path, text):
    touch(tmp_path, "net.bin", "weights", "README")
    (tmp_path / "deploy.yaml").write_text(text)
    files = find_model(tmp_path)
    assert (files.kind, files.model.name, files.params.name) == ("paddle", "net.bin", "weights")
    assert find_model(tmp_path / "net.bin") == find_model(tmp_path / "deploy.yaml") == files
    (tmp_path / "weights").unlink()
    with pytest.raises(InputError, match=r"net.bin: a program without its parameters\ncause: weights is not beside it"):
        find_model(tmp_path)


@pytest.mark.parametrize(
    ("names", "target", "message"),
    [
        (["params"], "params", "params: parameters without their program\ncause: model is not beside it"),
        ([], "", "no model\ncause: it is empty"),
        (["a.txt", "b.txt"], "", "no model\ncause: it contains a.txt, b.txt"),
        (
            ["model.pdparams", "model.pdopt"],
            "",
            r"a training checkpoint \(model.pdopt\).*\n.*\nhint: of PaddleSeg: import it .*--config CONFIG",
        ),
        (["model.pdparams"], "model.pdparams", "model.pdparams: a training checkpoint, not an export"),
        (
            ["model.pdmodel"],
            "",
            r"model.pdmodel: a program without its parameters\ncause: model.pdiparams is not beside",
        ),
        (
            ["model.pdiparams"],
            "model.pdiparams",
            "parameters without their program\ncause: model.pdmodel is not beside it",
        ),
        (
            ["best/inference/model.pdmodel", "out/model.onnx"],
            "",
            "no model in the folder itself\ncause: there is one in out\n",
        ),
        (["m.tar"], "m.tar", "an archive\nhint: unpack it"),
        (["m.pth"], "m.pth", "not a supported model"),
        ([], "gone", "gone: no such file or folder"),
    ],
)
def test_what_is_no_model(tmp_path, names, target, message):
    touch(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        find_model(tmp_path / target)


def test_empty_programs_and_other_json(tmp_path):
    touch(tmp_path, "model.pdiparams")
    (tmp_path / "model.pdmodel").write_bytes(b"")
    with pytest.raises(InputError, match=r"model.pdmodel: the file is empty"):
        find_model(tmp_path)
    (tmp_path / "config.json").write_text('{"a": 1}')
    with pytest.raises(InputError, match=r"config.json: not a supported model"):
        find_model(tmp_path / "config.json")


def test_a_bare_program_gets_paddlesegs_defaults_and_says_so(tmp_path):
    touch(tmp_path, "model.pdmodel", "model.pdiparams")
    config = read_deploy_config(find_model(tmp_path))
    assert config.preprocess == HALF
    assert config.notes == (
        "warning: no deploy.yaml, inference.yml, model.yml beside the model: PaddleSeg's defaults are assumed "
        "(RGB, /255, mean 0.5, std 0.5, no resize)",
    )
    assert str(tmp_path) not in config.model_dump_json()
    grey = read_deploy_config(find_model(tmp_path), channels=1)
    assert grey.preprocess == Preprocess(color="gray", mean=(0.5,), std=(0.5,))
    assert "are assumed (grey, " in grey.notes[0]
    with pytest.raises(InputError, match="it is unknown how images become its 6 channels") as told:
        read_deploy_config(find_model(tmp_path), channels=6)
    assert "--preprocess" in told.value.hint


def test_what_the_user_states_stands_for_what_cannot_be_read(tmp_path):
    own = Preprocess(color="channels", mean=(0.1, 0.2), std=(1, 1))
    touch(tmp_path, "model.pdmodel", "model.pdiparams")
    alone = DeployConfig(source="model.pdmodel alone", preprocess=own)
    assert read_deploy_config(find_model(tmp_path), 2, own) == alone
    texts = {
        "Deploy: {label_list: [a, b], transforms: [{type: LetterBoxResize}]}": (("a", "b"), ()),
        "Something: else": (None, ("warning: deploy.yaml is of an unknown system, and was not read",)),
        "DEPLOY: {USE_PR: 1, CHANNELS: 3}": (None, ()),
    }
    for text, (labels, notes) in texts.items():
        (tmp_path / "deploy.yaml").write_text(text)
        with pytest.raises(InputError) as told:
            read_deploy_config(find_model(tmp_path))
        assert "--preprocess FILE" in told.value.hint
        config = read_deploy_config(find_model(tmp_path), 2, own)
        assert (config.preprocess, config.labels) == (own, labels)
        assert len(config.notes) == len(notes)
        assert all(said.startswith(wanted) for said, wanted in zip(config.notes, notes, strict=True))


# As PaddleX 0.1.7 writes it; PaddleSeg's HumanSeg too.
PADDLEX_0 = """
Model: DeepLabv3p
_Attributes: {labels: [bg, fg], model_type: segmenter, num_classes: 2}
status: Infer
test_transforms:
- Resize: {target_size: [64, 48], interp: LINEAR}
- Normalize: {mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
version: 0.1.7
"""


def test_paddlex_0(tmp_path):
    config = parse(tmp_path, PADDLEX_0, "model.yml")
    assert config.preprocess == Preprocess(geometry=(Resize(width=64, height=48),))
    assert (config.labels, config.notes, config.source) == (("bg", "fg"), (), "model.yml (PaddleX 1)")
    without = parse(tmp_path, PADDLEX_0.replace("test_transforms", "train_transforms"), "model.yml")
    assert "warning: model.yml names no transforms" in without.notes
    saved = PADDLEX_0.replace("status: Infer", "save_method: fluid.save")
    with pytest.raises(InputError, match="a training checkpoint of PaddleX"):
        parse(tmp_path, saved, "model.yml")


def test_transforms_of_paddlexs_first_form(tmp_path):
    text = """
    Transforms:
    - [DecodeImage, {to_rgb: true, with_mixup: false}]
    - [ResizeByShort, {target_size: 100, max_size: null}]
    - [Normalize, {mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}]
    - [Permute, {to_bgr: false, channel_first: true}]
    - [ArrangeSegmenter, {mode: test}]
    BatchTransforms: []
    TransformsMode: BGR
    """
    config = parse(tmp_path, text, "model.yml")
    assert config.preprocess == Preprocess(geometry=(ResizeShort(size=100, interpolation="nearest"),))


# As PaddleSeg 0.x writes it.
PADDLESEG_0 = """
DEPLOY:
    USE_GPU : 1
    USE_PR : 0
    MODEL_PATH : "freeze_model"
    MODEL_FILENAME : "__model__"
    PARAMS_FILENAME : "__params__"
    EVAL_CROP_SIZE : (2049, 1025)
    MEAN : [0.5, 0.25, 0.125]
    STD : [0.5, 0.5, 0.25]
    IMAGE_TYPE : "rgb"
    NUM_CLASSES : 19
    CHANNELS : 3
    PRE_PROCESSOR : "SegPreProcessor"
    PREDICTOR_MODE : "ANALYSIS"
    BATCH_SIZE : 1
"""


def test_paddleseg_0(tmp_path):
    config = parse(tmp_path, PADDLESEG_0)
    assert config.preprocess == Preprocess(
        color="bgr", geometry=(Resize(width=2049, height=1025),), mean=(0.5, 0.25, 0.125), std=(0.5, 0.5, 0.25)
    )
    assert (config.num_classes, config.model_file, config.params_file) == (19, "__model__", "__params__")
    assert config.source == "deploy.yaml (PaddleSeg 0)"
    assert config.notes == ("channels in OpenCV's order, bgr: PaddleSeg 0 never reverses them",)
    four = PADDLESEG_0.replace("CHANNELS : 3", "CHANNELS : 4").replace("0.125]", "0.125, 0]")
    four = four.replace('0.25]\n    IMAGE_TYPE : "rgb', '0.25, 1]\n    IMAGE_TYPE : "rgba')
    (tmp_path / "four.yaml").write_text(four)
    found = parse_deploy_config(tmp_path / "four.yaml", 4).preprocess
    assert (found.color, found.mean, found.std) == ("bgra", (0.5, 0.25, 0.125, 0.0), (0.5, 0.5, 0.25, 1.0))
    unknown = parse(tmp_path, PADDLESEG_0 + "    FLIP: 1\n")
    assert unknown.notes[1] == "warning: deploy.yaml: DEPLOY.FLIP is unknown and was not used"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("USE_PR : 0", "USE_PR : 1", r"DEPLOY.USE_PR is 1\ncause: part of the preprocessing is inside the network"),
        ("(2049, 1025)", "(0, 5)", r"DEPLOY.EVAL_CROP_SIZE is '\(0, 5\)', \(width, height\) is expected"),
        ("(2049, 1025)", "2049", "DEPLOY.EVAL_CROP_SIZE is 2049"),
        ("(2049, 1025)", "(((((", "DEPLOY.EVAL_CROP_SIZE is '"),
        ("CHANNELS : 3", "CHANNELS : 4", "DEPLOY.CHANNELS is 4, the network takes 3"),
        ("MEAN : [0.5, 0.25, 0.125]", "MEAN : [0.5, 0.25]", r"MEAN is \[0.5, 0.25\], a number for each of 3 channels"),
        ("STD : [0.5, 0.5, 0.25]", "STD : [0.5, 0, 0.25]", "DEPLOY.STD contains a 0"),
        ("BATCH_SIZE : 1", 'RESIZE_TYPE: "RANGE_SCALING"', "RESIZE_TYPE is 'RANGE_SCALING', UNPADDING is known"),
    ],
)
def test_bad_files_of_paddleseg_0(tmp_path, old, new, message):
    assert old in PADDLESEG_0
    with pytest.raises(InputError, match=message):
        parse(tmp_path, PADDLESEG_0.replace(old, new))


def test_other_numbers_of_channels(tmp_path):
    path = tmp_path / "deploy.yaml"
    path.write_text("Deploy: {transforms: [{type: Padding, target_size: [8, 8]}, {type: Normalize, mean: [0.5]}]}")
    grey = parse_deploy_config(path, 1)
    assert grey.preprocess == Preprocess(
        color="gray", geometry=(Pad(width=8, height=8, value=(127.5,)),), mean=(0.5,), std=(0.5,)
    )
    assert grey.notes == ()
    six = parse_deploy_config(path, 6)
    assert (six.preprocess.color, six.preprocess.depth) == ("channels", "stored")
    assert (six.preprocess.mean, six.preprocess.geometry[0].value) == ((0.5,) * 6, (127.5,) * 6)
    assert six.notes[0].startswith("warning: PaddleSeg does not say how images of 6 channels are read")
    path.write_text("Deploy: {transforms: [{type: Normalize, mean: [0.1, 0.2, 0.3], std: [1, 1, 1]}]}")
    with pytest.raises(InputError, match=r"mean is \[0.1, 0.2, 0.3\], a number for each of 4 channels is expected"):
        parse_deploy_config(path, 4)


def test_paddlex_reads_16_bits_as_they_are_stored(tmp_path):
    path = tmp_path / "model.yml"
    path.write_text("""
    Transforms:
    - Normalize: {mean: [0.5, 0.5], std: [0.25, 0.25], min_val: [0, 0], max_val: [65535, 32767]}
    TransformsMode: BGR
    """)
    contract = parse_deploy_config(path, 2).preprocess
    assert (contract.color, contract.depth, contract.scale) == ("channels", "stored", 1.0)
    assert contract.mean == (0.5 * 65535, 0.5 * 32767)
    path.write_text("Transforms: [{Normalize: {max_val: [65535, 65535, 65535]}}]\nTransformsMode: BGR")
    contract = parse_deploy_config(path).preprocess
    assert (contract.color, contract.depth, contract.scale) == ("bgr", "stored", 1 / 65535)


def test_remote_sensing_of_paddlex_1_clips(tmp_path):
    """PaddleX's own steps in float64 against the contract, in either order."""
    path = tmp_path / "model.yml"
    clip = "Clip: {min_val: [100, 0], max_val: [3000, 500]}"
    normalize = "Normalize: {mean: [0.5, 0.4], std: [0.2, 0.1], min_val: [0, 0], max_val: [4000, 500]}"
    image = np.random.default_rng(0).integers(0, 5000, (3, 4, 2), dtype=np.uint16)
    path.write_text(f"Transforms: [{clip}, {normalize}]\nTransformsMode: BGR")
    config = parse_deploy_config(path, 2)
    assert config.preprocess.geometry == (Clip(low=(100, 0), high=(3000, 500)),)
    assert (config.preprocess.depth, config.notes) == ("stored", ())
    expected = (np.clip(image, [100, 0], [3000, 500]) / [4000, 500] - [0.5, 0.4]) / [0.2, 0.1]
    tensor, _ = run.apply(config.preprocess, image)
    np.testing.assert_allclose(tensor[0].transpose(1, 2, 0), expected, rtol=0, atol=1e-5)

    behind = "Clip: {min_val: [-1, -2], max_val: [1, 2]}"
    path.write_text(f"Transforms: [{normalize}, {behind}]\nTransformsMode: BGR")
    expected = np.clip((image / [4000, 500] - [0.5, 0.4]) / [0.2, 0.1], [-1, -2], [1, 2])
    tensor, _ = run.apply(parse_deploy_config(path, 2).preprocess, image)
    np.testing.assert_allclose(tensor[0].transpose(1, 2, 0), expected, rtol=0, atol=1e-5)

    path.write_text("Transforms: [{Clip: {}}]\nTransformsMode: BGR")
    assert parse_deploy_config(path).preprocess.geometry == (Clip(low=(0,) * 3, high=(255,) * 3),)
    path.write_text("Transforms: [{Clip: {min_val: [9], max_val: [8]}}]\nTransformsMode: BGR")
    with pytest.raises(InputError, match=r"Clip: .*a low and a high of each channel"):
        parse_deploy_config(path)


def test_a_transform_of_multi_label_networks_is_told(tmp_path):
    assert seg(tmp_path, "type: AddMultiLabelAuxiliaryCategory").multi_label
    assert not seg(tmp_path, "type: Normalize").multi_label


def test_real_exports(shared_dir):
    models = shared_dir / "models"
    config = read_deploy_config(find_model(models / "camvid_small"))
    assert config.preprocess == Preprocess(geometry=(Resize(width=256, height=192),))
    assert config.input_shape == (1, 3, 192, 256)
    with pytest.raises(InputError, match="there is one in export_argmax, export_logits"):
        find_model(models / "espnet_cityscapes")
    zoo = sorted((shared_dir / "zoo" / "pir").glob("*.json"))
    assert zoo
    with pytest.raises(InputError, match="a program without its parameters"):  # recognised as a program
        find_model(zoo[0])
