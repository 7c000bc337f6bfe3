"""The check of exports that find objects: verdicts, reports in all forms, and what does not fit together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from segexport.artifact import ModelArtifact
from segexport.check.compare import check as run_check
from segexport.check.request import CheckRequest
from segexport.data.dataset import Dataset
from segexport.errors import InputError
from segexport.exporter import program
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.store import Store
from segexport.judge.results import Export
from segexport.recipe.schema import CheckRecipe
from segexport.references.baseline import Tolerances, against
from segexport.references.live import LiveReference
from segexport.report import FORMS, read, render, write
from segexport.report.schema import Report
from segexport.task.open_data import open_data
from segexport.verdict import Verdict

OPTIONS = CheckRecipe(latency_seconds=0, worst_images=2)


def subject(name: str, artifact: ModelArtifact) -> Export:
    return Export(name, artifact.manifest.format, artifact.manifest.target.precision, artifact)


def check(reference: ModelArtifact, exports: list[Export], data: Dataset, folder: Path) -> Report:
    return run_check(CheckRequest(LiveReference(reference), tuple(exports), data, folder, OPTIONS))


def checks(report: Report, index: int = 0) -> dict[str, Verdict]:
    return {one.name: one.verdict for one in report.exports[index].checks}


@pytest.fixture(scope="session")
def spoiled(detector: Path, tmp_path_factory: pytest.TempPathFactory, store: Store) -> ModelArtifact:
    """The detector with its classes' weights mixed up by half: scores change, and some classes."""
    folder = tmp_path_factory.mktemp("spoiled") / "spoiled"
    folder.mkdir()
    graph = program.read(detector / "model.pdmodel", detector / "model.pdiparams")
    name = next(name for name, value in graph.params.items() if value.shape == (98, 3))
    weight = graph.params[name].copy()
    weight[:, :2] = 0.45 * weight[:, :2] + 0.55 * weight[:, 1::-1]
    graph.params = {**graph.params, name: weight}
    graph.write(folder)
    (folder / "infer_cfg.yml").write_text((detector / "infer_cfg.yml").read_text())
    return import_model(folder, ImportOptions(), store)


@pytest.fixture(scope="module")
def report(
    imported: ModelArtifact,
    onnx: ModelArtifact,
    lite: ModelArtifact,
    spoiled: ModelArtifact,
    coco: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Report, Path]:
    folder = tmp_path_factory.mktemp("report")
    subjects = [subject("onnx", onnx), subject("lite", lite), subject("spoiled", spoiled)]
    found = check(imported, subjects, open_data(coco), folder)
    write(found, folder)
    return found, folder


def test_sound_exports_pass(report: tuple[Report, Path]) -> None:
    found, _ = report
    assert found.task == "instance"
    for index in (0, 1):
        export = found.exports[index]
        assert export.verdict is Verdict.PASS
        names = checks(found, index)
        for name in ("tripwire.objects", "agreement.objects", "agreement.boxes", "agreement.masks"):
            assert names[name] is Verdict.PASS
        for name in ("bbox_ap.delta", "segm_ap.delta"):
            assert names[name] is Verdict.PASS
        assert export.agreement == 1
        assert abs(export.objects.segm_mmap_delta) < 1e-3
        assert export.objects.mask_iou > 0.999


def test_a_spoiled_one_fails(report: tuple[Report, Path]) -> None:
    found, folder = report
    export = found.exports[2]
    assert export.verdict is Verdict.FAIL
    assert checks(found, 2)["agreement.objects"] is Verdict.FAIL
    assert export.objects.segm_mmap_delta < -0.1
    low, high = export.objects.segm_mmap_delta_interval
    assert low < export.objects.segm_mmap_delta < high
    assert len(export.worst_images) == 2
    assert all((folder / image.picture).is_file() for image in export.worst_images)
    assert export.worst_images[0].agreement <= export.worst_images[1].agreement


