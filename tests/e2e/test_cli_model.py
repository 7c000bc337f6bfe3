"""`segexport evaluate`, `predict` and `pipeline` as a person meets them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from installed import require_worker
from PIL import Image

import segexport
from segexport.errors import InputError
from segexport.predict.model_pipeline import read_config

IMAGE = "data/images/tile_00.png"


@pytest.fixture
def inside(workplace, monkeypatch):
    """The workplace as this process's own."""
    monkeypatch.chdir(workplace.root)
    monkeypatch.setenv("SEGEXPORT_CACHE", str(workplace.cache))
    return workplace


# -- evaluate --------------------------------------------------------------------------------------------------


def test_evaluate_says_what_the_library_says(inside):
    done = inside.segexport(
        "evaluate", "model", "--data", "data", "--split", "all", "--details", "--format", "json", "-o", "new/m.json"
    )
    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)
    assert json.loads((inside.root / "new/m.json").read_text()) == found
    with segexport.load("model") as model:
        metrics, details = model.evaluate("data", split="all", return_details=True)
    assert {key: found[key] for key in metrics} == metrics
    assert found["confusion_matrix"] == details["confusion_matrix"]
    assert found["dataset"] == {"name": "data", "split": "all", "images": 16}
    assert found["labels"] == ["background", "nucleus"]
    assert found["format"] == "paddle"


def test_evaluate_as_a_table(workplace):
    done = workplace.segexport("evaluate", "model", "--data", "data")
    assert done.code == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert " ".join(lines[0]) == "model (paddle) on data, val: 3 images"
    assert [line[0] for line in lines if len(line) == 3 and line[2][:2] == "0."] == ["background", "nucleus", "mean"]
    assert "Pixels" not in done.stdout
    assert "Pixels" in workplace.segexport("evaluate", "model", "--data", "data", "--details").stdout


@pytest.mark.parametrize("target", ["onnx", "paddle-lite"])
def test_evaluate_and_predict_take_every_format(inside, target):
    assert inside.segexport("export", "model", "--to", target, "-o", "export").code == 0
    done = inside.segexport("evaluate", "export", "--data", "data", "--format", "json")
    assert done.code == 0, done.stderr
    own = json.loads(inside.segexport("evaluate", "model", "--data", "data", "--format", "json").stdout)
    assert json.loads(done.stdout)["miou"] == pytest.approx(own["miou"], abs=1e-3)
    assert inside.segexport("predict", "export", IMAGE, "-o", "out", "--kind", "mask").code == 0
    with segexport.load("model") as model:
        (found,) = model.predict(IMAGE)
    mask = np.asarray(Image.open(inside.root / "out/tile_00.png"))
    assert (mask == found.label_map).mean() > 0.999


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "gone", "--data", "data"], "gone"),
        (["evaluate", "model", "--data", "gone"], "gone: no such folder"),
        (["evaluate", "model", "--data", "data", "--split", "night"], "night"),
        (["evaluate", "model", "--data", "data/images"], "the images have no labels"),
        (["evaluate", "model", "--data", "data", "-o", "data"], "data: is a folder"),
        (["evaluate", "model", "--data", "data", "--device", "npu:0"], "device 'npu:0': paddle here has cpu"),
        (["predict", "model", "gone.png"], "gone.png"),
        (["predict", "model", "data"], "data: no images in this folder"),
        (["predict", "model", IMAGE, "--device", "xpu"], "device 'xpu': paddle here has cpu"),
        (["predict", "model", IMAGE, "--target-size", "64"], "the model's input 'x' takes 128x128"),
        (["predict", "model", IMAGE, "-o", "data/images"], "data/images/tile_00.png: this is the image itself"),
        (["predict", "model", IMAGE, "-o", "data/val.txt"], "data/val.txt: cannot be written"),
        (["pipeline", "gone.yaml", "--input", IMAGE], "gone.yaml: no such pipeline file"),
        (["pipeline", "semantic_segmentation", "--input", IMAGE], "no model is named"),
        (["pipeline", "--get-config", "ocr"], "there is no pipeline 'ocr'"),
        (["pipeline", "--get-config", "semantic_segmentation", "-o", "recipe.yaml"], "recipe.yaml: exists"),
    ],
)
def test_bad_input(workplace, arguments, said):
    workplace.recipe()
    before = (workplace.root / IMAGE).read_bytes()
    done = workplace.segexport(*arguments)
    assert (done.code, done.stdout) == (2, "")
    assert said in done.error
    assert "Traceback" not in done.stderr
    assert (workplace.root / IMAGE).read_bytes() == before
    assert sorted(path.name for path in workplace.root.iterdir()) == ["data", "model", "recipe.yaml"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predict", "model", IMAGE, "--target-size", "0"], "'0' is not a size: -1, 512, or 1024x512"),
        (["predict", "model", IMAGE, "--slice-size", "-1"], "'-1' is not a size: 512, or 1024x512"),
        (["predict", "model", IMAGE, "--slice-size", "1x2x3"], "'1x2x3' is not a size"),
        (["predict", "model", IMAGE, "--kind", "heat"], "'heat' is not one of 'overlay', 'color', 'mask'"),
        (["predict", "model"], "Missing argument 'INPUTS...'"),
        (["evaluate", "model"], "Missing option '--data'"),
        (["pipeline"], "give PIPELINE and --input, or --get-config"),
        (["pipeline", "p.yaml"], "give PIPELINE and --input, or --get-config"),
    ],
)
def test_misused_options(bare, arguments, said):
    done = bare.segexport(*arguments)
    assert done.code == 2
    assert said in done.stderr


# -- predict ---------------------------------------------------------------------------------------------------


def test_predict_writes_a_picture_of_each_image(inside):
    done = inside.segexport("predict", "model", "data/images", IMAGE, "-o", "out", "--kind", "mask", "--json")
    assert done.code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 17
    assert lines[0].startswith(f"{IMAGE}: 128x128; class_0 ")
    assert lines[0].endswith("-> out/tile_00.png")
    assert lines[16].endswith("-> out/tile_00_2.png")  # nothing is overwritten
    assert len(list((inside.root / "out").iterdir())) == 34
    with segexport.load("model") as model:
        (found,) = model.predict(IMAGE)
    mask = np.asarray(Image.open(inside.root / "out/tile_00.png"))
    assert np.array_equal(mask, found.label_map)
    assert json.loads((inside.root / "out/tile_00.json").read_text()) == found.json["res"]
    share = (mask == 1).mean()
    assert f"class_1 {share:.1%}" in lines[0]


def test_predict_without_an_output_writes_nothing(workplace):
    done = workplace.segexport("-q", "predict", "model", IMAGE, "--slice-size", "100x80", "--threads", "2")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{IMAGE}: 128x128;")
    assert sorted(path.name for path in workplace.root.iterdir()) == ["data", "model"]


def test_predict_stops_at_a_broken_image_and_keeps_what_was_done(workplace):
    (workplace.root / "data/images/tile_02.png").write_bytes(b"broken")
    done = workplace.segexport("predict", "model", "data/images", "-o", "out")
    assert done.code == 2
    assert done.error == "data/images/tile_02.png: not an image"
    assert len(done.stdout.splitlines()) == 2
    assert sorted(path.name for path in (workplace.root / "out").iterdir()) == ["tile_00.png", "tile_01.png"]


# -- pipelines -------------------------------------------------------------------------------------------------


def test_the_config_that_is_written_runs(inside):
    printed = inside.segexport("pipeline", "--get-config", "semantic_segmentation")
    assert printed.code == 0
    done = inside.segexport("pipeline", "--get-config", "semantic_segmentation", "-o", "my/p.yaml")
    assert (done.code, done.stdout) == (0, "")
    assert (inside.root / "my/p.yaml").read_text() == printed.stdout
    content = yaml.safe_load(printed.stdout)
    assert content["Pipeline"] == {
        "model": "model",
        "device": "cpu",
        "runtime": None,
        "batch_size": 1,
        "target_size": None,
    }
    content["Pipeline"]["model"] = "../model"  # relative to the file
    (inside.root / "my/p.yaml").write_text(yaml.safe_dump(content))

    by_file = inside.segexport("pipeline", "my/p.yaml", "--input", IMAGE, "--input", IMAGE, "-o", "out")
    assert by_file.code == 0, by_file.stderr
    assert [line.partition(" -> ")[2] for line in by_file.stdout.splitlines()] == [
        "out/tile_00.png",
        "out/tile_00_2.png",
    ]
    by_name = inside.segexport("pipeline", "semantic_segmentation", "--model", "model", "--input", IMAGE)
    assert by_name.stdout.splitlines()[0] == by_file.stdout.splitlines()[0].partition(" -> ")[0]

    with segexport.create_pipeline("my/p.yaml") as pipeline, segexport.load("model") as model:
        (found,) = pipeline.predict({"img": IMAGE})
        (wanted,) = model.predict(IMAGE)
        assert np.array_equal(found.score_map, wanted.score_map)