def test_figures_are_those_of_evaluate(report: tuple[Report, Path], imported: ModelArtifact, coco: Path) -> None:
    from segexport.task.instance.model import InstanceModel

    with InstanceModel(imported) as model:
        metrics = model.evaluate(coco)
    reference = report[0].reference.objects
    assert reference.bbox_mmap == pytest.approx(metrics["bbox_mmap"])
    assert reference.segm_mmap == pytest.approx(metrics["segm_mmap"])
    assert reference.class_ap == pytest.approx(metrics["category_segm_ap"])


def test_every_form_speaks_of_ap(report: tuple[Report, Path]) -> None:
    found, folder = report
    assert read(folder) == found
    for form in FORMS:
        text = render(found, form, folder)
        assert "mIoU" not in text.replace("miou", ""), form
    for form in ("table", "markdown", "html"):
        assert "mask AP" in render(found, form, folder)
    assert "mask AP per class" in render(found, "html", folder)
    assert "segm_ap.delta" in render(found, "junit", folder)
    assert "AP is measured against the annotations" in render(found, "markdown", folder)


def test_a_baseline_holds_ap(report: tuple[Report, Path]) -> None:
    found, folder = report
    better = found.exports[0].objects.model_copy(update={"segm_mmap": found.exports[0].objects.segm_mmap + 0.1})
    before = found.model_copy(
        update={"exports": (found.exports[0].model_copy(update={"objects": better}), *found.exports[1:])}
    )
    held = against(found, before, Tolerances(), where=folder)
    assert checks(held)["baseline.ap"] is Verdict.FAIL
    assert checks(against(found, found, Tolerances(), where=folder))["baseline.ap"] is Verdict.PASS


def test_images_without_annotations(imported: ModelArtifact, onnx: ModelArtifact, coco: Path, tmp_path: Path) -> None:
    found = check(imported, [subject("onnx", onnx)], Dataset.open(coco / "images"), tmp_path)
    assert found.verdict is Verdict.PASS
    assert checks(found)["segm_ap.delta"] is Verdict.SKIPPED
    assert checks(found)["agreement.masks"] is Verdict.PASS
    assert found.reference.objects.segm_mmap is None


def test_images_in_which_nothing_is(imported: ModelArtifact, onnx: ModelArtifact, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "images").mkdir()
    for index in range(2):
        Image.new("RGB", (100, 80)).save(tmp_path / f"images/{index}.png")
    found = check(imported, [subject("onnx", onnx)], Dataset.open(tmp_path / "images"), tmp_path / "out")
    assert checks(found)["tripwire.objects"] is Verdict.INCONCLUSIVE
    assert found.verdict is not Verdict.PASS


def test_another_size_in_the_export_than_in_the_reference(
    free_detector: Path, onnx: ModelArtifact, coco: Path, tmp_path: Path, store: Store
) -> None:
    """A reference of dynamic size is given the exports' preprocessing."""
    reference = import_model(free_detector, ImportOptions(), store)
    found = check(reference, [subject("onnx", onnx)], open_data(coco), tmp_path)
    assert found.verdict is Verdict.PASS
    assert any("was given the exports' input size" in note for note in found.notes)


def test_objects_and_pixels_do_not_go_together(
    imported: ModelArtifact, onnx: ModelArtifact, coco: Path, tmp_path: Path
) -> None:
    from PIL import Image

    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    Image.new("L", (20, 20)).save(tmp_path / "b.png")
    (tmp_path / "val.txt").write_text("a.png b.png\n")
    with pytest.raises(InputError, match="pixel labels, but the model does instance segmentation"):
        check(imported, [subject("onnx", onnx)], Dataset.open(tmp_path), tmp_path / "out")
    pixels = ModelArtifact(
        imported.path,
        imported.manifest.model_copy(
            update={
                "outputs": tuple(one.model_copy(update={"semantics": "other"}) for one in imported.manifest.outputs)
            }
        ),
    )
    with pytest.raises(InputError, match="its task is instance, that of the reference semantic"):
        check(pixels, [subject("onnx", onnx)], open_data(coco), tmp_path / "out")


# -- the command line ------------------------------------------------------------------------------------------------