def test_settings_of_the_file_and_over_it(inside):
    def write(**settings) -> str:
        (inside.root / "p.yaml").write_text(yaml.safe_dump({"Pipeline": {"model": "model", **settings}}))
        return "p.yaml"

    with segexport.create_pipeline(write(batch_size=4, target_size=[64, 32])) as pipeline:
        assert pipeline.batch_size == 4
        with pytest.raises(InputError, match="tensor of 64x32"):
            list(pipeline.predict(IMAGE))
        assert len(list(pipeline.predict(IMAGE, target_size=128))) == 1  # predict's before the file's
    with segexport.create_pipeline("p.yaml", target_size=128, batch_size=2) as pipeline:  # create's before the file's
        assert pipeline.batch_size == 2
        assert len(list(pipeline.predict(IMAGE))) == 1
    with pytest.raises(InputError, match="device 'npu:0': paddle here has cpu"):
        segexport.create_pipeline(write(device="npu:0"))
    segexport.create_pipeline("p.yaml", device="cpu").close()
    with pytest.raises(InputError, match="device 'gpu:x'"):
        segexport.create_pipeline(write(), device="gpu:x")


def test_a_runtime_by_option_file_and_enable_hpi(inside, monkeypatch):
    require_worker("openvino")
    assert inside.segexport("export", "model", "--to", "onnx", "-o", "export").code == 0
    measured = []

    def fastest(artifact, _options) -> str:
        measured.append(artifact.path.name)
        return "openvino"

    monkeypatch.setattr("segexport.predict.fastest_runtime.fastest_runtime", fastest)

    def runtime_of(*, named: str | None = None, **options) -> str:
        settings = {"model": "export", "runtime": named}
        (inside.root / "p.yaml").write_text(yaml.safe_dump({"Pipeline": settings}))
        with segexport.create_pipeline("p.yaml", **options) as pipeline:
            assert len(list(pipeline.predict(IMAGE))) == 1
            return repr(pipeline.model).split(" in ")[1].split()[0]

    assert runtime_of() == "onnxruntime"
    assert runtime_of(named="openvino") == "openvino"
    assert runtime_of(named="openvino", runtime="onnxruntime", enable_hpi=True) == "onnxruntime"
    assert measured == []
    assert runtime_of(enable_hpi=True) == "openvino"
    assert measured == ["export"]
    done = inside.segexport("predict", "export", IMAGE, "--runtime", "openvino")
    assert (done.code, "tile_00.png" in done.stdout) == (0, True), done.stderr
    for arguments in (("predict", "export", IMAGE), ("pipeline", "p.yaml", "--input", IMAGE), ("serve", "export")):
        refused = inside.segexport(*arguments, "--runtime", "ncnn")
        assert refused.code == 2
        assert "onnxruntime, openvino" in refused.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Pipeline: {}", "model"),
        ("Pipeline: {model: m, batch_size: 0}", "batch_size"),
        ("Pipeline: {model: m, modle: n}", "modle"),
        ("Pipeline: {model: m, target_size: big}", "target_size"),
        ("Global: {pipeline_name: ocr}\nPipeline: {model: m}", "pipeline_name"),
        ("[1, 2]", ""),
        ("just words", ""),
    ],
)
def test_files_that_are_no_pipelines(tmp_path, text, said):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"p\.yaml: not a pipeline's file") as caught:
        read_config(path)
    assert said in caught.value.cause


def test_help_is_quick(bare):
    """Nothing heavy is imported for it."""
    import subprocess
    import sys

    source = (
        "import sys; from segexport.cli.main import cli\n"
        "heavy = {'numpy', 'cv2', 'pydantic', 'rich', 'yaml', 'PIL'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", source], check=True)
    for command in ("data", "evaluate", "predict", "pipeline"):
        assert command in bare.segexport("--help").stdout
        assert bare.segexport(command, "--help").code == 0