def segexport(*arguments: str | Path, cache: Path) -> subprocess.CompletedProcess[str]:
    import os

    environment = {**os.environ, "SEGEXPORT_CACHE": str(cache), "COLUMNS": "160", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "segexport", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_commands(detector: Path, onnx: ModelArtifact, coco: Path, store: Store, tmp_path: Path) -> None:
    cache = store.objects.parent.parent
    done = segexport("evaluate", detector, "--data", coco, "--format", "json", "--details", cache=cache)
    found = json.loads(done.stdout)
    assert found["labels"] == ["red", "green"]
    assert 0 < found["segm_mmap"] < 1
    assert len(found["gt"]) > 10
    assert "mask AP" in segexport("evaluate", onnx.path, "--data", coco, "--metric", "VOC", cache=cache).stdout
    done = segexport("predict", detector, coco / "images/001.png", "-o", tmp_path / "out", "--json", cache=cache)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"001.png", "001.json"}
    objects = json.loads((tmp_path / "out/001.json").read_text())["objects"]
    assert objects
    assert all(one["score"] >= 0.5 for one in objects)
    done = segexport("check", onnx.path, "--reference", detector, "--data", coco, "--latency-seconds", 0, cache=cache)
    assert done.returncode == 0, done.stderr
    assert "Δ mask AP" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["predict", "MODEL", "IMAGES", "--slice-size", "64"],
            "cause: instance segmentation models have",
        ),
        (["evaluate", "MODEL", "--data", "IMAGES"], "no annotated objects"),
        (["reference", "record", "MODEL", "--data", "IMAGES", "-o", "OUT"], "a recording of masks takes models that"),
        (["golden", "make", "MODEL", "--data", "IMAGES", "-o", "OUT"], "a recording of masks takes models that"),
        (["diagnose", "ONNX", "--reference", "MODEL", "--image", "IMAGE"], "diagnose takes models that give the class"),
        (["export", "MODEL", "--to", "onnx", "--head", "argmax", "-o", "OUT"], "no output can take another head"),
        (["pipeline", "semantic_segmentation", "--model", "MODEL", "--input", "IMAGE"], "takes models that give"),
        (
            ["check", "ONNX", "--reference", "MODEL", "--data", "IMAGES", "--shard", "1/2", "-o", "OUT"],
            "--shard takes models that give the class",
        ),
        (["android", "assets", "ONNX", "-o", "OUT"], "the app feeds one float32 image"),
    ],
)
def test_what_takes_no_objects_says_so(
    arguments: list[str],
    message: str,
    detector: Path,
    onnx: ModelArtifact,
    coco: Path,
    store: Store,
    tmp_path: Path,
) -> None:
    names = {
        "MODEL": detector,
        "ONNX": onnx.path,
        "IMAGES": coco / "images",
        "IMAGE": coco / "images/000.png",
        "OUT": tmp_path / "out",
    }
    done = segexport(*(names.get(word, word) for word in arguments), cache=store.objects.parent.parent)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_recipe(detector: Path, coco: Path, store: Store, tmp_path: Path) -> None:
    """Export, int8 calibration and check of the same data; steps that train are refused."""
    recipe = {
        "model": {"path": str(detector)},
        "data": {"path": str(coco), "calibration_split": "val"},
        "exports": [{"to": "onnx", "precision": "int8", "calibration": {"images": 4}}],
        "check": {"latency_seconds": 0, "worst_images": 1},
    }
    path, cache = tmp_path / "recipe.yaml", store.objects.parent.parent
    path.write_text(json.dumps(recipe))
    done = segexport("run", path, "-o", tmp_path / "out", cache=cache)
    assert done.returncode in (0, 1), done.stderr
    found = read(tmp_path / "out")
    assert found.task == "instance"
    assert found.exports[0].objects.segm_mmap > 0.5 * found.reference.objects.segm_mmap
    path.write_text(json.dumps(recipe | {"steps": [{"step": "finetune", "params": {"steps": 2}}]}))
    done = segexport("run", path, "-o", tmp_path / "other", cache=cache)
    assert done.returncode == 2
    assert "step 'finetune' takes models that give the class of each pixel" in done.stderr
